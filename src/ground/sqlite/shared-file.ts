/**
 * A database in a file that several processes of a machine open and write at once, each for moments: WAL, so that nobody who reads
 * waits, and who writes waits for who writes. What is lost in a crash of the machine is the last transactions, never a part of one.
 */
import { DatabaseSync } from 'node:sqlite';

/** How long a process waits for another one that writes; a fold of a large record takes seconds. */
const BUSY_MS = 30_000;
const SQLITE_BUSY = 5;
const RETRY_MS = 10;

/** `path`: ":memory:" for none. */
export function openSharedFile(path: string): DatabaseSync {
  // Waiting comes before anything else: several processes may open a new file at once, and its first pragma locks it.
  const db = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    enterWal(db);
    db.exec('PRAGMA synchronous = NORMAL');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Of two processes that make one new file a WAL at once SQLite refuses one without waiting, lest they wait for each other. */
function enterWal(db: DatabaseSync): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (const deadline = Date.now() + BUSY_MS; ;) {
    try {
      return db.exec('PRAGMA journal_mode = WAL');
    } catch (error) {
      const isBusy = error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;
      if (!isBusy || Date.now() > deadline) throw error;
      Atomics.wait(pause, 0, 0, RETRY_MS);
    }
  }
}

export const schemaVersion = (db: DatabaseSync): number => Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
