/**
 * The index of a replica: every name that the store behind has, and through which entry it has them (docs/replica.md, sections 1 and 4).
 *
 * Invariants. A row is there if and only if the entries through `moved` leave the name in the store. Commits are synced by `settle` alone: what is
 * lost of them when power is, the log still has, for its segments go after a `settle`. It is filled from a listing before it says anything.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { HoldfastError } from '../../../domain/errors.ts';
import { openSharedFile, schemaVersion } from '../../../ground/sqlite/shared-file.ts';
import { inTransaction } from '../../../ground/sqlite/transaction.ts';
import type { ObjectInfo } from '../../../ground/stores/object-store.ts';
import type { Entry } from './entry-bytes.ts';

export interface KnownObject {
  readonly sizeBytes: number;
  /** BLAKE3; null: it did not go through here. */
  readonly digest: Buffer | null;
}

/** What a replica knows of itself and of the marks that it has put. */
export interface Identity {
  /** 32 hexadecimal digits. */
  readonly replica: string;
  /** Of the newest mark that is known to be its own, and of one that was about to be put. */
  readonly nonces: readonly string[];
  readonly pending: { readonly epoch: number; readonly nonce: string } | null;
  readonly epoch: number;
  /** It was to wait for so long after the pending one, and is not known to have. */
  readonly waitMs: number;
}

export interface PendingMark {
  /** The newest one, if it is its own. */
  readonly own: string | null;
  readonly epoch: number;
  readonly nonce: string;
  /** False: the names are to be listed anew before anything is said of them. */
  readonly isFilled: boolean;
  readonly waitMs: number;
}

const VERSION = 1;
const SCHEMA = `
  CREATE TABLE names (name TEXT PRIMARY KEY, size INTEGER NOT NULL, digest BLOB) WITHOUT ROWID;
  CREATE TABLE replica (
    one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, moved INTEGER NOT NULL, filled INTEGER NOT NULL,
    nonce TEXT, epoch INTEGER NOT NULL, pending TEXT, pending_epoch INTEGER NOT NULL, wait_ms INTEGER NOT NULL
  );
  PRAGMA user_version = ${VERSION};
`;

export class NameIndex implements Disposable {
  readonly #db: DatabaseSync;
  readonly #get: StatementSync;
  readonly #set: StatementSync;
  readonly #remove: StatementSync;
  readonly #below: StatementSync;
  readonly #after: StatementSync;
  readonly #self: StatementSync;

  /** `replica`: the id of one that is made anew. UPGRADE_REQUIRED, DAMAGED. */
  static open(path: string, replica: () => string): NameIndex {
    const db = openSharedFile(path);
    try {
      const version = schemaVersion(db);
      if (version > VERSION) throw new HoldfastError('UPGRADE_REQUIRED', `${path} was written by a newer Holdfast`, { object: path });
      if (version === 0)
        inTransaction(db, () => {
          db.exec(SCHEMA);
          db.prepare('INSERT INTO replica VALUES (1, ?, 0, 0, NULL, 0, NULL, 0, 0)').run(replica());
        });
      const index = new NameIndex(db);
      index.settle();
      return index;
    } catch (error) {
      db.close();
      if (error instanceof HoldfastError) throw error;
      throw new HoldfastError('DAMAGED', `the index of the replica cannot be read: ${path}`, { object: path }, error);
    }
  }

  private constructor(db: DatabaseSync) {
    this.#db = db;
    this.#get = db.prepare('SELECT size, digest FROM names WHERE name = ?');
    this.#set = db.prepare('INSERT OR REPLACE INTO names VALUES (?, ?, ?)');
    this.#remove = db.prepare('DELETE FROM names WHERE name = ?');
    this.#below = db.prepare('SELECT 1 FROM names WHERE name > ? AND name < ? LIMIT 1');
    this.#after = db.prepare('SELECT name, size FROM names WHERE name > ? AND name >= ? AND name < ? ORDER BY name');
    this.#self = db.prepare('SELECT * FROM replica');
  }

  get identity(): Identity {
    const row = this.#self.get() ?? {};
    const [nonce, pending] = [row['nonce'], row['pending']];
    return {
      replica: String(row['id']),
      nonces: [nonce, pending].filter((one) => typeof one === 'string'),
      pending: typeof pending === 'string' ? { epoch: Number(row['pending_epoch']), nonce: pending } : null,
      epoch: Number(row['epoch']),
      waitMs: Number(row['wait_ms']),
    };
  }

  /** Entries through this number are in the store behind. */
  get moved(): number {
    return Number(this.#self.get()?.['moved']);
  }

  get isFilled(): boolean {
    return this.#self.get()?.['filled'] === 1;
  }

  /** On the disk when it returns, before the mark is put. */
  notePending({ own, epoch, nonce, isFilled, waitMs }: PendingMark): void {
    this.#db
      .prepare('UPDATE replica SET nonce = coalesce(?, nonce), pending = ?, pending_epoch = ?, filled = ?, wait_ms = ?')
      .run(own, nonce, epoch, isFilled ? 1 : 0, waitMs);
    this.settle();
  }

  /** The pending one was put, and whoever stood there before has been waited for. */
  noteTaken(epoch: number): void {
    this.#db.prepare('UPDATE replica SET nonce = pending, epoch = ?, wait_ms = 0').run(epoch);
    this.settle();
  }

  /** Takes a listing instead of everything it had. */
  async fill(objects: AsyncIterable<readonly ObjectInfo[]>): Promise<void> {
    this.#db.exec('DELETE FROM names');
    for await (const page of objects)
      inTransaction(this.#db, () => {
        for (const { name, sizeBytes } of page) this.#set.run(name, sizeBytes, null);
      });
    this.#db.exec('UPDATE replica SET filled = 1');
    this.settle();
  }

  get(name: string): KnownObject | null {
    const row = this.#get.get(name);
    if (row === undefined) return null;
    const digest = row['digest'];
    return { sizeBytes: Number(row['size']), digest: digest instanceof Uint8Array ? Buffer.from(digest) : null };
  }

  /** Whether a name is there of which this is a folder. */
  hasBelow(folder: string): boolean {
    // '0' follows '/'.
    return this.#below.get(`${folder}/`, `${folder}0`) !== undefined;
  }

  /** In byte order, as far as they are asked for. Nothing may be applied meanwhile. */
  *from(prefix: string, after: string): Generator<ObjectInfo> {
    // Names are of ASCII, so nothing that begins with the prefix is above this.
    for (const row of this.#after.iterate(after, prefix, `${prefix}\x7f`))
      yield { name: String(row['name']), sizeBytes: Number(row['size']) };
  }

  /** All of these, which are the next ones, or none. */
  apply(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    inTransaction(this.#db, () => {
      for (const { kind, names, sizeBytes, digest } of entries)
        for (const name of names) {
          if (kind === 'delete') this.#remove.run(name);
          else this.#set.run(name, sizeBytes, digest);
        }
      this.#db.prepare('UPDATE replica SET moved = ?').run(last.number);
    });
  }

  /** What was applied is on the disk when it returns. */
  settle(): void {
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}
