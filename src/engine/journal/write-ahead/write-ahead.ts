/**
 * The write-ahead file of a journal: records are appended at once and become durable together (docs/journal.md, section 6).
 *
 * Invariants. A sync is answered when everything appended before it is on the disk, and not earlier. What arrives while one runs
 * is the next group: one durable write for all of it, so the cost of a sync is shared by whoever waits. After a write
 * or sync that failed nothing more is taken: what the kernel has dropped then, a later sync that succeeds would not tell
 * (fsyncgate). Reopening finds out what is there.
 *
 * A reopened file goes on in a new segment, whose header makes final what was read. What goes on nowhere is set aside under
 * another name first, or it could one day stand at the beginning, where nothing is asked for.
 */
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { APPEND_WAITING_BYTES_MAX, BATCH_DATA_BYTES_MAX, BATCH_RECORDS_MAX, SEGMENT_BYTES } from '../../../domain/limits.ts';
import { NO_DIGEST } from '../batch.ts';
import { isHoldable, type JournalRecord } from '../records.ts';
import { readWriteAhead, segmentName, type KnownSegment, type WriteAheadContents } from './reading.ts';
import { SEGMENT_FILES, type SegmentFile, type SegmentFiles } from './segment-files.ts';
import { createFrames, digestOfHeader, encodeHeader, HEADER_BYTES } from './segment.ts';
import { Spares } from './spares.ts';

export interface WriteAheadOptions {
  /** Made if it is not there. */
  readonly folder: string;
  readonly journalId: Uint8Array;
  /** Number of the first record, when the folder holds none. */
  readonly next: number;
  readonly random: (size: number) => Buffer;
  readonly segmentBytes?: number;
  readonly files?: SegmentFiles;
  /** Makes durable what an earlier life has written to a segment. */
  readonly syncFile?: (path: string) => Promise<void>;
}

interface Segment extends KnownSegment {
  readonly file: SegmentFile;
}

interface Waiter {
  readonly through: number;
  readonly settle: (failed: HoldfastError | null) => void;
}

export class WriteAhead implements AsyncDisposable {
  /** What was there when it was opened. */
  readonly contents: WriteAheadContents;
  readonly #options: WriteAheadOptions;
  readonly #spares: Spares;
  readonly #frameOf = createFrames();
  #older: readonly KnownSegment[];
  #number: number;
  /** Absent only until the first segment is made. */
  #current: Segment | null = null;
  #digest: Uint8Array;
  #position = 0;
  /** Numbers after the last record that was appended, and after the last that is durable. */
  #next: number;
  #durable: number;
  #pending: JournalRecord[] = [];
  #pendingBytes = 0;
  /** Syncs ask for everything below this. */
  #wanted = 0;
  #waiters: Waiter[] = [];
  #room: (() => void)[] = [];
  #running: Promise<void> | null = null;
  #freeing: Promise<unknown> = Promise.resolve();
  #failed: HoldfastError | null = null;

  /**
   * Reads what is there, makes it durable, sets aside what is not sound, and makes the segment that goes on. What was read may be in the page cache
   * alone, of a process that was killed before its sync, and from here on it counts as durable.
   */
  static async open(options: WriteAheadOptions): Promise<WriteAhead> {
    const { folder, journalId, segmentBytes = SEGMENT_BYTES, files = SEGMENT_FILES, syncFile = syncSegment } = options;
    await mkdir(folder, { recursive: true });
    await files.syncFolder(dirname(folder));
    const contents = await readWriteAhead(folder, journalId);
    for (const { path } of contents.segments) await syncFile(path);
    for (const path of contents.unsound) if (path.endsWith('.wal')) await files.rename(path, `${path}.unsound`);
    for (const path of contents.unfinished) await files.remove(path);
    const spares = await Spares.find(folder, files, segmentBytes);
    await files.syncFolder(folder);
    const opened = new WriteAhead(options, contents, spares);
    await opened.#beginSegment();
    return opened;
  }

  private constructor(options: WriteAheadOptions, contents: WriteAheadContents, spares: Spares) {
    this.#options = options;
    this.#spares = spares;
    this.contents = contents;
    this.#older = contents.segments;
    this.#number = contents.numberMax;
    this.#digest = contents.digest ?? NO_DIGEST;
    this.#next = contents.next ?? options.next;
    this.#durable = this.#next;
  }

  /** Number that the next record must have. */
  get next(): number {
    return this.#next;
  }

  /** Why it takes no more; null: it does. */
  get failed(): HoldfastError | null {
    return this.#failed;
  }

  /** Every record below this is durable. */
  get durable(): number {
    return this.#durable;
  }

  /**
   * Takes records, which go on from `next`. Their data is the file's until a sync that was asked for later is answered. Resolves when there is room
   * for more: at once, but for a disk that does not keep up. WRITE_AHEAD_FAILED.
   */
  async append(records: readonly JournalRecord[]): Promise<void> {
    if (this.#failed !== null) throw this.#failed;
    for (const [i, record] of records.entries())
      if (record.seq !== this.#next + i || !isHoldable(record))
        throw new HoldfastError('INTERNAL', 'a record that cannot be next in the write-ahead file', {
          seq: record.seq,
          expected: this.#next + i,
        });
    for (const record of records) {
      this.#pending.push(record);
      this.#pendingBytes += dataBytes(record);
    }
    this.#next += records.length;
    this.#drive();
    if (this.#pendingBytes > APPEND_WAITING_BYTES_MAX) await new Promise<void>((resolve) => this.#room.push(resolve));
    this.#refuseIfFailed();
  }

  /** Resolves when everything appended so far is durable. WRITE_AHEAD_FAILED: some of it may not be, ever. */
  async sync(): Promise<void> {
    this.#refuseIfFailed();
    if (this.#durable >= this.#next) return;
    const through = this.#next;
    this.#wanted = Math.max(this.#wanted, through);
    const answered = new Promise<void>((resolve, reject) =>
      this.#waiters.push({ through, settle: (failed) => (failed === null ? resolve() : reject(failed)) }),
    );
    this.#drive();
    await answered;
  }

  /** Removes segments of which every record is below `seq`, oldest first: one that is missing in the middle would look like damage. */
  async freeBelow(seq: number): Promise<void> {
    const turn = this.#freeing.then(() => this.#free(seq));
    // How it ends is told to whoever asked; the next one tries again.
    this.#freeing = turn.catch(() => undefined);
    await turn;
  }

  async #free(seq: number): Promise<void> {
    for (;;) {
      const [oldest, following = this.#current] = this.#older;
      if (oldest === undefined || following === null || following.next > seq) return;
      await this.#spares.take(oldest.path);
      this.#older = this.#older.slice(1);
    }
  }

  /** Waits for what is under way, and closes: nothing in the folder changes after that. What no sync was asked for is not written. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#running, this.#freeing]);
    this.#failed ??= new HoldfastError('WRITE_AHEAD_FAILED', 'the write-ahead file is closed');
    await this.#current?.file.close();
  }

  #refuseIfFailed(): void {
    if (this.#failed !== null) throw this.#failed;
  }

  #drive(): void {
    if (this.#running !== null || !this.#hasWork()) return;
    this.#running = this.#run();
  }

  /** A group is written when somebody waits for it, or when it is as large as one may be. */
  #hasWork(): boolean {
    if (this.#failed !== null || this.#pending.length === 0) return false;
    return this.#wanted > this.#durable || this.#pendingBytes >= BATCH_DATA_BYTES_MAX || this.#pending.length >= BATCH_RECORDS_MAX;
  }

  async #run(): Promise<void> {
    // A turn later, so that whoever appends in this one is in the group.
    await Promise.resolve();
    try {
      while (this.#hasWork()) {
        if (this.#position >= (this.#options.segmentBytes ?? SEGMENT_BYTES)) await this.#beginSegment();
        await this.#writeGroup(this.#takeGroup());
      }
    } catch (cause) {
      this.#fail(cause);
    }
    // In the same turn as the look at what is to do: whoever comes next starts a run of its own.
    this.#running = null;
  }

  #takeGroup(): readonly JournalRecord[] {
    let bytes = 0;
    let count = 0;
    for (const record of this.#pending) {
      bytes += dataBytes(record);
      if (count === BATCH_RECORDS_MAX || bytes > BATCH_DATA_BYTES_MAX) break;
      count++;
    }
    return this.#pending.splice(0, count);
  }

  async #writeGroup(group: readonly JournalRecord[]): Promise<void> {
    const { bytes, digest } = this.#frameOf(this.#digest, this.#durable, group);
    await this.#current?.file.write(bytes, this.#position);
    this.#position += bytes.length;
    this.#digest = digest;
    this.#durable += group.length;
    for (const record of group) this.#pendingBytes -= dataBytes(record);
    const answered = this.#waiters.filter(({ through }) => through <= this.#durable);
    this.#waiters = this.#waiters.filter(({ through }) => through > this.#durable);
    for (const { settle } of answered) settle(null);
    if (this.#pendingBytes <= APPEND_WAITING_BYTES_MAX) this.#makeRoom();
  }

  #makeRoom(): void {
    const waiting = this.#room;
    this.#room = [];
    for (const resolve of waiting) resolve();
  }

  #fail(cause: unknown): void {
    const path = this.#current?.path ?? this.#options.folder;
    this.#failed = new HoldfastError('WRITE_AHEAD_FAILED', `${path} cannot be written`, { path, durable: this.#durable }, cause);
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#pending = [];
    for (const { settle } of waiters) settle(this.#failed);
    this.#makeRoom();
  }

  /** Makes the next segment, and makes sure that it is found again, before a frame goes into it. */
  async #beginSegment(): Promise<void> {
    const { folder, journalId, random } = this.#options;
    const number = ++this.#number;
    const path = join(folder, segmentName(number));
    const header = encodeHeader({ journalId, number, next: this.#durable, before: this.#digest }, random(16));
    const file = await this.#spares.make(path, header);
    const { file: full, ...closed } = this.#current ?? { file: null };
    if (full !== null && 'path' in closed) this.#older = [...this.#older, closed];
    this.#current = { path, next: this.#durable, file };
    this.#digest = digestOfHeader(header);
    this.#position = HEADER_BYTES;
    await full?.close();
  }
}

const dataBytes = (record: JournalRecord): number => (record.kind === 'write' ? record.data.length : 0);

async function syncSegment(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.datasync();
}
