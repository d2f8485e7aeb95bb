/** A journal written by hand: epochs and batches as a test says, in the regions that it says. */
import { formBatch, lastOf } from '../../../../src/engine/journal/batch.ts';
import type { OpenEntry } from '../../../../src/engine/journal/entries.ts';
import { openJournalLog } from '../../../../src/engine/journal/journal-log.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { batchName } from '../../../../src/engine/journal/object-names.ts';
import { readingOf, type Damage, type Reading } from '../../../../src/engine/journal/reading/reading.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { formSeal } from '../../../../src/engine/journal/seal.ts';
import { currentEpoch } from '../../../../src/engine/journal/state.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { createRandom } from '../../../simulation/random.ts';
import { createMemoryStore, type MemoryStore } from '../../memory-store.ts';
import { environment, KEY } from '../../repository/world.ts';

export type Letter = 'w' | 'z' | 'f' | 'g';

export interface Put {
  /** w writes eight bytes that are its number, z zeros, f flush, g gap; each in its own place. */
  readonly records: string | readonly JournalRecord[];
  readonly in: readonly string[];
  readonly acknowledged?: number;
  /** Absent: those of a pair, of which all members hold what is acknowledged. */
  readonly acknowledgedBatches?: number;
  readonly labelUs?: number;
  /** zstd level of the body; without it raw. */
  readonly level?: number;
}

interface Chain {
  index: number;
  next: number;
  digest: Uint8Array;
  /** The last numbers of the epoch's batches. */
  ends: readonly number[];
}

export class SmallJournal {
  readonly stores: ReadonlyMap<string, MemoryStore>;
  readonly journal: Journal;
  readonly damage: Damage[] = [];
  readonly #random = createRandom(1);
  readonly #logStore = createMemoryStore();
  #chain: Chain = { index: 0, next: 1, digest: Buffer.alloc(32), ends: [] };

  /** `wrap`: how the journal that is read sees a region's store. */
  constructor(regions: readonly string[], wrap: (region: string, store: ObjectStore) => ObjectStore = (_, store) => store) {
    this.stores = new Map(regions.map((region) => [region, createMemoryStore()]));
    this.journal = {
      name: 'j',
      id: KEY.repositoryId,
      key: KEY,
      environment,
      log: this.anotherLog(),
      regions: new Map([...this.stores].map(([name, store]) => [name, { name, domain: name, store: wrap(name, store) }])),
    };
  }

  /** The log as another process sees it. */
  anotherLog(): Journal['log'] {
    return openJournalLog({ store: this.#logStore, key: KEY, environment });
  }

  reading(some: Partial<Reading> = {}): Reading {
    return readingOf(this.journal, { onDamage: (damage) => void this.damage.push(damage), ...some });
  }

  async open(mode: OpenEntry['mode'], members: readonly string[], some: Partial<OpenEntry> = {}, log = this.journal.log): Promise<number> {
    const current = currentEpoch(await log.sync());
    const { index, next, digest } = this.#chain;
    const end = current === undefined ? null : { index: index - 1, seq: next - 1, digest: Buffer.from(digest).toString('hex') };
    const full = current === undefined ? [] : current.members.map(({ region }) => region);
    const previous = current?.epoch ?? null;
    const entry = { kind: 'OPEN' as const, previous, end, mode, owner: 'o', full, tailLost: false, ...some };
    const epoch = await log.append(() => ({ ...entry, members: members.map((region) => ({ region, domain: region })) }));
    if (epoch === null) throw new Error('nothing was opened');
    const said = entry.end ?? end;
    this.#chain = { index: 0, next: (said?.seq ?? 0) + 1, digest: said === null ? digest : Buffer.from(said.digest, 'hex'), ends: [] };
    return epoch;
  }

  /** Forms the next batch; answers its end. */
  async put({ records, in: regions, acknowledged = 0, acknowledgedBatches, labelUs = 0, level }: Put) {
    const { epoch = 0 } = currentEpoch(this.journal.log.known()) ?? {};
    const { index, next, digest, ends } = this.#chain;
    const byAll = acknowledgedBatches ?? ends.filter((end) => end <= acknowledged).length;
    const notes = { epoch, index, first: next, before: digest, acknowledged, acknowledgedBatches: byAll, labelUs, fold: Buffer.alloc(0) };
    const some = typeof records === 'string' ? records.split('').map((letter, i) => recordOf(letter as Letter, next + i)) : records;
    const { stored, after } = formBatch(KEY, notes, some, { level: level ?? null, salt: this.#random.bytes(32) });
    for (const region of regions) await this.stores.get(region)!.put(batchName(epoch, index), stored, { ifAbsent: true });
    const seq = lastOf({ first: next, count: some.length });
    this.#chain = { index: index + 1, next: seq + 1, digest: after, ends: [...ends, seq] };
    return { index, seq, digest: after.toString('hex'), stored, name: batchName(epoch, index) };
  }

  async seal(region: string, index: number): Promise<string> {
    const { epoch = 0 } = currentEpoch(this.journal.log.known()) ?? {};
    const name = batchName(epoch, index);
    await this.stores.get(region)!.put(name, formSeal(KEY, { epoch, index }, { by: 's', timeMs: 1 }, this.#random.bytes(32)));
    return name;
  }
}

function recordOf(letter: Letter, seq: number): JournalRecord {
  if (letter === 'f') return { kind: 'flush', seq };
  if (letter === 'g') return { kind: 'gap', seq };
  if (letter === 'z') return { kind: 'zero', seq, volume: 0, offset: 8 * seq, length: 8 };
  const data = Buffer.alloc(8);
  data.writeBigUInt64BE(BigInt(seq));
  return { kind: 'write', seq, volume: 0, offset: 8 * seq, data };
}
