/** What an archive says about itself: the window, gaps, heartbeats, quarantine, schemas, and what it refuses. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { claimRole, ensureForm, openTableArchive } from '../../../../src/engine/tables/archive/archive.ts';
import { createBatch } from '../../../../src/engine/tables/archive/batch.ts';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { archiveBatch } from '../../../../src/engine/tables/archive/writer.ts';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../../src/engine/tables/events/debezium.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../../../../src/engine/tables/past-state/snapshot.ts';
import { judgeTime, windowOf } from '../../../../src/engine/tables/past-state/window.ts';
import { createMemoryStore } from '../../memory-store.ts';
import { environment, KEY } from '../../repository/world.ts';
import { envelope, json, record, withSchema } from '../events/samples.ts';
import { openPlain, plain } from '../plain-archive.ts';

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

const T = 1_700_000_000_000;
const us = (ms: number): number => (T + ms) * 1000;

test('LATEST is the least over partitions: one that shows nothing holds it back until a heartbeat, which an event may contradict', async () => {
  const { archive, put, epoch } = await openPlain(['t/0', 't/1']);
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 }), plain(1, T + 5, 2, { v: 2 })]);
  expect(windowOf(archive.known())).toMatchObject({ earliestUs: 0, latestUs: null, latestBy: 't/1' });
  expect(judgeTime(archive.known(), us(1))).toMatchObject({ kind: 'outside', nearestUs: null });
  await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts: [{ partition: 't/1', next: 0, throughUs: us(3) }] }));
  expect(windowOf(archive.known())).toMatchObject({ latestUs: us(3), latestBy: 't/1' });
  expect(judgeTime(archive.known(), us(4))).toMatchObject({ kind: 'outside', nearestUs: us(3) });
  await put(duck, 't/1', [plain(0, T + 2, 3, { v: 3 })]);
  expect(archive.known().partitions.get('t/1')?.contradicted).toBe(1);
  expect(await buildPastState(archive, duck, { kind: 'time', us: us(3) })).toMatchObject({ proof: { contradicted: 1, rows: 2 } });
});

test('a heartbeat at an offset where the partition does not stand is refused', async () => {
  const { archive, epoch, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(0, T, 1, {})]);
  await expect(
    archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts: [{ partition: 't/0', next: 0, throughUs: us(3) }] })),
  ).rejects.toMatchObject({ code: 'RECORD_REFUSED' });
});

test('T is included; before and after it is not', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 }), plain(1, T + 5, 1, { v: 2 }), plain(2, T + 5, 2, { v: 1 }), plain(3, T + 9, 1, null)]);
  const rowsAt = async (timeUs: number) => {
    await buildPastState(archive, duck, { kind: 'time', us: timeUs });
    return duck.rows('SELECT * EXCLUDE (_schema) FROM past ORDER BY _key');
  };
  expect(await rowsAt(us(5) - 1)).toEqual([['1', '1']]);
  expect(await rowsAt(us(5))).toEqual([
    ['1', '2'],
    ['2', '1'],
  ]);
});

test('records that the topic had lost leave the partition broken until somebody says that it is whole', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 }), plain(7, T + 5, 2, { v: 2 })]);
  expect(windowOf(archive.known())).toMatchObject({ earliestUs: null, earliestBy: 't/0' });
  expect(await buildPastState(archive, duck, { kind: 'time', us: us(1) })).toMatchObject({ kind: 'outside' });
  await archive.append(() => ({ kind: 'WHOLE', partition: 't/0', next: 8, stampUs: us(5) }));
  await put(duck, 't/0', [plain(8, T + 9, 3, { v: 3 })]);
  expect(windowOf(archive.known())).toMatchObject({ earliestUs: us(5) });
  const built = await buildPastState(archive, duck, { kind: 'time', us: us(6) });
  expect(built).toMatchObject({ kind: 'built', proof: { gaps: [{ partition: 't/0', from: 1, to: 7, kind: 'lost', end: 0 }] } });
});

test('a topic that begins above offset 0 has lost what was there before', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(40, T, 1, { v: 1 })]);
  expect(archive.known().partitions.get('t/0')).toMatchObject({ next: 41, wholeFrom: null, beginsUs: null });
});

test('a compacted partition is whole again from where its log ended when the gap was met', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(3, T, 1, { v: 1 })], { kind: 'compacted', end: 6 });
  expect(windowOf(archive.known()).earliestUs).toBeNull();
  await put(duck, 't/0', [plain(4, T + 2, 2, { v: 1 }), plain(5, T + 4, 1, { v: 2 })], { kind: 'compacted', end: 6 });
  expect(windowOf(archive.known())).toMatchObject({ earliestUs: us(4) });
});

test('marks of Kafka transactions are a gap that means nothing', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 }), plain(2, T + 2, 2, { v: 1 })], { kind: 'control', end: 3 });
  expect(windowOf(archive.known())).toMatchObject({ earliestUs: 0, latestUs: us(2) - 1 });
});

test('bad records are kept with offset, reason and bytes; the rest goes on and LATEST stays honest', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [
    plain(0, T, 1, { v: 1 }),
    plain(1, T + 1, 1, Buffer.from([0xff, 0x00, 0x7b])),
    plain(2, T + 2, null, { v: 1 }),
    plain(3, T + 3, 1, [1, 2]),
    plain(4, T + 4, 4, Buffer.alloc(10 * 1024 * 1024, 0x20)),
    plain(5, T + 5, 2, { v: 2 }),
  ]);
  const [part] = archive.known().partitions.get('t/0')?.parts ?? [];
  expect(part?.quarantined).toEqual([
    { offset: 1, reason: 'NOT_JSON' },
    { offset: 2, reason: 'KEY_MISSING' },
    { offset: 3, reason: 'NOT_AN_OBJECT' },
    { offset: 4, reason: 'TOO_LARGE' },
  ]);
  expect(windowOf(archive.known()).latestUs).toBe(us(5) - 1);
  expect(await buildPastState(archive, duck, { kind: 'time', us: us(5) - 1 })).toMatchObject({
    proof: { rows: 1, quarantined: { NOT_JSON: 1, KEY_MISSING: 1, NOT_AN_OBJECT: 1, TOO_LARGE: 1 } },
  });
  expect(await duck.rows(`SELECT _key, octet_length(_raw) FROM segments WHERE _op = 'q' ORDER BY _offset`)).toEqual([
    ['NOT_JSON', 3n],
    ['KEY_MISSING', 7n],
    ['NOT_AN_OBJECT', 5n],
    ['TOO_LARGE', 65536n],
  ]);
});

test('a batch that was archived already is refused, whoever brings it', async () => {
  const { archive, put, epoch } = await openPlain(['t/0']);
  const batch = createBatch(archive.known(), () => ({ kind: 'nothing' }));
  batch.add('t/0', plain(0, T, 1, {}), { kind: 'lost', end: 0 });
  const sealed = batch.seal();
  expect(await archiveBatch(archive, duck, epoch, sealed)).not.toBeNull();
  await expect(archiveBatch(archive, duck, epoch, sealed)).rejects.toMatchObject({ code: 'RECORD_REFUSED' });
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 }), plain(1, T, 1, { v: 1 })]);
  expect(archive.known().partitions.get('t/0')?.parts).toMatchObject([
    { from: 0, to: 1, skipped: 1 },
    { from: 1, to: 2, rows: 1 },
  ]);
});

test('an entry that leaves an offset unaccounted for is refused', async () => {
  const { archive, epoch } = await openPlain(['t/0']);
  const batch = createBatch(archive.known(), () => ({ kind: 'nothing' }));
  batch.add('t/0', plain(0, T, 1, {}), { kind: 'lost', end: 0 });
  const [part] = batch.seal().parts;
  const parts = [{ ...part!, to: 2 }];
  await expect(archive.append(() => ({ kind: 'BATCH', epoch, file: null, columns: [], schemas: [], parts }))).rejects.toMatchObject({
    code: 'RECORD_REFUSED',
  });
});

test('a form is given once; another archiver may only find it', async () => {
  const { archive } = await openPlain(['t/0']);
  await ensureForm(archive, { form: 'plain', key: 'json', time: 'record' });
  await expect(ensureForm(archive, { form: 'plain', key: 'text', time: 'record' })).rejects.toMatchObject({ code: 'RECORD_REFUSED' });
});

test('schemas are versions: the same is the same, another one is the next', async () => {
  const archive = openTableArchive({ store: createMemoryStore(), key: KEY, environment });
  await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
  await archive.append(() => ({ kind: 'PARTITIONS', add: ['t/0'] }));
  const epoch = await claimRole(archive, 'archive');
  const put = async (offset: number, text: string): Promise<void> => {
    const batch = createBatch(archive.known(), createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT }));
    batch.add('t/0', { ...record(text), offset }, { kind: 'lost', end: 0 });
    await archiveBatch(archive, duck, epoch, batch.seal());
  };
  await put(0, withSchema(envelope('c')));
  await put(1, json(envelope('u')));
  await put(2, withSchema(envelope('u')));
  await put(3, withSchema(envelope('u')).replaceAll('"int32"', '"int64"'));
  expect(archive.known().schemas.map((schema) => schema[0])).toEqual([
    { name: 'id', type: 'int32', semantic: null, optional: false, scale: null },
    { name: 'id', type: 'int64', semantic: null, optional: false, scale: null },
  ]);
  expect(archive.known().columns).toEqual(['id', 'first_name', 'last_name', 'email']);
});

test('wrong bytes are never a past state: flipped, swapped, cut, gone', async () => {
  const { archive, put, store } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 })]);
  await put(duck, 't/0', [plain(1, T + 1, 2, { v: 2 }), plain(2, T + 2, 2, { v: 3 })]);
  const [first = '', second = ''] = [...store.objects.keys()].filter((name) => name.startsWith('segment/'));
  const good = store.objects.get(first)!;
  const flipped = Buffer.from(good);
  flipped[good.length >>> 1] = (flipped[good.length >>> 1] ?? 0) ^ 1;
  const outcome = async (bytes: Buffer | undefined): Promise<string> => {
    if (bytes === undefined) store.objects.delete(first);
    else store.objects.set(first, bytes);
    await using fresh = await Duck.open({ memoryBytes: 256e6, threads: 1 });
    try {
      return (await buildPastState(archive, fresh, { kind: 'time', us: us(1) })).kind;
    } catch (error) {
      return isHoldfastError(error) ? error.code : String(error);
    }
  };
  expect(await outcome(good)).toBe('built');
  expect(await outcome(flipped)).toBe('DAMAGED');
  expect(await outcome(store.objects.get(second)!)).toBe('DAMAGED');
  expect(await outcome(good.subarray(0, good.length - 9))).toBe('DAMAGED');
  expect(await outcome(undefined)).toBe('OBJECT_MISSING');
});

test('nothing older than a dropped base can be had, and everything younger can', async () => {
  const { archive, put } = await openPlain(['t/0']);
  await put(duck, 't/0', [plain(0, T, 1, { v: 1 }), plain(1, T + 1, 2, { v: 1 })]);
  const epoch = await claimRole(archive, 'snapshots');
  await makeSnapshot(archive, duck, epoch, 't/0');
  await put(duck, 't/0', [plain(2, T + 5, 2, { v: 2 }), plain(3, T + 9, 3, { v: 1 })]);
  const before = await buildPastState(archive, duck, { kind: 'time', us: us(5) });
  await archive.append(() => ({ kind: 'DROP', epoch, partition: 't/0', offset: 2 }));
  expect(windowOf(archive.known())).toMatchObject({ earliestUs: us(1) });
  expect(await buildPastState(archive, duck, { kind: 'time', us: us(0) })).toMatchObject({ kind: 'outside', nearestUs: us(1) });
  const after = await buildPastState(archive, duck, { kind: 'time', us: us(5) });
  expect(before.kind === 'built' && after.kind === 'built' && after.proof.hash === before.proof.hash).toBe(true);
  expect(after).toMatchObject({ proof: { partitions: [{ base: 2 }] } });
});

test('a session reads nothing outside its folder', async () => {
  await expect(duck.rows(`SELECT * FROM read_csv('/etc/passwd')`)).rejects.toThrow();
  await expect(duck.run('SET enable_external_access = true')).rejects.toThrow();
});
