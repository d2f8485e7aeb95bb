/**
 * What a receiver keeps of a session on its own disk: pages, receipts of closed subtrees, and where what was brought lies.
 *
 * Nothing in it decides. A page that is gone is listed as lacking; a receipt that is gone is made again; what was brought is
 * in the directories of the claim's packs, and the rows here only save reading them. Every row has a checksum, so that one
 * which has rotted counts as gone: never wrong, only lacking. A file that is no database any more is begun anew.
 *
 * Each call is one transaction. Pages, and what OPEN agreed, are synced before it returns; the rest can be had again.
 * Bounded: so many pages as the volume has leaves, 8.5 KB each (0.013 % of it at 256 KiB), so many values as it has extents.
 */
import { rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import type { SubtreeReceipt } from '../../transfer/contract.ts';
import type { Location } from '../../repository/location.ts';
import type { PackEntry } from '../../repository/pack.ts';
import { decodeRows, encodeRows, type Page } from './pages.ts';
import { openingSchema, type Opening } from './opening.ts';
import { inTransaction } from '../../../ground/sqlite/transaction.ts';

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE opening (json TEXT NOT NULL, sum INT NOT NULL);
  CREATE TABLE pages (subtree INT, page INT, whole INT NOT NULL, rows BLOB NOT NULL, sum INT NOT NULL, PRIMARY KEY (subtree, page));
  CREATE TABLE receipts (subtree INTEGER PRIMARY KEY, json TEXT NOT NULL, sum INT NOT NULL);
  CREATE TABLE packs (no INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, bytes INT NOT NULL, blobs INT NOT NULL);
  CREATE TABLE brought (name BLOB PRIMARY KEY, pack INT NOT NULL, offset INT NOT NULL, length INT NOT NULL, sum INT NOT NULL) WITHOUT ROWID;
  CREATE TABLE tops (subtree INTEGER PRIMARY KEY, node BLOB NOT NULL, sum INT NOT NULL);
`;

export interface BroughtPack {
  readonly id: Buffer;
  readonly bytes: number;
  readonly blobs: number;
}

export interface BroughtValue {
  readonly location: Location;
  readonly pack: BroughtPack;
}

export interface SessionFile extends Disposable {
  opening(): Opening | null;
  setOpening(opening: Opening): void;
  /** Page numbers by subtree. */
  pageNumbers(): ReadonlyMap<number, readonly number[]>;
  page(subtree: number, page: number): Page | null;
  notePages(pages: readonly { readonly subtree: number; readonly number: number; readonly page: Page }[]): void;
  dropPage(subtree: number, page: number): void;
  receipt(subtree: number): SubtreeReceipt | null;
  setReceipt(receipt: SubtreeReceipt): void;
  dropReceipt(subtree: number): void;
  brought(name: Buffer): BroughtValue | null;
  packs(): readonly BroughtPack[];
  addPack(pack: BroughtPack, entries: readonly PackEntry[]): void;
  /** Takes a pack out, with all that is said to lie in it. */
  dropPack(id: Buffer): void;
  /** A value that does not open where it was put. */
  dropBrought(name: Buffer): void;
  /** The base's subtree nodes, as the pages of a lost map say. */
  top(subtree: number): Buffer | null;
  setTop(subtree: number, node: Buffer): void;
  /** The base is another one: what was said against the old one says nothing. */
  forgetPages(): void;
}

type Row = Record<string, unknown>;
const blobOf = (value: unknown): Buffer =>
  value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.length) : Buffer.alloc(0);

const pageSum = (subtree: number, page: number, whole: number, rows: Uint8Array): number =>
  crc32(`${subtree},${page},${whole}`, crc32(rows));
const broughtSum = (name: Uint8Array, id: Uint8Array, offset: number, length: number): number =>
  crc32(`${offset},${length}`, crc32(id, crc32(name)));

/** Opens the file at `path`, making it where there is none; one that does not open as what it should be is made anew. */
export function openSessionFile(path: string): SessionFile {
  try {
    return sessionFile(openDatabase(path));
  } catch {
    removeSessionFile(path);
    return sessionFile(openDatabase(path));
  }
}

export function removeSessionFile(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
}

function openDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 5000 });
  try {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2048;');
    const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
    if (version === SCHEMA_VERSION) return db;
    if (version !== 0) throw new Error('a session file of another version');
    db.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function sessionFile(db: DatabaseSync): SessionFile {
  const sql = {
    opening: db.prepare('SELECT json, sum FROM opening'),
    setOpening: db.prepare('INSERT INTO opening (json, sum) VALUES (?, ?)'),
    numbers: db.prepare('SELECT subtree, page FROM pages ORDER BY subtree, page'),
    page: db.prepare('SELECT whole, rows, sum FROM pages WHERE subtree = ? AND page = ?'),
    setPage: db.prepare('INSERT OR REPLACE INTO pages (subtree, page, whole, rows, sum) VALUES (?, ?, ?, ?, ?)'),
    dropPage: db.prepare('DELETE FROM pages WHERE subtree = ? AND page = ?'),
    receipt: db.prepare('SELECT json, sum FROM receipts WHERE subtree = ?'),
    setReceipt: db.prepare('INSERT OR REPLACE INTO receipts (subtree, json, sum) VALUES (?, ?, ?)'),
    dropReceipt: db.prepare('DELETE FROM receipts WHERE subtree = ?'),
    packs: db.prepare('SELECT id, bytes, blobs FROM packs ORDER BY no'),
    addPack: db.prepare('INSERT OR REPLACE INTO packs (id, bytes, blobs) VALUES (?, ?, ?) RETURNING no'),
    dropPack: db.prepare('DELETE FROM packs WHERE id = ? RETURNING no'),
    dropOfPack: db.prepare('DELETE FROM brought WHERE pack = ?'),
    brought: db.prepare(
      'SELECT b.offset, b.length, b.sum, p.id, p.bytes, p.blobs FROM brought b JOIN packs p ON p.no = b.pack WHERE b.name = ?',
    ),
    setBrought: db.prepare('INSERT OR REPLACE INTO brought (name, pack, offset, length, sum) VALUES (?, ?, ?, ?, ?)'),
    dropBrought: db.prepare('DELETE FROM brought WHERE name = ?'),
    top: db.prepare('SELECT node, sum FROM tops WHERE subtree = ?'),
    setTop: db.prepare('INSERT OR REPLACE INTO tops (subtree, node, sum) VALUES (?, ?, ?)'),
  };
  /** A first session asks for each name, and nothing was brought: that is not asked of the file. */
  let isBarren = db.prepare('SELECT 1 FROM packs LIMIT 1').get() === undefined;
  const transaction = (work: () => void): void => inTransaction(db, work);
  /** Survives the machine: the write-ahead log is synced with it. */
  const synced = (work: () => void): void => {
    db.exec('PRAGMA synchronous = FULL');
    try {
      transaction(work);
    } finally {
      db.exec('PRAGMA synchronous = NORMAL');
    }
  };
  /** The text of a row, if its checksum says that it is what was written. */
  const sound = (row: Row | undefined): string | null => {
    const json = row?.['json'];
    return typeof json === 'string' && crc32(json) === Number(row?.['sum']) ? json : null;
  };

  return {
    opening() {
      const json = sound(sql.opening.get());
      const parsed = json === null ? null : openingSchema.safeParse(JSON.parse(json));
      return parsed?.success ? parsed.data : null;
    },
    setOpening(opening) {
      const json = JSON.stringify(opening);
      synced(() => {
        db.exec('DELETE FROM opening');
        sql.setOpening.run(json, crc32(json));
      });
    },
    pageNumbers() {
      const numbers = new Map<number, number[]>();
      for (const row of sql.numbers.iterate()) {
        const subtree = Number(row['subtree']);
        const own = numbers.get(subtree) ?? [];
        numbers.set(subtree, own);
        own.push(Number(row['page']));
      }
      return numbers;
    },
    page(subtree, number) {
      const row = sql.page.get(subtree, number);
      if (row === undefined) return null;
      const rows = blobOf(row['rows']);
      const whole = Number(row['whole']);
      return pageSum(subtree, number, whole, rows) === Number(row['sum']) ? { whole: whole === 1, rows: decodeRows(rows) } : null;
    },
    notePages: (pages) =>
      synced(() => {
        for (const { subtree, number, page } of pages) {
          const rows = encodeRows(page.rows);
          const whole = page.whole ? 1 : 0;
          sql.setPage.run(subtree, number, whole, rows, pageSum(subtree, number, whole, rows));
        }
      }),
    dropPage: (subtree, page) => void sql.dropPage.run(subtree, page),
    receipt(subtree) {
      const json = sound(sql.receipt.get(subtree));
      // Written by this file's own version, as its checksum says.
      return json === null ? null : (JSON.parse(json) as SubtreeReceipt);
    },
    setReceipt(receipt) {
      const json = JSON.stringify(receipt);
      sql.setReceipt.run(receipt.subtree, json, crc32(json));
    },
    dropReceipt: (subtree) => void sql.dropReceipt.run(subtree),
    packs: () => sql.packs.all().map((row) => packOf(row)),
    addPack: (pack, entries) =>
      transaction(() => {
        isBarren = false;
        const no = Number(sql.addPack.get(pack.id, pack.bytes, pack.blobs)?.['no']);
        for (const { fingerprint, offset, length } of entries)
          sql.setBrought.run(fingerprint, no, offset, length, broughtSum(fingerprint, pack.id, offset, length));
      }),
    dropPack: (id) =>
      transaction(() => {
        const no = sql.dropPack.get(id)?.['no'];
        if (no !== undefined) sql.dropOfPack.run(Number(no));
      }),
    brought(name) {
      const row = isBarren ? undefined : sql.brought.get(name);
      if (row === undefined) return null;
      const pack = packOf(row);
      const [offset, length] = [Number(row['offset']), Number(row['length'])];
      if (broughtSum(name, pack.id, offset, length) !== Number(row['sum'])) return null;
      return { location: { pack: pack.id, offset, length }, pack };
    },
    dropBrought: (name) => void sql.dropBrought.run(name),
    top(subtree) {
      const row = sql.top.get(subtree);
      const node = blobOf(row?.['node']);
      return row !== undefined && crc32(node) === Number(row['sum']) ? node : null;
    },
    setTop: (subtree, node) => void sql.setTop.run(subtree, node, crc32(node)),
    forgetPages: () => transaction(() => db.exec('DELETE FROM pages; DELETE FROM receipts; DELETE FROM tops')),
    [Symbol.dispose]: () => db.close(),
  };
}

const packOf = (row: Row): BroughtPack => ({ id: blobOf(row['id']), bytes: Number(row['bytes']), blobs: Number(row['blobs']) });
