/** Whether an archive can be relied on: one past state by two ways, and every pack that the log names. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { checkPacks } from '../../../../src/engine/tables/verification/packs.ts';
import { foldTwice } from '../../../../src/engine/tables/verification/verify.ts';
import { createMemoryStore } from '../../memory-store.ts';
import { openOrders, order, ORDERS_START_US } from '../orders-table.ts';

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
});
afterAll(() => duck[Symbol.asyncDispose]());

const at = (time: number) => ({ kind: 'time', us: ORDERS_START_US + time }) as const;

async function archived() {
  const store = createMemoryStore();
  const orders = await openOrders(duck, 2, store);
  for (let i = 1; i <= 6; i++) {
    await orders.commit(
      i % 2,
      i,
      10 + i,
      order(i),
      order(100 + (i % 3), `${i}.00`),
      ...(i > 2 ? [['delete', BigInt(i - 2)] as const] : []),
    );
    if (i === 3 || i === 4) await orders.snapshot(i % 2);
  }
  await orders.through(9);
  return { ...orders, store };
}

test('the same time from another base has the same hash, and the report says that it was another', async () => {
  const { archive } = await archived();
  const found = await foldTwice(archive, duck, at(8));
  expect(found).toMatchObject({ kind: 'folded', same: true, independent: true });
  if (found.kind !== 'folded') throw new Error();
  expect([found.proof, found.other].map(({ partitions }) => partitions.map(({ base }) => base !== null))).toEqual([
    [true, true],
    [false, false],
  ]);
  // Before any base there is one way only.
  expect(await foldTwice(archive, duck, at(2))).toMatchObject({ same: true, independent: false });
  expect(await foldTwice(archive, duck, at(20))).toMatchObject({ kind: 'outside' });
});

test('a base that is not what the events make is found', async () => {
  const { archive, store } = await archived();
  const wrong = await openOrders(duck, 1);
  await wrong.commit(0, 1, 11, order(77));
  await wrong.snapshot(0);
  const file = [...wrong.archive.known().partitions.values()][0]?.snapshots[0]?.file;
  for (const { name } of file?.packs ?? []) store.objects.set(name, (await wrong.store.get(name)) ?? Buffer.alloc(0));
  // As an archiver with a fault would have noted it.
  const [first, ...rest] = [...archive.known().partitions.values()];
  const faulty = first && { ...first, snapshots: first.snapshots.map((base) => ({ ...base, file: file ?? null })) };
  const partitions = new Map([faulty, ...rest].flatMap((one) => (one === undefined ? [] : [[one.id, one]])));
  const lying = { ...archive, known: () => ({ ...archive.known(), partitions }) };
  expect(await foldTwice(lying, duck, at(8))).toMatchObject({ kind: 'folded', same: false, independent: true });
});

test('packs: what is gone, cut or changed is named with the partitions that need it', async () => {
  const { archive, store } = await archived();
  await using fresh = await Duck.open({ memoryBytes: 256e6, threads: 1 });
  for (const depth of ['structure', 'all'] as const)
    expect(await checkPacks(archive, fresh, { depth })).toMatchObject({ files: 8, packs: 8, damagedFiles: 0 });
  const [gone = '', cut = '', changed = ''] = [...store.objects.keys()].filter((name) => name.startsWith('segment/'));
  store.objects.delete(gone);
  store.objects.set(cut, store.objects.get(cut)!.subarray(1));
  const flipped = Buffer.from(store.objects.get(changed)!);
  flipped[40] = (flipped[40] ?? 0) ^ 1;
  store.objects.set(changed, flipped);
  const structure = await checkPacks(archive, fresh, { depth: 'structure' });
  expect(structure.damaged.map(({ object }) => object).sort()).toEqual([gone, cut].sort());
  // Transactions took turns: the first is the second partition's.
  expect(structure.damaged.find(({ object }) => object === gone)?.partitions).toEqual(['shop.public.orders/1']);
  const all = await checkPacks(archive, fresh, { depth: 'all' });
  expect(all.damaged.map(({ object }) => object).sort()).toEqual([gone, cut, changed].sort());
});
