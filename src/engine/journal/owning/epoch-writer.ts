/**
 * The batches of one epoch: each is formed once, in order, and put to every member at that member's pace (docs/journal.md, J2).
 *
 * A batch is kept until all members have confirmed it. Numbers and digests of the newest that any has are kept with it, for the end of
 * the epoch is one of them.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { formBatch, lastOf } from '../batch.ts';
import type { EpochEnd } from '../entries.ts';
import type { Journal } from '../journal.ts';
import type { JournalRecord } from '../records.ts';
import type { Opened } from '../takeover/opened.ts';
import { encodeFold } from './fold.ts';
import { Lane } from './lane.ts';

export interface EpochWriterOptions {
  readonly journal: Journal;
  readonly opened: Opened;
  /** zstd level; null: raw. */
  readonly level: number | null;
  /** Only goes forward. */
  readonly nowMs: () => number;
  readonly onChange: () => void;
  readonly onStranger: () => void;
}

interface Formed {
  readonly last: number;
  readonly after: Uint8Array;
  readonly atMs: number;
}

export class EpochWriter {
  readonly opened: Opened;
  readonly lanes: readonly Lane[];
  readonly #options: EpochWriterOptions;
  /** By index, from the last that all have confirmed on. */
  readonly #formed = new Map<number, Formed>();
  #count = 0;
  #labelUs: number;
  #published: number;
  #pruned = 0;

  constructor(options: EpochWriterOptions) {
    const { journal, opened, onChange, onStranger } = options;
    const { environment } = journal;
    this.#options = options;
    this.opened = opened;
    this.#labelUs = opened.labelUs;
    this.#published = opened.start - 1;
    this.lanes = opened.members.map((member) => {
      const region = journal.regions.get(member.region);
      if (region === undefined)
        throw new HoldfastError('ARGUMENT_INVALID', `region ${member.region} is not known here`, { field: 'members' });
      return new Lane({ region, epoch: opened.epoch, environment, nowMs: options.nowMs, onChange, onStranger });
    });
  }

  /** Batches that were formed. */
  get count(): number {
    return this.#count;
  }

  get labelUs(): number {
    return this.#labelUs;
  }

  /** What the newest batch says was acknowledged. */
  get published(): number {
    return this.#published;
  }

  /** So many batches are in all members, and in the one that is ahead of the others. */
  get confirmedByAll(): number {
    return Math.min(...this.lanes.map(({ confirmed }) => confirmed));
  }

  get confirmedByOne(): number {
    return Math.max(...this.lanes.map(({ confirmed }) => confirmed));
  }

  /** Forms the next batch and offers it to all members. */
  form(records: readonly JournalRecord[], acknowledged: number): void {
    const { journal, opened, level, nowMs } = this.#options;
    const { environment, key } = journal;
    const before = this.#after(this.#count);
    this.#labelUs = Math.max(this.#labelUs, environment.nowMs() * 1000);
    const notes = {
      epoch: opened.epoch,
      index: this.#count,
      first: before.last + 1,
      before: before.after,
      acknowledged,
      acknowledgedBatches: this.confirmedByAll,
      labelUs: this.#labelUs,
      fold: this.#count === 0 ? encodeFold(opened.state) : Buffer.alloc(0),
    };
    const { stored, after } = formBatch(key, notes, records, { level, salt: environment.random(32) });
    const last = lastOf({ first: notes.first, count: records.length });
    this.#formed.set(this.#count, { last, after, atMs: nowMs() });
    this.#published = acknowledged;
    for (const lane of this.lanes) lane.offer({ index: this.#count, stored });
    this.#count++;
    this.#prune();
  }

  /** Where the epoch would end after so many batches: no fewer than all members have confirmed. */
  endAfter(count: number): EpochEnd {
    const { last, after } = this.#after(count);
    return { index: count - 1, seq: last, digest: Buffer.from(after).toString('hex') };
  }

  /** The number that it ends with after so many. */
  lastAfter(count: number): number {
    return this.#after(count).last;
  }

  #after(count: number): Pick<Formed, 'last' | 'after'> {
    const { start, before } = this.opened;
    const formed = this.#formed.get(count - 1);
    if (formed === undefined && count > 0) throw new HoldfastError('INTERNAL', 'a batch that is not kept any more', { index: count - 1 });
    return formed ?? { last: start - 1, after: before };
  }

  /** How long ago the oldest batch was formed that this member has not confirmed; 0: it has all. */
  waitsMs({ confirmed }: Lane): number {
    const formed = this.#formed.get(confirmed);
    return formed === undefined ? 0 : this.#options.nowMs() - formed.atMs;
  }

  /** How long ago the newest batch was formed. */
  get idleMs(): number {
    const formed = this.#formed.get(this.#count - 1);
    return formed === undefined ? 0 : this.#options.nowMs() - formed.atMs;
  }

  async stop(): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.stop()));
  }

  #prune(): void {
    for (const keep = this.confirmedByAll - 1; this.#pruned < keep; this.#pruned++) this.#formed.delete(this.#pruned);
  }
}
