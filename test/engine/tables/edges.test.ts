/** Edges of past states, record by record: each was wrong once, or is what a rule of docs/tables.md is for. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { addPartitions, claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import { createBatch } from '../../../src/engine/tables/archive/batch.ts';
import { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { archiveBatch } from '../../../src/engine/tables/archive/writer.ts';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import { positionOf } from '../../../src/engine/tables/events/position.ts';
import { buildPastState } from '../../../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../../../src/engine/tables/past-state/snapshot.ts';
import { createMemoryStore } from '../memory-store.ts';
import { environment, KEY } from '../repository/world.ts';
import { envelope, json, mysqlSource, postgresSource } from './events/samples.ts';

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

const START = 1_700_000_000_000_000;

interface Edge {
  readonly archive: TableArchive;
  /** Archives values of a partition in one batch; null is a tombstone. `key`: null for a truncate. */
  put(partition: number, ...records: readonly { readonly key: number | null; readonly value: unknown }[]): Promise<void>;
  snapshot(partition: number): Promise<void>;
  /** The topic is given partitions; none: keys are only said to have moved. */
  grow(...partitions: readonly number[]): Promise<void>;
  /** Ids of the rows at START + time, with their notes. */
  at(time: number): Promise<Record<string, string | null>>;
}

async function open(partitions: number): Promise<Edge> {
  const archive = openTableArchive({ store: createMemoryStore(), key: KEY, environment });
  const decode = createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT });
  await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
  await addPartitions(
    archive,
    Array.from({ length: partitions }, (_, i) => `t/${i}`),
  );
  const epoch = await claimRole(archive, 'archive');
  const snapshots = await claimRole(archive, 'snapshots');
  return {
    archive,
    async put(partition, ...records) {
      const batch = createBatch(archive.known(), decode);
      const from = archive.known().partitions.get(`t/${partition}`)?.next ?? 0;
      for (const [i, { key, value }] of records.entries())
        batch.add(
          `t/${partition}`,
          {
            offset: from + i,
            timeMs: START / 1000,
            key: key === null ? null : Buffer.from(`{"id":${key}}`),
            value: value === null ? null : Buffer.from(json(value)),
          },
          { kind: 'lost', end: 0 },
        );
      await archiveBatch(archive, duck, epoch, batch.seal());
    },
    snapshot: async (partition) => void (await makeSnapshot(archive, duck, snapshots, `t/${partition}`)),
    grow: async (...added) => void (await archive.append(() => ({ kind: 'PARTITIONS', add: added.map((i) => `t/${i}`) }))),
    async at(time) {
      const parts = [...archive.known().partitions.values()].map(({ id, next }) => ({ partition: id, next, throughUs: START + 1_000_000 }));
      await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts }));
      const built = await buildPastState(archive, duck, { kind: 'time', us: START + time });
      const scratch = await buildPastState(archive, duck, { kind: 'time', us: START + time }, { withoutBases: true });
      if (built.kind !== 'built' || scratch.kind !== 'built') throw new Error(JSON.stringify(built));
      expect({ hash: scratch.proof.hash, cut: scratch.proof.cut }).toEqual({ hash: built.proof.hash, cut: built.proof.cut });
      const note = built.columns.find(({ name }) => name === 'note');
      const rows = await duck.rows(`SELECT _key, ${note === undefined ? 'NULL' : `c${note.number}`} FROM past ORDER BY _key`);
      return Object.fromEntries(rows.map(([key, text]) => [String(key).replace(/\D/g, ''), text === null ? null : String(text)]));
    },
  };
}

/** An event at `time`, the place `lsn`, in the transaction after the commit `after`. */
const event = (op: string, key: number | null, time: number, after: number, lsn: number, note?: string, extra: object = {}) => ({
  key,
  value: envelope(
    op,
    { after: op === 'd' || key === null ? null : { id: key, ...(note === undefined ? {} : { note }) } },
    { ...postgresSource, ts_us: START + time, sequence: `["${after}","${lsn}"]`, lsn, txId: after, ...extra },
  ),
});

test('a row that is sent again after its delete does not come back over a base that forgot the delete', async () => {
  const { put, snapshot, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('d', 1, 2, 20, 21), event('c', 2, 3, 30, 31));
  await snapshot(0);
  await put(0, event('c', 3, 4, 40, 41));
  await snapshot(0);
  // The connector begins again at the first transaction, and the archive ends in the middle of that.
  await put(0, event('c', 1, 1, 10, 11));
  expect(await at(10)).toEqual({ '2': null, '3': null });
});

test('a row whose key has moved partitions and was deleted there does not come back over bases that would have forgotten the delete', async () => {
  const { put, snapshot, grow, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 1, 10, 12));
  await snapshot(0);
  await grow(1);
  await put(1, event('d', 1, 2, 20, 21), event('c', 3, 3, 30, 31));
  await snapshot(1);
  await put(1, event('c', 4, 4, 40, 41));
  await snapshot(1);
  expect(await at(10)).toEqual({ '2': null, '3': null, '4': null });
  await put(1, event('c', 5, 5, 50, 51));
  await snapshot(1);
  await snapshot(0);
  expect(await at(10)).toEqual({ '2': null, '3': null, '4': null, '5': null });
});

test('the same where keys move between partitions that were there before, as somebody has said', async () => {
  const { put, snapshot, grow, at } = await open(2);
  await put(0, event('c', 1, 1, 10, 11));
  await put(1, event('c', 2, 1, 10, 12));
  await snapshot(1);
  await grow();
  await put(1, event('d', 1, 2, 20, 21), event('c', 3, 3, 30, 31));
  await snapshot(1);
  await put(1, event('c', 4, 4, 40, 41));
  await snapshot(1);
  expect(await at(10)).toEqual({ '2': null, '3': null, '4': null });
});

test.each([
  { into: 'one that was added', partitions: 1, others: {} },
  { into: 'one that was there', partitions: 2, others: { '9': null } },
])('what is sent again into another partition, $into, meets no base that has forgotten its delete', async ({ partitions, others }) => {
  const { put, snapshot, grow, at } = await open(partitions);
  if (partitions === 2) await put(1, event('c', 9, 4, 40, 42));
  await put(0, event('c', 1, 1, 10, 11), event('d', 1, 2, 20, 21), event('c', 2, 3, 30, 31));
  await snapshot(0);
  await put(0, event('c', 3, 4, 40, 41));
  await snapshot(0);
  await grow(partitions);
  await put(1, event('c', 1, 1, 10, 11));
  expect(await at(10)).toEqual({ '2': null, '3': null, ...others });
  // A new base of the other partition forgets no more than that.
  await put(0, event('c', 4, 5, 50, 51));
  await snapshot(0);
  expect(await at(10)).toEqual({ '2': null, '3': null, '4': null, ...others });
});

test('a key that has moved to a partition of a lower number is decided by its place, though nothing was late', async () => {
  const { put, grow, at } = await open(2);
  await put(1, event('c', 1, 1, 10, 11, 'first'), event('c', 2, 5, 50, 51));
  await grow();
  await put(0, event('u', 1, 2, 20, 21, 'second'), event('c', 3, 6, 60, 61));
  expect(await at(1)).toEqual({ '1': '"first"' });
  expect(await at(6)).toEqual({ '1': '"second"', '2': null, '3': null });
});

test('a snapshot that was begun before keys could move, and forgets too much for that, is refused', async () => {
  const { archive, put, snapshot, grow } = await open(1);
  await put(0, event('c', 1, 1, 10, 11));
  await snapshot(0);
  await put(0, event('c', 2, 2, 20, 21));
  const before = archive.known();
  await grow(1);
  const old = { ...archive, known: () => before };
  await expect(makeSnapshot(old, duck, archive.known().claims.snapshots, 't/0')).rejects.toMatchObject({ code: 'RECORD_REFUSED' });
  await snapshot(0);
  expect(
    archive
      .known()
      .partitions.get('t/0')
      ?.snapshots.map(({ offset }) => offset),
  ).toEqual([1, 2]);
});

test('rows of a new initial snapshot of the source stand where it was taken, in a partition that was added too', async () => {
  const { put, grow, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11, 'old'));
  await grow(1);
  await put(1, event('r', 1, 5, 30, 31, 'new', { snapshot: 'true' }), event('c', 2, 7, 40, 41));
  expect(await at(7)).toEqual({ '1': '"new"', '2': null });
});

test('a delete since the base before is remembered as a dead row', async () => {
  const { put, snapshot, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('d', 1, 2, 20, 21), event('c', 2, 3, 30, 31));
  await snapshot(0);
  await put(0, event('c', 1, 1, 10, 11));
  expect(await at(10)).toEqual({ '2': null });
});

test('a truncate that is the first thing after T is after T, and reaches every partition', async () => {
  const { put, at } = await open(2);
  await put(0, event('c', 1, 1, 10, 11), event('c', 1, 9, 50, 51, 'again'));
  await put(1, event('c', 2, 2, 20, 21), event('t', null, 5, 30, 31));
  expect(await at(4)).toEqual({ '1': null, '2': null });
  expect(await at(5)).toEqual({});
  expect(await at(9)).toEqual({ '1': '"again"' });
});

test('a row of an incremental snapshot does not reach back before what the connector had read, where its key has moved partitions', async () => {
  const { put, at } = await open(2);
  await put(0, event('c', 1, 5, 10, 11, 'first'), event('u', 1, 8, 20, 21, 'second'));
  await put(1, event('r', 1, 900, 30, 31, 'second', { snapshot: 'incremental' }));
  expect(await at(4)).toEqual({});
  expect(await at(5)).toEqual({ '1': '"first"' });
  expect(await at(8)).toEqual({ '1': '"second"' });
});

test('a base is as high as its highest event, though lower ones were sent again after it', async () => {
  const { put, snapshot, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11, 'one'), event('u', 1, 5, 20, 21, 'two'), event('c', 1, 1, 10, 11, 'one'));
  await snapshot(0);
  await put(0, event('u', 1, 5, 20, 21, 'two'));
  expect(await at(4)).toEqual({ '1': '"one"' });
});

test('a younger commit behind an older stamp is not in: the state is one that the database had', async () => {
  const { put, at } = await open(2);
  await put(0, event('c', 1, 7, 10, 11));
  await put(1, event('c', 2, 5, 20, 21));
  expect(await at(6)).toEqual({});
  expect(await at(7)).toEqual({ '1': null, '2': null });
});

test('the tombstone of a key change, sent again, does not take the row that came after it', async () => {
  const { put, at } = await open(1);
  const change = [event('d', 1, 2, 20, 21), { key: 1, value: null }, event('c', 2, 2, 20, 21), event('c', 1, 3, 30, 31)];
  await put(0, event('c', 1, 1, 10, 11), ...change);
  await put(0, ...change.slice(0, 1));
  await put(0, ...change.slice(1, 2));
  expect(await at(3)).toEqual({ '1': null, '2': null });
});

test('a tombstone whose delete was compacted away deletes', async () => {
  const { put, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 21), { key: 1, value: null }, event('c', 3, 5, 30, 31));
  expect(await at(2)).toEqual({ '2': null });
});

test('a placeholder is merged over a base, and counted where nothing is known', async () => {
  const { archive, put, snapshot, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11, 'large'), event('u', 2, 1, 10, 12, PLACEHOLDER_DEFAULT));
  await snapshot(0);
  await put(0, event('u', 1, 2, 20, 21, PLACEHOLDER_DEFAULT), event('c', 3, 3, 30, 31));
  expect(await at(2)).toEqual({ '1': '"large"', '2': null });
  expect(await buildPastState(archive, duck, { kind: 'time', us: START + 2 })).toMatchObject({ proof: { unresolved: 1 } });
});

test('a base does not merge a placeholder with what its partition knows, where the key has moved and another one knows better', async () => {
  const { put, snapshot, at } = await open(2);
  const first = event('c', 1, 1, 10, 11, 'old');
  const second = event('u', 1, 2, 20, 21, 'new');
  await put(0, first, second, event('c', 2, 9, 40, 41));
  // The connector begins again, now with two partitions, and the base is made when only the first is there again.
  await put(1, event('u', 1, 3, 30, 31, PLACEHOLDER_DEFAULT), first);
  await snapshot(1);
  expect(await at(3)).toEqual({ '1': '"new"' });
  await put(1, second);
  await snapshot(1);
  expect(await at(3)).toEqual({ '1': '"new"' });
});

const UNKNOWN = '__debezium_unavailable_value';

test('a placeholder of a row that got its key by a change of keys is never filled from an earlier row of that key', async () => {
  const { archive, put, snapshot, at } = await open(1);
  const unresolved = async (time: number): Promise<number> => {
    const built = await buildPastState(archive, duck, { kind: 'time', us: START + time });
    return built.kind === 'built' ? built.proof.unresolved : -1;
  };
  await put(0, event('c', 1, 1, 10, 11, 'of 1'), event('c', 5, 1, 10, 12, 'of the dead'), event('d', 5, 2, 20, 21));
  // As PostgreSQL tells it with REPLICA IDENTITY DEFAULT: the old key goes, and the large value is not logged for the new one.
  await put(0, event('d', 1, 3, 30, 31), event('c', 5, 3, 30, 31, UNKNOWN));
  await put(0, event('c', 6, 4, 40, 41, 'taken by a truncate'), event('t', null, 5, 50, 51), event('c', 6, 6, 60, 61, UNKNOWN));
  expect(await at(3)).toEqual({ '5': null });
  expect(await unresolved(3)).toBe(1);
  expect(await at(6)).toEqual({ '6': null });
  await snapshot(0);
  await put(0, event('u', 6, 7, 70, 71, UNKNOWN), event('u', 7, 7, 70, 72, 'known'));
  expect(await at(7)).toEqual({ '6': null, '7': '"known"' });
  expect(await unresolved(7)).toBe(1);
});

test('over a base too, a delete says that an earlier row gives nothing, where another partition still has that row', async () => {
  const { put, snapshot, grow, at } = await open(1);
  await put(0, event('c', 5, 1, 10, 11, 'of the dead'), event('c', 1, 1, 10, 12, 'x'));
  await snapshot(0);
  await grow(1);
  await put(1, event('d', 5, 2, 20, 21), event('c', 5, 3, 30, 31, UNKNOWN));
  await snapshot(1);
  await put(1, event('u', 9, 4, 40, 41, 'y'));
  await snapshot(1);
  await put(1, event('u', 9, 5, 50, 51, 'z'));
  await snapshot(1);
  expect(await at(5)).toEqual({ '1': '"x"', '5': null, '9': '"z"' });
});

/** What a connector says before it has seen a commit. */
const fresh = (lsn: number, extra: object = {}) => ({ sequence: `[null,"${lsn}"]`, ...extra });

test('a connector that has lost its position breaks the partition; its new snapshot and what follows come after all that was sent before', async () => {
  const { archive, put, at } = await open(1);
  await put(0, event('r', 1, 0, 0, 100, 'first', fresh(100, { snapshot: 'last' })), event('c', 1, 1, 0, 101, 'then', fresh(101)));
  await put(0, event('u', 1, 2, 110, 111, 'later'), event('u', 1, 3, 120, 121, 'last'));
  expect(await at(1)).toEqual({ '1': '"then"' });
  const before = archive.known().partitions.get('t/0')?.high ?? '';
  await put(
    0,
    ...[
      event('r', 1, 5, 0, 200, 'again', fresh(200, { snapshot: 'first' })),
      event('r', 2, 5, 0, 200, 'two', fresh(200, { snapshot: 'last' })),
    ],
    event('u', 1, 6, 0, 201, 'after', fresh(201)),
  );
  await expect(at(6)).rejects.toThrow(/"kind":"outside"/);
  const { next = 0, high = '', parts = [] } = archive.known().partitions.get('t/0') ?? {};
  expect(parts.flatMap(({ gaps }) => gaps)).toEqual([{ from: 4, to: 4, kind: 'lost', end: 4 }]);
  expect(high > before).toBe(true);
  await archive.append(() => ({ kind: 'WHOLE', partition: 't/0', next, stampUs: START + 5 }));
  expect(await at(5)).toEqual({ '1': '"again"', '2': '"two"' });
  expect(await at(6)).toEqual({ '1': '"after"', '2': '"two"' });
});

test("a connector's first transaction after its snapshot is whole, though no last commit holds it together", async () => {
  const { archive, put, at } = await open(2);
  await put(0, event('r', 1, 0, 0, 90, 'a', fresh(90, { snapshot: 'last' })));
  await put(0, event('c', 2, 1, 0, 101, 'b', fresh(101, { txId: 7 })), event('u', 1, 1, 0, 103, 'c', fresh(103, { txId: 7 })));
  await put(1, event('c', 3, 1, 0, 102, 'd', fresh(102, { txId: 7 })), event('u', 3, 3, 130, 131, 'f'));
  await put(0, event('u', 1, 2, 110, 111, 'e', { txId: 8 }), event('u', 1, 3, 130, 132, 'g'));
  await at(3);
  const rows = async (target: Parameters<typeof buildPastState>[2]) => {
    const built = await buildPastState(archive, duck, target);
    if (built.kind !== 'built') throw new Error(JSON.stringify(built));
    return built.proof.rows;
  };
  expect(await rows({ kind: 'transaction', id: '7', edge: 'before' })).toBe(1);
  expect(await rows({ kind: 'transaction', id: '7', edge: 'after' })).toBe(3);
  expect(await rows({ kind: 'position', position: positionOf(103n, 103n) ?? 0n })).toBe(1);
  expect(await rows({ kind: 'position', position: positionOf(110n, 111n) ?? 0n })).toBe(3);
});

test('a transaction whose rows have different stamps is not split, not even over bases that end in its middle', async () => {
  const { put, snapshot, at } = await open(1);
  const row = (id: number, pos: number, time: number, n: number, note: string | null = null) => ({
    key: id,
    value: envelope(
      'c',
      { after: { id, note } },
      { ...mysqlSource, pos, ts_us: START + time, gtid: `24da167-0c0c-11e8-8442-00059a3c7b00:${n}` },
    ),
  });
  // The second transaction begins by overwriting what the first one wrote: a base that has a part of it has lost that.
  for (const one of [row(0, 100, 1, 1, 'old'), row(0, 200, 4, 2, 'new'), row(2, 250, 5, 2), row(3, 300, 7, 2), row(4, 400, 9, 3)]) {
    await put(0, one);
    await snapshot(0);
  }
  expect(await at(6)).toEqual({ '0': '"old"' });
  expect(await at(7)).toEqual({ '0': '"new"', '2': 'null', '3': 'null' });
});

type Asked = Parameters<typeof buildPastState>[2];

/** Ids of the rows of a past state, or why there is none. */
async function idsAt(archive: TableArchive, asked: Asked): Promise<string> {
  const built = await buildPastState(archive, duck, asked);
  if (built.kind !== 'built') return built.kind;
  const rows = await duck.rows('SELECT _key FROM past ORDER BY _key');
  return rows.map(([key]) => String(key).replace(/\D/g, '')).join();
}
const transaction = (id: string | number, edge: 'before' | 'after'): Asked => ({ kind: 'transaction', id: String(id), edge });
const place = (major: number, minor: number): Asked => ({ kind: 'position', position: positionOf(BigInt(major), BigInt(minor))! });

test('a transaction over two partitions: before it nothing of it, after it all', async () => {
  const { archive, put, at } = await open(2);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 21), event('c', 4, 9, 40, 41));
  await put(1, event('c', 3, 2, 20, 22), event('d', 1, 2, 20, 23), event('c', 5, 9, 40, 42));
  await at(9);
  expect(await idsAt(archive, transaction(20, 'before'))).toBe('1');
  expect(await idsAt(archive, transaction(20, 'after'))).toBe('2,3');
  expect(await idsAt(archive, transaction(40, 'after'))).toBe('2,3,4,5');
  expect(await idsAt(archive, transaction(30, 'after'))).toBe('unknown');
});

test('a place in the log takes the transactions below it, and none in part', async () => {
  const { archive, put, snapshot, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 21));
  await snapshot(0);
  await put(0, event('c', 3, 2, 20, 22), event('c', 4, 9, 40, 41));
  await at(9);
  expect(await idsAt(archive, place(20, 20))).toBe('1');
  expect(await idsAt(archive, place(20, 21))).toBe('1');
  // Below it stands the one row of the base that is of the transaction.
  expect(await idsAt(archive, place(20, 22))).toBe('1');
  expect(await idsAt(archive, place(20, 23))).toBe('1,2,3');
  expect(await idsAt(archive, place(40, 41))).toBe('1,2,3');
  expect(await idsAt(archive, place(40, 42))).toBe('outside');
});

test('a truncate and what fills the table again in one transaction are one, whichever partition the truncate came through', async () => {
  const { archive, put, at } = await open(2);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 22), event('c', 3, 9, 30, 31));
  await put(1, event('t', null, 2, 20, 21), event('c', 4, 9, 30, 32));
  await at(9);
  expect(await idsAt(archive, transaction(20, 'before'))).toBe('1');
  expect(await idsAt(archive, transaction(20, 'after'))).toBe('2');
  expect(await idsAt(archive, place(20, 22))).toBe('1');
  expect(await idsAt(archive, place(20, 21))).toBe('1');
});

test('rows and then a truncate in one transaction: a place between them is before both', async () => {
  const { archive, put, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 21), event('t', null, 2, 20, 22), event('c', 3, 9, 30, 31));
  await at(9);
  expect(await idsAt(archive, place(20, 22))).toBe('1');
  expect(await idsAt(archive, transaction(20, 'after'))).toBe('');
});

test('two truncates in one transaction: a place between them is before both', async () => {
  const { archive, put, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('t', null, 2, 20, 21), event('t', null, 2, 20, 22), event('c', 3, 9, 30, 31));
  await at(9);
  expect(await idsAt(archive, place(20, 21))).toBe('1');
  expect(await idsAt(archive, place(20, 22))).toBe('1');
});

test('a number that PostgreSQL gave to two transactions names neither; their times are told', async () => {
  const { archive, put, at } = await open(1);
  await put(
    0,
    event('c', 1, 1, 10, 11, undefined, { txId: 7 }),
    event('c', 2, 5, 20, 21, undefined, { txId: 7 }),
    event('c', 3, 9, 30, 31),
  );
  await at(9);
  expect(await buildPastState(archive, duck, transaction(7, 'before'))).toEqual({ kind: 'several', stampsUs: [START + 1, START + 5] });
});

test('a transaction that was sent again is still one', async () => {
  const { archive, put, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 21), event('c', 3, 9, 30, 31), event('c', 2, 2, 20, 21));
  await at(9);
  expect(await idsAt(archive, transaction(20, 'before'))).toBe('1');
  expect(await idsAt(archive, transaction(20, 'after'))).toBe('1,2');
});

test('a transaction that not every partition was archived through cannot be had', async () => {
  const { archive, put, at } = await open(2);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 5, 20, 21), event('c', 3, 9, 30, 31));
  await put(1, event('c', 4, 3, 15, 16));
  expect(await buildPastState(archive, duck, transaction(20, 'after'))).toMatchObject({ kind: 'outside', nearestUs: START + 2 });
  expect(await idsAt(archive, transaction(15, 'before'))).toBe('1');
  // The second partition may bring more of it, as far as anybody knows.
  expect(await idsAt(archive, transaction(15, 'after'))).toBe('outside');
  expect(await idsAt(archive, place(15, 17))).toBe('outside');
  await at(9);
  expect(await idsAt(archive, transaction(15, 'after'))).toBe('1,4');
  expect(await idsAt(archive, transaction(20, 'after'))).toBe('1,2,4');
});

test('what is before the window is not had by a place or a transaction either', async () => {
  const { archive, put, snapshot, at } = await open(1);
  await put(0, event('c', 1, 1, 10, 11), event('c', 2, 2, 20, 21));
  await snapshot(0);
  await put(0, event('c', 3, 5, 30, 31), event('c', 4, 9, 40, 41));
  await at(9);
  const epoch = archive.known().claims.snapshots;
  await archive.append(() => ({ kind: 'DROP', epoch, partition: 't/0', offset: 2 }));
  expect(await idsAt(archive, transaction(10, 'after'))).toBe('unknown');
  expect(await buildPastState(archive, duck, place(10, 11))).toMatchObject({ kind: 'outside', nearestUs: START + 2 });
  expect(await idsAt(archive, transaction(30, 'before'))).toBe('1,2');
});

test("MySQL's transaction is its GTID, whole; a place of its log is a file and a position", async () => {
  const { archive, put, snapshot, at } = await open(1);
  const gtid = (n: number): string => `24da167-0c0c-11e8-8442-00059a3c7b00:${n}`;
  const row = (id: number, pos: number, time: number, n: number) => ({
    key: id,
    value: envelope('c', { after: { id } }, { ...mysqlSource, pos, ts_us: START + time, gtid: gtid(n) }),
  });
  for (const one of [row(1, 100, 1, 1), row(2, 200, 3, 2), row(3, 250, 4, 2), row(4, 400, 9, 3)]) {
    await put(0, one);
    await snapshot(0);
  }
  await at(9);
  expect(await idsAt(archive, transaction(gtid(2), 'before'))).toBe('1');
  expect(await idsAt(archive, transaction(gtid(2), 'after'))).toBe('1,2,3');
  const binlog = (pos: number): Asked => ({ kind: 'position', position: positionOf((3n << 36n) | BigInt(pos), 0n)! });
  expect(await idsAt(archive, binlog(250))).toBe('1');
  expect(await idsAt(archive, binlog(300))).toBe('1,2,3');
});
