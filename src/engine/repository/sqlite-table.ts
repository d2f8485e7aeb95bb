/**
 * The table in an SQLite file: a cache of what the log says, shared by the processes of one machine.
 *
 * Rows, packs and ledger change in one transaction, stamped with (repository, n, digest of log/n); a cache whose stamp does
 * not fit the log is discarded. Each row carries a CRC-32, so a row that rotted on the local disk is noticed and the cache
 * rebuilt, rather than believed to name a value. WAL with synchronous=NORMAL: a crash loses the last transactions at most,
 * and they are read from the log again.
 */
import { crc32 } from 'node:zlib';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import { emptyLedger, type Ledger, type Snapshot } from './ledger.ts';
import { stageTable } from './sqlite-loader.ts';
import type { PackUse, Table, TableRow, TableWriter } from './table.ts';
import { openSharedFile, schemaVersion } from '../../ground/sqlite/shared-file.ts';
import { inTransaction } from '../../ground/sqlite/transaction.ts';

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS rows (fingerprint BLOB PRIMARY KEY, runs INT NOT NULL, pack INT NOT NULL, offset INT NOT NULL,
    length INT NOT NULL, sum INT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS packs (no INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, kind TEXT NOT NULL, blobs INT NOT NULL,
    bytes INT NOT NULL, live_blobs INT NOT NULL, live_bytes INT NOT NULL);
  CREATE INDEX IF NOT EXISTS thin_packs ON packs (no) WHERE live_bytes * 2 <= bytes;
  CREATE TABLE IF NOT EXISTS parts (root TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (root, name)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS part_names ON parts (name);
  CREATE TABLE IF NOT EXISTS snapshots (id TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS used (no INTEGER PRIMARY KEY, id TEXT NOT NULL, root TEXT);
`;

export interface SqliteTable extends Table, Disposable {}

type Row = Record<string, unknown>;
const blob = (value: unknown): Buffer =>
  value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.length) : Buffer.alloc(0);

const rowSum = (fingerprint: Buffer, runs: number, pack: number, offset: number, length: number): number =>
  crc32(`${runs},${pack},${offset},${length}`, crc32(fingerprint));

/** Opens the cache at `path` (":memory:" for none). One that another version wrote is emptied. */
export function openSqliteTable(path: string): SqliteTable {
  const db = openSharedFile(path);
  db.exec('PRAGMA cache_size = -2048');
  if (schemaVersion(db) !== SCHEMA_VERSION) createSchema(db);
  return sqliteTable(db);
}

/** In one transaction, judged inside it: a process that comes second must not empty what the first has begun to fill. */
function createSchema(db: DatabaseSync): void {
  inTransaction(db, () => {
    if (schemaVersion(db) === SCHEMA_VERSION) return;
    for (const table of ['meta', 'rows', 'packs', 'parts', 'snapshots', 'used']) db.exec(`DROP TABLE IF EXISTS ${table}`);
    db.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION};`);
  });
}

function sqliteTable(db: DatabaseSync): SqliteTable {
  const statements = prepare(db);
  let saved = emptyLedger();

  const transaction = (work: () => void): void => inTransaction(db, work);

  const packNo = (id: Buffer): number => {
    const found = statements.packByName.get(id);
    if (!found)
      throw new HoldfastError('RECORD_INVALID', 'a record places a value in a pack that it does not name', { pack: id.toString('hex') });
    return Number(found['no']);
  };

  const rowOf = (fingerprint: Buffer): (TableRow & { readonly packNo: number }) | null => {
    const row = statements.row.get(fingerprint);
    if (!row) return null;
    const [runs, no, offset, length] = [Number(row['runs']), Number(row['pack']), Number(row['offset']), Number(row['length'])];
    if (rowSum(fingerprint, runs, no, offset, length) !== Number(row['sum']))
      throw new HoldfastError('DAMAGED', 'the local cache is damaged', { fingerprint: fingerprint.toString('hex'), cache: 'row' });
    return { runs, packNo: no, location: { pack: blob(row['id']), offset, length } };
  };

  const setRow = (fingerprint: Buffer, runs: number, no: number, offset: number, length: number): void =>
    void statements.setRow.run(fingerprint, runs, no, offset, length, rowSum(fingerprint, runs, no, offset, length));

  const writer: TableWriter = {
    addPacks(packs) {
      for (const pack of packs) statements.addPack.run(pack.id, pack.kind, pack.blobs, pack.bytes, 0, 0);
    },
    add(fingerprint, runs, brought) {
      const row = rowOf(fingerprint);
      if (row) return setRow(fingerprint, row.runs + runs, row.packNo, row.location.offset, row.location.length);
      if (!brought)
        throw new HoldfastError('RECORD_INVALID', 'a record uses a value that is neither brought nor counted', {
          fingerprint: fingerprint.toString('hex'),
        });
      const no = packNo(brought.pack);
      setRow(fingerprint, runs, no, brought.offset, brought.length);
      statements.usePack.run(1, brought.length, no);
    },
    subtract(fingerprint, runs) {
      const row = rowOf(fingerprint);
      if (!row || row.runs < runs)
        throw new HoldfastError('RECORD_INVALID', 'a record ends more runs than there are', { fingerprint: fingerprint.toString('hex') });
      if (row.runs > runs) return setRow(fingerprint, row.runs - runs, row.packNo, row.location.offset, row.location.length);
      statements.deleteRow.run(fingerprint);
      statements.usePack.run(-1, -row.location.length, row.packNo);
    },
    move(fingerprint, from, to) {
      const row = rowOf(fingerprint);
      if (!row || !from.has(row.location.pack.toString('hex'))) return;
      statements.usePack.run(-1, -row.location.length, row.packNo);
      const no = packNo(to.pack);
      statements.usePack.run(1, to.length, no);
      setRow(fingerprint, row.runs, no, to.offset, to.length);
    },
    holdParts(root, names) {
      for (const name of names) statements.addPart.run(root, name);
    },
    dropParts: (root) => void statements.dropParts.run(root),
  };

  /** Writes what differs between the ledger last saved and this one; snapshots are immutable, so identity tells. */
  const saveLedger = (ledger: Ledger): void => {
    for (const id of saved.snapshots.keys()) if (!ledger.snapshots.has(id)) statements.dropSnapshot.run(id);
    for (const [id, snapshot] of ledger.snapshots)
      if (saved.snapshots.get(id) !== snapshot) statements.setSnapshot.run(id, JSON.stringify(snapshot));
    let skip = saved.used.size;
    for (const [id, root] of ledger.used) if (skip-- <= 0) statements.addUsed.run(id, root);
    const { n, head } = ledger;
    const rest = { n, head, retired: [...ledger.retired], claims: [...ledger.claims], pins: [...ledger.pins] };
    statements.setMeta.run('ledger', JSON.stringify(rest));
  };

  const readLedger = (): Ledger | null => {
    const meta = statements.meta.get('ledger');
    if (!meta) return null;
    const rest = JSON.parse(String(meta['value'])) as { n: number; head: string; retired: []; claims: []; pins: [] };
    const snapshots = statements.snapshots.all().map((row) => JSON.parse(String(row['json'])) as Snapshot);
    snapshots.sort((a, b) => a.seq - b.seq);
    const ledger: Ledger = {
      ...emptyLedger(),
      ...{ n: rest.n, head: rest.head, retired: new Set(rest.retired), claims: new Map(rest.claims), pins: new Map(rest.pins) },
      snapshots: new Map(snapshots.map((snapshot) => [snapshot.id, snapshot])),
      used: new Map(
        statements.used.all().map((row) => [String(row['id']) as SnapshotId, row['root'] === null ? null : String(row['root'])]),
      ),
    };
    for (const snapshot of snapshots) ledger.order.set(snapshot.lineage, [...(ledger.order.get(snapshot.lineage) ?? []), snapshot.id]);
    return ledger;
  };

  const stamp = (): number => {
    const meta = statements.meta.get('ledger');
    return meta ? Number((JSON.parse(String(meta['value'])) as { n: number }).n) : 0;
  };

  return {
    get: rowOf,
    pack: (id) => packUse(statements.packByName.get(id)),
    thinPacks: (limit) => statements.thinPacks.all(limit).flatMap((row) => packUse(row) ?? []),
    holdsPart: (name) => statements.holdsPart.get(name) !== undefined,
    packBytes: () => Number(statements.sumPacks.get()?.['bytes'] ?? 0),
    size() {
      const rows = Number(statements.countRows.get()?.['n'] ?? 0);
      const packs = statements.sumPacks.get() ?? {};
      return { rows, packs: Number(packs['n']), packBytes: Number(packs['bytes'] ?? 0), liveBytes: Number(packs['live'] ?? 0) };
    },
    *rows() {
      for (const row of statements.allRows.iterate())
        yield {
          fingerprint: blob(row['fingerprint']),
          runs: Number(row['runs']),
          location: { pack: blob(row['id']), offset: Number(row['offset']), length: Number(row['length']) },
        };
    },
    *packs() {
      for (const row of statements.allPacks.iterate()) {
        const use = packUse(row);
        if (use) yield use;
      }
    },
    *parts() {
      for (const row of statements.allParts.iterate()) yield { root: String(row['root']), name: String(row['name']) };
    },
    stamp,
    write(from, work, ledger) {
      let emptied: Buffer[] = [];
      transaction(() => {
        if (stamp() !== from || saved.n !== from) throw new HoldfastError('CONTENTION', 'another process has moved the shared cache on');
        work(writer);
        emptied = statements.emptied.all().map((row) => blob(row['id']));
        statements.dropEmptied.run();
        saveLedger(ledger);
      });
      saved = ledger;
      return emptied;
    },
    ledger() {
      const ledger = readLedger();
      saved = ledger ?? emptyLedger();
      return ledger;
    },
    loader() {
      const from = stamp();
      const staged = stageTable(db, { rowSum, transaction });
      return {
        ...staged,
        finish(ledger) {
          const before = saved;
          try {
            transaction(() => {
              if (stamp() !== from) throw new HoldfastError('CONTENTION', 'another process has moved the shared cache on');
              staged.copyOver();
              for (const table of ['meta', 'snapshots', 'used']) db.exec(`DELETE FROM ${table}`);
              saved = emptyLedger();
              saveLedger(ledger);
            });
            saved = ledger;
          } catch (error) {
            saved = before;
            throw error;
          } finally {
            staged.close();
          }
        },
      };
    },
    [Symbol.dispose]: () => db.close(),
  };
}

const packUse = (row: Row | undefined): PackUse | null =>
  row === undefined
    ? null
    : {
        id: blob(row['id']),
        kind: row['kind'] === 'node' ? 'node' : 'extent',
        blobs: Number(row['blobs']),
        bytes: Number(row['bytes']),
        liveBlobs: Number(row['live_blobs']),
        liveBytes: Number(row['live_bytes']),
      };

function prepare(db: DatabaseSync) {
  const sql = (text: string): StatementSync => db.prepare(text);
  return {
    row: sql('SELECT runs, pack, offset, length, sum, id FROM rows JOIN packs ON packs.no = rows.pack WHERE fingerprint = ?'),
    setRow: sql('INSERT OR REPLACE INTO rows (fingerprint, runs, pack, offset, length, sum) VALUES (?, ?, ?, ?, ?, ?)'),
    deleteRow: sql('DELETE FROM rows WHERE fingerprint = ?'),
    allRows: sql('SELECT fingerprint, runs, offset, length, id FROM rows JOIN packs ON packs.no = rows.pack ORDER BY fingerprint'),
    countRows: sql('SELECT count(*) AS n FROM rows'),
    packByName: sql('SELECT * FROM packs WHERE id = ?'),
    addPack: sql('INSERT OR IGNORE INTO packs (id, kind, blobs, bytes, live_blobs, live_bytes) VALUES (?, ?, ?, ?, ?, ?)'),
    usePack: sql('UPDATE packs SET live_blobs = live_blobs + ?, live_bytes = live_bytes + ? WHERE no = ?'),
    allPacks: sql('SELECT * FROM packs ORDER BY id'),
    sumPacks: sql('SELECT count(*) AS n, sum(bytes) AS bytes, sum(live_bytes) AS live FROM packs'),
    thinPacks: sql('SELECT * FROM packs WHERE live_bytes * 2 <= bytes ORDER BY live_bytes * 1.0 / bytes, id LIMIT ?'),
    emptied: sql('SELECT id FROM packs WHERE live_bytes * 2 <= bytes AND live_blobs = 0'),
    dropEmptied: sql('DELETE FROM packs WHERE live_bytes * 2 <= bytes AND live_blobs = 0'),
    addPart: sql('INSERT OR IGNORE INTO parts (root, name) VALUES (?, ?)'),
    dropParts: sql('DELETE FROM parts WHERE root = ?'),
    holdsPart: sql('SELECT 1 FROM parts WHERE name = ? LIMIT 1'),
    allParts: sql('SELECT root, name FROM parts ORDER BY root, name'),
    meta: sql('SELECT value FROM meta WHERE key = ?'),
    setMeta: sql('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)'),
    snapshots: sql('SELECT json FROM snapshots'),
    setSnapshot: sql('INSERT OR REPLACE INTO snapshots (id, json) VALUES (?, ?)'),
    dropSnapshot: sql('DELETE FROM snapshots WHERE id = ?'),
    used: sql('SELECT id, root FROM used ORDER BY no'),
    addUsed: sql('INSERT INTO used (id, root) VALUES (?, ?)'),
  };
}
