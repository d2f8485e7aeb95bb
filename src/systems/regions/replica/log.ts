/**
 * The log of a replica: puts and deletes are appended at once and become durable together (docs/replica.md, section 4).
 *
 * Invariants. An append resolves when it and all before it are on the disk, and not earlier. What comes while one is written is the next group: one
 * durable write for all of it. After a write or sync that failed nothing more is taken: what the kernel has dropped then, a later
 * sync that succeeds would not tell (fsyncgate). A segment is removed only when somebody says that its entries are kept elsewhere.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { constants } from 'node:fs';
import { mkdir, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import { MIB } from '../../../domain/limits.ts';
import { saysFull } from '../../../ground/stores/file-errors.ts';
import { syncFolder } from '../../../ground/stores/file-root.ts';
import { digestOfSegment, encodeEntry, encodeSegmentHeader, SEGMENT_HEADER_BYTES, type Entry } from './entry-bytes.ts';
import { readBytes, readLog, segmentName, type KeptEntry, type KnownSegment, type LogContents } from './log-reading.ts';

/** What a segment's file has to do; tests give one that fails, or that ends the process. */
export interface SegmentFile {
  /** Writes all of it. It is durable when this resolves. */
  write(buffers: readonly Uint8Array[], at: number): Promise<void>;
  close(): Promise<void>;
}

export interface LogOptions {
  /** Made if it is not there. */
  readonly folder: string;
  /** 16 bytes. */
  readonly replica: Uint8Array;
  /** Entries through this number are not asked for any more. */
  readonly moved: number;
  readonly random: (size: number) => Buffer;
  readonly segmentBytes: number;
  /** In the order of numbers, in the turn in which they are durable, before their appends resolve. */
  readonly onDurable: (entry: KeptEntry) => void;
  readonly createFile?: (path: string) => Promise<SegmentFile>;
}

interface Appending {
  readonly entry: Entry;
  readonly body: Uint8Array;
  readonly settle: (failed: HoldfastError | null) => void;
}

interface CurrentSegment {
  readonly path: string;
  readonly file: SegmentFile;
  readonly digest: Buffer;
}

/** Bytes of a group: what is written between two syncs. */
const GROUP_BYTES_MAX = 64 * MIB;

export class ReplicaLog implements AsyncDisposable {
  readonly #options: LogOptions;
  #older: KnownSegment[];
  /** Absent until the first entry comes. */
  #current: CurrentSegment | null = null;
  #position = 0;
  #next: number;
  #durable: number;
  #pending: Appending[] = [];
  #running: Promise<void> | null = null;
  #freeing: Promise<void> = Promise.resolve();
  #failed: HoldfastError | null = null;

  /** Reads what is there and makes it durable: what a process wrote that was killed before its sync may be in the page cache alone. DAMAGED. */
  static async open(options: LogOptions): Promise<{ readonly log: ReplicaLog; readonly entries: readonly KeptEntry[] }> {
    const { folder } = options;
    await mkdir(folder, { recursive: true });
    await syncFolder(dirname(folder));
    const contents = await readLog(folder, options.replica, options.moved);
    for (const { path } of contents.segments) await syncWritten(path);
    for (const path of contents.empty) await unlink(path);
    await syncFolder(folder);
    return { log: new ReplicaLog(options, contents), entries: contents.entries };
  }

  private constructor(options: LogOptions, contents: LogContents) {
    this.#options = options;
    this.#older = [...contents.segments];
    this.#next = contents.next;
    this.#durable = contents.next - 1;
  }

  /** Every entry through this number is durable. */
  get durable(): number {
    return this.#durable;
  }

  /** Why it takes nothing more; null: it does. */
  get failure(): HoldfastError | null {
    return this.#failed;
  }

  /** Resolves when it is durable. The body is the log's until then. STORE_FULL, STORE_UNREACHABLE: it may be, or may come to be, or not. */
  append(entry: Omit<Entry, 'number'>, body: Uint8Array): Promise<void> {
    if (this.#failed !== null) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => {
      this.#pending.push({
        entry: { ...entry, number: this.#next++ },
        body,
        settle: (failed) => (failed === null ? resolve() : reject(failed)),
      });
      this.#running ??= this.#run();
    });
  }

  /** The body of an entry, verified. DAMAGED; errors of the file system when its segment was removed. */
  async body({ path, bodyAt, sizeBytes, digest, number }: KeptEntry): Promise<Buffer> {
    await using file = await open(path, 'r');
    const bytes = await readBytes(file, bodyAt, sizeBytes);
    if (blake3(bytes).equals(digest)) return bytes;
    throw new HoldfastError('DAMAGED', `entry ${number} in the log of the replica is not what was written`, { object: path, number });
  }

  /** Whether there is a segment that `free` would remove. */
  canFree(through: number): boolean {
    const [oldest] = this.#older;
    return oldest !== undefined && oldest.last <= through;
  }

  /** Removes segments of which every entry is kept elsewhere, durably. */
  async free(through: number): Promise<void> {
    const turn = this.#freeing.then(async () => {
      for (let [oldest] = this.#older; oldest !== undefined && oldest.last <= through; [oldest] = this.#older) {
        await unlink(oldest.path);
        this.#older.shift();
      }
      await syncFolder(this.#options.folder);
    });
    // How it ends is told to whoever asked; the next one tries again.
    this.#freeing = turn.catch(() => undefined);
    await turn;
  }

  /** Waits for what is under way, and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running;
    await this.#freeing;
    this.#failed ??= new HoldfastError('STORE_UNREACHABLE', 'the replica has stopped');
    await this.#current?.file.close();
  }

  async #run(): Promise<void> {
    // A turn later, so that whoever appends in this one is in the group.
    await Promise.resolve();
    while (this.#pending.length > 0 && this.#failed === null) {
      const group = this.#takeGroup();
      try {
        await this.#write(group);
      } catch (cause) {
        this.#fail(cause, group);
      }
    }
    // In the same turn as the look at what is to do: whoever comes next starts a run of its own.
    this.#running = null;
  }

  #takeGroup(): readonly Appending[] {
    let bytes = 0;
    let count = 0;
    for (const { body } of this.#pending) {
      bytes += body.byteLength;
      if (count > 0 && bytes > GROUP_BYTES_MAX) break;
      count++;
    }
    return this.#pending.splice(0, count);
  }

  async #write(group: readonly Appending[]): Promise<void> {
    const { path, file, digest } = await this.#segmentFor(group[0]?.entry.number ?? 0);
    const kept: KeptEntry[] = [];
    const buffers: Uint8Array[] = [];
    let at = this.#position;
    for (const { entry, body } of group) {
      const head = encodeEntry(digest, entry);
      kept.push({ ...entry, path, bodyAt: at + head.length });
      buffers.push(head, body);
      at += head.length + body.byteLength;
    }
    await file.write(buffers, this.#position);
    this.#position = at;
    for (const entry of kept) {
      this.#durable = entry.number;
      this.#options.onDurable(entry);
    }
    for (const { settle } of group) settle(null);
  }

  async #segmentFor(first: number): Promise<CurrentSegment> {
    const { folder, replica, random, segmentBytes, createFile = createSegment } = this.#options;
    const current = this.#current;
    if (current !== null && this.#position < segmentBytes) return current;
    if (current !== null) {
      await current.file.close();
      this.#older.push({ path: current.path, last: first - 1 });
      this.#current = null;
    }
    const path = join(folder, segmentName(first));
    const header = encodeSegmentHeader(replica, first, random(16));
    const file = await createFile(path);
    await file.write([header], 0);
    await syncFolder(folder);
    this.#position = SEGMENT_HEADER_BYTES;
    return (this.#current = { path, file, digest: digestOfSegment(header) });
  }

  #fail(cause: unknown, group: readonly Appending[]): void {
    this.#failed = new HoldfastError(
      saysFull(cause) ? 'STORE_FULL' : 'STORE_UNREACHABLE',
      `the disk of the replica takes nothing more: ${messageOf(cause)}; it is to be started anew`,
      {},
      cause,
    );
    for (const { settle } of [...group, ...this.#pending]) settle(this.#failed);
    this.#pending = [];
  }
}

async function syncWritten(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.datasync();
}

const { O_RDWR, O_CREAT, O_EXCL } = constants;
/** Each write is a write and an fdatasync in one call: a second one would wait for a thread once more. Not every system has it. */
const O_DSYNC: number | undefined = constants.O_DSYNC;

export async function createSegment(path: string): Promise<SegmentFile> {
  const file = await open(path, O_RDWR | O_CREAT | O_EXCL | (O_DSYNC ?? 0));
  return {
    async write(buffers, at) {
      const total = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
      const { bytesWritten } = await file.writev([...buffers], at);
      if (bytesWritten < total) {
        // A write that was cut short is gone on with the usual way.
        const rest = Buffer.concat(buffers).subarray(bytesWritten);
        for (let done = 0; done < rest.length;)
          done += (await file.write(rest, done, rest.length - done, at + bytesWritten + done)).bytesWritten;
      }
      if (O_DSYNC === undefined) await file.datasync();
    },
    close: () => file.close(),
  };
}
