/**
 * A lock between processes that the kernel drops when its holder dies, however it dies.
 *
 * It is SQLite's own file lock: a transaction left open on an empty database. A lock file with a pid in it would need a
 * judgement (is that process alive, is it still the same one, who may remove the file) and every such judgement has a race;
 * here a dead holder is simply gone and the next waiter has the lock. The file stays: removing it would let two processes
 * hold locks on two files of the same name.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 100;
const SQLITE_BUSY = 5;

const isBusy = (error: unknown): boolean => error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;

function tryLock(file: string): DatabaseSync | null {
  const database = new DatabaseSync(file);
  try {
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) return null;
    throw error;
  }
}

/** The lock on `file`, held until it is disposed of; null while another process has it. */
export async function tryProcessLock(file: string): Promise<Disposable | null> {
  await mkdir(path.dirname(file), { recursive: true });
  const holder = tryLock(file);
  return holder && { [Symbol.dispose]: () => holder.close() };
}

/** Runs `work` while holding the lock on `file`; waits as long as it takes, and calls `onWait` once when it has to. */
export async function withProcessLock<T>(file: string, onWait: () => void, work: () => Promise<T>): Promise<T> {
  await mkdir(path.dirname(file), { recursive: true });
  let holder = tryLock(file);
  if (holder === null) onWait();
  while (holder === null) {
    await sleep(POLL_MS);
    holder = tryLock(file);
  }
  try {
    return await work();
  } finally {
    holder.close();
  }
}
