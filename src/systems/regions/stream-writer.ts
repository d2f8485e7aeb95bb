/**
 * The writer of a stream: takes its journal over, appends bytes at rising offsets, and says up to which one they are acknowledged.
 *
 *     bytes ──▶ records of volume 0 ──▶ the owner of a pair ──▶ a flush at a time ──▶ acknowledged
 *
 * Invariants. It begins where the journal ends after it was taken over, so that nothing that was acknowledged is overwritten or comes twice. What it says is
 * acknowledged two regions hold, with everything before it (J6). After the first error it takes nothing more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../domain/errors.ts';
import { JOURNAL_WRITE_BYTES_MAX, STREAM_PUBLISH_MS } from '../../domain/limits.ts';
import type { Member } from '../../engine/journal/entries.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import { Owner, type OwnerLimits, type OwnerStatus } from '../../engine/journal/owning/owner.ts';
import { readingOf } from '../../engine/journal/reading/reading.ts';
import { takeOver } from '../../engine/journal/takeover/take-over.ts';
import { streamEnds } from './stream-places.ts';

export interface StreamWriterOptions {
  readonly journal: Journal;
  /** Who, as operators see it. */
  readonly owner: string;
  /** Regions that answer, best first: the first two of distinct domains hold it, the others are spares. */
  readonly candidates: readonly Member[];
  /** The caller's next byte; null: whatever comes next. */
  readonly resumeAt: number | null;
  readonly limits: Partial<OwnerLimits>;
  /** It ends when bytes wait for so long and none is acknowledged. */
  readonly giveUpMs: number;
  readonly onAcknowledged: (offset: number) => void;
}

/** How often is looked whether anything was acknowledged. */
const LOOK_MS = 200;

export class StreamWriter implements AsyncDisposable {
  /** Of the stream when it was taken over. */
  readonly begin: number;
  readonly #owner: Owner;
  readonly #options: StreamWriterOptions;
  #end: number;
  #acknowledged: number;
  #flushing: Promise<void> | null = null;
  #failed: HoldfastError | null = null;
  readonly #failure = new AbortController();

  private constructor(options: StreamWriterOptions, owner: Owner, begin: number) {
    this.#options = options;
    this.#owner = owner;
    this.begin = this.#end = this.#acknowledged = begin;
  }

  /**
   * Fences whoever appends now. ARGUMENT_INVALID, `details.end`: the stream does not end at `resumeAt`. STORE_UNREACHABLE: fewer than two regions of
   * distinct domains answer, or the log does not. JOURNAL_FENCED: somebody else was faster.
   */
  static async open(options: StreamWriterOptions): Promise<StreamWriter> {
    const { journal, candidates, owner: name, resumeAt, limits } = options;
    const reading = readingOf(journal);
    // Nobody is fenced for what is refused anyway.
    const { acknowledged } = await streamEnds(reading, await journal.log.sync());
    if (resumeAt !== null) refuseUnless(acknowledged <= resumeAt, resumeAt, null);
    const opened = await takeOver(journal, { owner: name, mode: 'pair', members: candidates, tailLost: false });
    const { end } = await streamEnds(reading, opened.state);
    if (resumeAt !== null) refuseUnless(end === resumeAt, resumeAt, end);
    const spares = candidates.filter(({ region }) => !opened.members.some((member) => member.region === region));
    return new StreamWriter(options, new Owner({ journal, opened, writeAhead: null, spares, limits }), end);
  }

  /** Everything below it two regions hold. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Aborted when it has failed: for who waits for bytes to append. */
  get failure(): AbortSignal {
    return this.#failure.signal;
  }

  status(): OwnerStatus {
    return this.#owner.status();
  }

  /** Takes bytes; they are the writer's from then on. Resolves when there is room for more. JOURNAL_FENCED, STORE_UNREACHABLE. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += JOURNAL_WRITE_BYTES_MAX) {
      const data = bytes.subarray(at, at + JOURNAL_WRITE_BYTES_MAX);
      this.#refuseIfFailed();
      const room = this.#owner.append([{ kind: 'write', volume: 0, offset: this.#end, data }]);
      this.#end += data.length;
      this.#flushing ??= this.#flush();
      await room.catch((error: unknown) => this.#fail(error));
      this.#refuseIfFailed();
    }
  }

  /** Resolves when everything is acknowledged. */
  async flush(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
    this.#refuseIfFailed();
  }

  /** Flushes, and sees that readers are told; false: they learn of the last bytes when the stream is taken over next. */
  async finish(): Promise<boolean> {
    await this.flush();
    const told = this.#owner.drain().then(
      () => true,
      () => false,
    );
    return Promise.race([told, sleep(STREAM_PUBLISH_MS, false, { ref: false })]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owner[Symbol.asyncDispose]();
    await this.#flushing;
  }

  /** One flush after another, each of all that has come by then. */
  async #flush(): Promise<void> {
    try {
      while (this.#acknowledged < this.#end) {
        const end = this.#end;
        await this.#patiently(this.#owner.flush());
        this.#acknowledged = end;
        this.#options.onAcknowledged(end);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#flushing = null;
  }

  /** STORE_UNREACHABLE: nothing was acknowledged for too long. */
  async #patiently(flushed: Promise<unknown>): Promise<void> {
    const done = new AbortController();
    const stalled = this.#stalled(done.signal);
    try {
      await Promise.race([flushed, stalled]);
    } finally {
      done.abort();
    }
  }

  async #stalled(signal: AbortSignal): Promise<void> {
    let seen = { acknowledged: -1, atMs: performance.now() };
    while (!signal.aborted) {
      const { acknowledged, members } = this.#owner.status();
      if (acknowledged > seen.acknowledged) seen = { acknowledged, atMs: performance.now() };
      if (performance.now() - seen.atMs > this.#options.giveUpMs) {
        const silent = members
          .map(({ region, failures, lastError }) => `${region}: ${(failures > 0 ? lastError : null) ?? 'slow, or waits for the log'}`)
          .join(', ');
        throw new HoldfastError('STORE_UNREACHABLE', `nothing was acknowledged for ${this.#options.giveUpMs} ms (${silent})`);
      }
      await sleep(LOOK_MS, undefined, { ref: false });
    }
  }

  #fail(error: unknown): void {
    if (this.#failed !== null) return;
    this.#failed = error instanceof HoldfastError ? error : new HoldfastError('INTERNAL', 'the writer of a stream failed', {}, error);
    this.#failure.abort();
    // What waits for room, or for a flush, is not to wait for ever.
    void this.#owner[Symbol.asyncDispose]();
  }

  #refuseIfFailed(): void {
    if (this.#failed !== null) throw this.#failed;
  }
}

function refuseUnless(fits: boolean, resumeAt: number, end: number | null): void {
  if (fits) return;
  const message = end === null ? `more than ${resumeAt} bytes are acknowledged` : `the stream ends at byte ${end}, not ${resumeAt}`;
  throw new HoldfastError('ARGUMENT_INVALID', message, {
    field: '--resume-at',
    expected: 'the end of the stream',
    ...(end === null ? {} : { end }),
  });
}
