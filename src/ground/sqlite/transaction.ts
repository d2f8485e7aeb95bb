/** All of some work in a database, or none of it. Immediate: a process that comes second waits, and does not find out in its middle. */
import type { DatabaseSync } from 'node:sqlite';

export function inTransaction(db: DatabaseSync, work: () => void): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    work();
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}
