/**
 * The table in memory: for tests, the simulation and small repositories. `clone` makes an independent copy, which is how
 * the simulation gives a process an old cache.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { PACK_LIVE_SHARE_MIN } from '../../domain/limits.ts';
import type { PackUse, Table, TableRow, TableWriter } from './table.ts';

export interface MemoryTable extends Table {
  clone(): MemoryTable;
}

interface State {
  readonly rows: Map<string, TableRow>;
  readonly packs: Map<string, PackUse>;
  readonly parts: Map<string, readonly string[]>;
}

export const createMemoryTable = (): MemoryTable => memoryTable({ rows: new Map(), packs: new Map(), parts: new Map() });

function memoryTable(state: State): MemoryTable {
  const { rows, packs, parts } = state;

  const use = (id: Buffer, blobs: number, bytes: number): void => {
    const key = id.toString('hex');
    const pack = packs.get(key);
    if (!pack) throw new HoldfastError('RECORD_INVALID', 'a record places a value in a pack that it does not name', { pack: key });
    packs.set(key, { ...pack, liveBlobs: pack.liveBlobs + blobs, liveBytes: pack.liveBytes + bytes });
  };

  const writer: TableWriter = {
    addPacks(added) {
      for (const pack of added) {
        const key = pack.id.toString('hex');
        if (!packs.has(key)) packs.set(key, { ...pack, liveBlobs: 0, liveBytes: 0 });
      }
    },
    add(fingerprint, runs, brought) {
      const key = fingerprint.toString('hex');
      const row = rows.get(key);
      if (row) return void rows.set(key, { ...row, runs: row.runs + runs });
      if (!brought)
        throw new HoldfastError('RECORD_INVALID', 'a record uses a value that is neither brought nor counted', { fingerprint: key });
      rows.set(key, { runs, location: brought });
      use(brought.pack, 1, brought.length);
    },
    subtract(fingerprint, runs) {
      const key = fingerprint.toString('hex');
      const row = rows.get(key);
      if (!row || row.runs < runs)
        throw new HoldfastError('RECORD_INVALID', 'a record ends more runs than there are', { fingerprint: key });
      if (row.runs > runs) return void rows.set(key, { ...row, runs: row.runs - runs });
      rows.delete(key);
      use(row.location.pack, -1, -row.location.length);
    },
    move(fingerprint, from, to) {
      const key = fingerprint.toString('hex');
      const row = rows.get(key);
      if (!row || !from.has(row.location.pack.toString('hex'))) return;
      use(row.location.pack, -1, -row.location.length);
      use(to.pack, 1, to.length);
      rows.set(key, { ...row, location: to });
    },
    holdParts: (root, names) => void parts.set(root, names),
    dropParts: (root) => void parts.delete(root),
  };

  return {
    get: (fingerprint) => rows.get(fingerprint.toString('hex')) ?? null,
    pack: (id) => packs.get(id.toString('hex')) ?? null,
    thinPacks: (limit) =>
      [...packs.values()]
        .filter((pack) => pack.liveBytes <= pack.bytes * PACK_LIVE_SHARE_MIN)
        .sort((a, b) => a.liveBytes / a.bytes - b.liveBytes / b.bytes || Buffer.compare(a.id, b.id))
        .slice(0, limit),
    holdsPart: (name) => [...parts.values()].some((names) => names.includes(name)),
    packBytes: () => sum(packs.values(), (pack) => pack.bytes),
    size: () => ({
      rows: rows.size,
      packs: packs.size,
      packBytes: sum(packs.values(), (pack) => pack.bytes),
      liveBytes: sum(packs.values(), (pack) => pack.liveBytes),
    }),
    *rows() {
      for (const key of [...rows.keys()].sort()) {
        const row = rows.get(key);
        if (row) yield { fingerprint: Buffer.from(key, 'hex'), ...row };
      }
    },
    *packs() {
      for (const key of [...packs.keys()].sort()) {
        const pack = packs.get(key);
        if (pack) yield pack;
      }
    },
    *parts() {
      for (const root of [...parts.keys()].sort()) for (const name of parts.get(root) ?? []) yield { root, name };
    },
    write(_from, work) {
      work(writer);
      const emptied = [...packs.values()].filter((pack) => pack.liveBlobs === 0).map((pack) => pack.id);
      for (const id of emptied) packs.delete(id.toString('hex'));
      return emptied;
    },
    ledger: () => null,
    stamp: () => null,
    loader() {
      const loaded: State = { rows: new Map(), packs: new Map(), parts: new Map() };
      return {
        packs(page) {
          for (const pack of page) loaded.packs.set(pack.id.toString('hex'), pack);
        },
        parts(page) {
          for (const { root, name } of page) loaded.parts.set(root, [...(loaded.parts.get(root) ?? []), name]);
        },
        rows(page) {
          for (const { fingerprint, runs, location } of page) loaded.rows.set(fingerprint.toString('hex'), { runs, location });
        },
        finish() {
          replaceAll(rows, loaded.rows);
          replaceAll(packs, loaded.packs);
          replaceAll(parts, loaded.parts);
        },
      };
    },
    clone: () => memoryTable({ rows: new Map(rows), packs: new Map(packs), parts: new Map(parts) }),
  };
}

function replaceAll<T>(map: Map<string, T>, by: ReadonlyMap<string, T>): void {
  map.clear();
  for (const [key, value] of by) map.set(key, value);
}

const sum = <T>(items: Iterable<T>, of: (item: T) => number): number => {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
};
