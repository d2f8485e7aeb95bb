/**
 * Loading a whole table into a cache file that is in use.
 *
 * The rows come over the network, page by page, for minutes if the repository is large, and other processes read the cache
 * meanwhile. So they are gathered in a database of their own, attached to this connection, private to it and gone with it,
 * and take the place of the old ones in one transaction at the end. A loader that dies leaves nothing.
 */
import type { DatabaseSync } from 'node:sqlite';
import { HoldfastError } from '../../domain/errors.ts';
import type { TableLoader } from './table.ts';

/** Columns as in sqlite-table.ts; `no` of a pack goes over as it is. */
const SCHEMA = `
  CREATE TABLE loading.rows (fingerprint BLOB PRIMARY KEY, runs INT NOT NULL, pack INT NOT NULL, offset INT NOT NULL,
    length INT NOT NULL, sum INT NOT NULL) WITHOUT ROWID;
  CREATE TABLE loading.packs (no INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, kind TEXT NOT NULL, blobs INT NOT NULL,
    bytes INT NOT NULL, live_blobs INT NOT NULL, live_bytes INT NOT NULL);
  CREATE TABLE loading.parts (root TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (root, name)) WITHOUT ROWID;
`;
const TABLES = ['rows', 'packs', 'parts'] as const;

export interface LoaderContext {
  /** The checksum of a row, from its fingerprint, runs, pack number, offset and length. */
  rowSum(fingerprint: Buffer, runs: number, pack: number, offset: number, length: number): number;
  transaction(work: () => void): void;
}

export type StagedLoader = Omit<TableLoader, 'finish'> & {
  /** Copies what was loaded over the tables in use. Within the caller's transaction. */
  copyOver(): void;
  close(): void;
};

export function stageTable(db: DatabaseSync, { rowSum, transaction }: LoaderContext): StagedLoader {
  // One that was given up is still attached; a connection loads one at a time.
  if (db.prepare("SELECT 1 FROM pragma_database_list WHERE name = 'loading'").get()) db.exec('DETACH DATABASE loading');
  db.exec("ATTACH DATABASE '' AS loading");
  db.exec(SCHEMA);
  const addPack = db.prepare('INSERT INTO loading.packs (id, kind, blobs, bytes, live_blobs, live_bytes) VALUES (?, ?, ?, ?, ?, ?)');
  const packNo = db.prepare('SELECT no FROM loading.packs WHERE id = ?');
  const addPart = db.prepare('INSERT OR IGNORE INTO loading.parts (root, name) VALUES (?, ?)');
  const addRow = db.prepare('INSERT INTO loading.rows (fingerprint, runs, pack, offset, length, sum) VALUES (?, ?, ?, ?, ?, ?)');
  return {
    packs: (page) =>
      transaction(() => {
        for (const pack of page) addPack.run(pack.id, pack.kind, pack.blobs, pack.bytes, pack.liveBlobs, pack.liveBytes);
      }),
    parts: (page) =>
      transaction(() => {
        for (const { root, name } of page) addPart.run(root, name);
      }),
    rows: (page) =>
      transaction(() => {
        for (const { fingerprint, runs, location } of page) {
          const pack = packNo.get(location.pack);
          if (!pack)
            throw new HoldfastError('RECORD_INVALID', 'a checkpoint places a value in a pack that it does not name', {
              pack: location.pack.toString('hex'),
            });
          const { offset, length } = location;
          const no = Number(pack['no']);
          addRow.run(fingerprint, runs, no, offset, length, rowSum(fingerprint, runs, no, offset, length));
        }
      }),
    copyOver() {
      for (const table of TABLES) db.exec(`DELETE FROM main.${table}; INSERT INTO main.${table} SELECT * FROM loading.${table};`);
    },
    close: () => db.exec('DETACH DATABASE loading'),
  };
}
