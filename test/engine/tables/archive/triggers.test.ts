/** When a partition is due for a snapshot, and which form it gets; pointers, which are records and no files. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { claimRole, openTableArchive } from '../../../../src/engine/tables/archive/archive.ts';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { pointSnapshot } from '../../../../src/engine/tables/archive/pointers.ts';
import { applyRetention, planRetention } from '../../../../src/engine/tables/archive/retention.ts';
import { dueSnapshots, type SnapshotTriggers } from '../../../../src/engine/tables/archive/triggers.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../../../../src/engine/tables/past-state/snapshot.ts';
import { environment, KEY } from '../../repository/world.ts';
import { openPlain, plain, type PlainArchive } from '../plain-archive.ts';

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

const T = 1_700_000_000_000;
const us = (ms: number): number => (T + ms) * 1000;
const NEVER: SnapshotTriggers = { bytes: null, changed: null, ageMs: null };
const ROWS = 2000;

interface Growing extends PlainArchive {
  readonly keeper: number;
  /** One batch of ROWS rows from `key` on, over so many milliseconds. */
  rows(partition: string, key: number, overMs: number): Promise<void>;
  due(triggers: Partial<SnapshotTriggers>, requested?: readonly string[]): string[];
}

async function growing(partitions: readonly string[] = ['t/0']): Promise<Growing> {
  const world = await openPlain(partitions);
  let ms = 0;
  return {
    ...world,
    keeper: await claimRole(world.archive, 'snapshots'),
    async rows(partition, key, overMs) {
      const from = world.archive.known().partitions.get(partition)?.next ?? 0;
      const records = Array.from({ length: ROWS }, (_, i) =>
        plain(from + i, T + ms + Math.floor(((i + 1) * overMs) / ROWS), key + i, { v: (i * 7919) % 1000, from }),
      );
      ms += overMs;
      await world.put(duck, partition, records);
    },
    due: (triggers, requested = []) =>
      dueSnapshots(world.archive.known(), { ...NEVER, ...triggers }, new Set(requested)).map(
        ({ partition, because, form }) => `${partition} ${because} ${form}`,
      ),
  };
}

test('nothing is due where nothing came, however long that is and whoever asks', async () => {
  const { rows, due, archive, keeper } = await growing();
  expect(due({ ageMs: 0, bytes: 0 }, ['t/0'])).toEqual([]);
  await rows('t/0', 0, 1000);
  expect(due({}, ['t/0'])).toEqual(['t/0 request copy']);
  await makeSnapshot(archive, duck, keeper, 't/0');
  expect(due({ ageMs: 0, bytes: 0 }, ['t/0'])).toEqual([]);
});

test('bytes are counted for each partition by itself, since its last snapshot', async () => {
  const { rows, due, archive, keeper } = await growing(['t/0', 't/1']);
  await rows('t/0', 0, 1000);
  const [{ bytesSince } = { bytesSince: NaN }] = dueSnapshots(archive.known(), NEVER, new Set(['t/0']));
  expect(bytesSince).toBe(archive.known().partitions.get('t/0')?.parts[0]?.file?.bytes);
  expect(due({ bytes: bytesSince })).toEqual(['t/0 bytes copy']);
  expect(due({ bytes: bytesSince + 1 })).toEqual([]);
  await makeSnapshot(archive, duck, keeper, 't/0');
  expect(due({ bytes: 1 })).toEqual([]);
  await rows('t/1', 0, 1000);
  expect(due({ bytes: 1 })).toEqual(['t/1 bytes copy']);
});

test('age is the time of the source since the last one', async () => {
  const { rows, due, archive, keeper } = await growing();
  await rows('t/0', 0, 5000);
  expect(due({ ageMs: 6000 })).toEqual([]);
  expect(due({ ageMs: 4000 })).toEqual(['t/0 age copy']);
  await makeSnapshot(archive, duck, keeper, 't/0');
  await rows('t/0', 0, 3000);
  expect(due({ ageMs: 4000 })).toEqual([]);
  await rows('t/0', 0, 1000);
  expect(due({ ageMs: 4000 })).toEqual(['t/0 age copy']);
});

test('changes are a share of what the base holds', async () => {
  const { rows, due, archive, keeper } = await growing();
  await rows('t/0', 0, 1000);
  expect(due({ changed: 0.1 })).toEqual([]);
  await makeSnapshot(archive, duck, keeper, 't/0');
  await rows('t/0', 0, 1000);
  expect(due({ changed: 1.001 })).toEqual([]);
  expect(due({ changed: 1 })).toMatchObject([expect.stringContaining('t/0 changed')]);
});

test.each([
  { overMs: 500, rows: 100_000, because: ['rate'] },
  { overMs: 5000, rows: 100_000, because: [] },
  { overMs: 40_000, rows: 100_000, because: ['rate'] },
  { overMs: 500, rows: 98_000, because: [] },
])(
  'a rate that rises or falls is a reason, as soon as enough rows have shown it: $rows in $overMs ms each',
  async ({ overMs, rows, because }) => {
    const world = await growing();
    const { archive } = world;
    for (let anchor = 0; anchor < 2; anchor++) {
      await world.rows('t/0', 0, 4000);
      await pointSnapshot(archive, world.keeper, 't/0');
    }
    await world.rows('t/0', 0, overMs);
    // So many more such rows: what they are does not matter here.
    const partition = archive.known().partitions.get('t/0')!;
    const parts = partition.parts.map((part, i) => (i === 2 ? { ...part, rows } : { ...part, rows: 50_000 }));
    const state = { ...archive.known(), partitions: new Map([['t/0', { ...partition, parts }]]) };
    expect(dueSnapshots(state, { ...NEVER, changed: 1 }).map((due) => due.because)).toEqual(because);
  },
);

test('a table that only grows is pointed at, until four times its base have come; one that changes is copied', async () => {
  const grows = await growing();
  const changes = await growing();
  for (const { rows, archive, keeper } of [grows, changes])
    // The first is a load, and says nothing.
    for (let batch = 0; batch < 2; batch++) {
      await rows('t/0', archive === grows.archive ? batch * ROWS : 0, 1000);
      await makeSnapshot(archive, duck, keeper, 't/0');
    }
  const forms: string[][] = [[], []];
  for (let batch = 2; batch < 14; batch++)
    for (const [i, world] of [grows, changes].entries()) {
      await world.rows('t/0', i === 0 ? batch * ROWS : 0, 1000);
      forms[i]?.push(...world.due({ bytes: 1 }).map((line) => line.replace('t/0 bytes ', '')));
      await pointSnapshot(world.archive, world.keeper, 't/0');
    }
  expect(forms[0]?.slice(0, 6)).toEqual(Array<string>(6).fill('pointer'));
  expect(forms[0]?.at(-1)).toBe('copy');
  expect(forms[1]?.slice(1)).toEqual(Array<string>(11).fill('copy'));
});

test('a pointer costs a record and changes no past state; the next snapshot counts from it', async () => {
  const { rows, due, archive, store, keeper } = await growing();
  await rows('t/0', 0, 1000);
  await makeSnapshot(archive, duck, keeper, 't/0');
  await rows('t/0', ROWS, 1000);
  const objects = [...store.objects.keys()].filter((name) => !name.startsWith('log/'));
  const before = await buildPastState(archive, duck, { kind: 'time', us: us(1500) });
  expect(await pointSnapshot(archive, keeper, 't/0')).toMatchObject({ offset: 2 * ROWS, base: ROWS, stampUs: us(2000) });
  expect([...store.objects.keys()].filter((name) => !name.startsWith('log/'))).toEqual(objects);
  expect(await pointSnapshot(archive, keeper, 't/0')).toBeNull();
  expect(due({ bytes: 0, ageMs: 0 }, ['t/0'])).toEqual([]);
  expect(await buildPastState(archive, duck, { kind: 'time', us: us(1500) })).toEqual(before);
  // A copy of the same offset may still be made.
  expect(await makeSnapshot(archive, duck, keeper, 't/0')).toMatchObject({ offset: 2 * ROWS, rows: 2 * ROWS });
});

test('a pointer that rests on nothing that is there is refused; dropping what it rests on takes it along', async () => {
  const { rows, archive, store, keeper } = await growing();
  for (const overMs of [1000, 1000, 1000]) {
    await rows('t/0', 0, overMs);
    await makeSnapshot(archive, duck, keeper, 't/0');
    await rows('t/0', 0, overMs);
    await pointSnapshot(archive, keeper, 't/0');
  }
  const partition = () => archive.known().partitions.get('t/0');
  expect(partition()?.pointers.map(({ offset, base }) => [offset / ROWS, base / ROWS])).toEqual([[2, 1], [4, 3], [6, 5]]); // prettier-ignore
  const reopened = openTableArchive({ store, key: KEY, environment });
  await reopened.sync();
  expect(reopened.known()).toEqual(archive.known());
  await applyRetention(archive, keeper, planRetention(archive.known(), us(3500), 0));
  expect(partition()?.pointers.map(({ offset }) => offset / ROWS)).toEqual([4, 6]);
  await rows('t/0', 0, 1000);
  const entry = {
    kind: 'POINTER' as const,
    epoch: keeper,
    partition: 't/0',
    offset: 7 * ROWS,
    high: partition()?.high ?? '',
    stampUs: null,
  };
  for (const base of [0, ROWS, 2 * ROWS])
    await expect(archive.append(() => ({ ...entry, base }))).rejects.toMatchObject({ code: 'RECORD_REFUSED' });
  await expect(archive.append(() => ({ ...entry, base: 3 * ROWS, offset: 7 * ROWS - 1 }))).rejects.toMatchObject({
    code: 'RECORD_REFUSED',
  });
  await expect(archive.append(() => ({ ...entry, base: 3 * ROWS, epoch: keeper - 1 }))).rejects.toMatchObject({ code: 'CLAIM_LOST' });
  expect(await archive.append(() => ({ ...entry, base: 3 * ROWS }))).not.toBeNull();
});
