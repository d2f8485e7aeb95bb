/** What would change if a past state were applied now: what it finds, how it is narrowed, and that nothing else is in it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { jsonDifferences, sqlDifferences } from '../../../../src/engine/tables/diff/difference-lines.ts';
import { findDifferences, type DifferenceFilter } from '../../../../src/engine/tables/diff/differences.ts';
import { openOrders, order, ORDERS_START_US, type Orders } from '../orders-table.ts';

let duck: Duck;
let orders: Orders;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
  orders = await openOrders(duck, 2);
  await orders.commit(0, 1, 11, order(1, '10.00', 'one', 5), order(2, '20.00', "two 'quoted'"), order(9, null, 'goes'));
  await orders.commit(1, 2, 12, order(3, '30.00', 'three'), order(4, '40.00', 'four'));
  // The bad batch: half of all prices, one row gone, one that should not be.
  await orders.commit(0, 5, 13, order(1, '5.00', 'one', 5), order(2, '10.00', "two 'quoted'"), ['delete', 9n], order(7, '7.00'));
  await orders.commit(1, 5, 13, order(3, '15.00', 'three'));
  // Somebody works on.
  await orders.commit(0, 8, 14, order(2, '10.00', 'changed since'));
  await orders.commit(1, 8, 15, order(4, '44.00', 'four'));
  await orders.through(9);
});
afterAll(() => duck[Symbol.asyncDispose]());

const at = (time: number) => ({ kind: 'time', us: ORDERS_START_US + time }) as const;

async function find(filter: DifferenceFilter = {}, wanted: Parameters<typeof findDifferences>[2]['wanted'] = at(4)) {
  const found = await findDifferences(orders.archive, duck, { wanted, live: at(9), ...filter });
  if (found.kind !== 'found') throw new Error(found.kind);
  const lines: unknown[] = [];
  for await (const line of jsonDifferences(duck, found, {})) lines.push(JSON.parse(line));
  const sql: string[] = [];
  for await (const line of sqlDifferences(duck, found, { schema: 'public', name: 'orders' }, {})) sql.push(line);
  return { found, lines, sql };
}

test('all that differs: rows to put back, to change, to take away', async () => {
  const { found, lines } = await find();
  expect(found.counts).toEqual({ insert: 1, update: 4, delete: 1, changedSince: 0 });
  expect(lines).toEqual([
    { op: 'update', key: { id: 1 }, from: { amount: 'AfQ=' }, to: { amount: 'A+g=' } },
    { op: 'update', key: { id: 2 }, from: { amount: 'A+g=', note: 'changed since' }, to: { amount: 'B9A=', note: "two 'quoted'" } },
    { op: 'update', key: { id: 3 }, from: { amount: 'Bdw=' }, to: { amount: 'C7g=' } },
    { op: 'update', key: { id: 4 }, from: { amount: 'ETA=' }, to: { amount: 'D6A=' } },
    { op: 'delete', key: { id: 7 }, from: { id: 7, amount: 'Arw=', note: null, placed: null } },
    { op: 'insert', key: { id: 9 }, to: { id: 9, amount: null, note: 'goes', placed: null } },
  ]);
});

test('as SQL: one transaction, each statement only while the row is as it was seen', async () => {
  const { sql } = await find();
  expect(sql).toEqual([
    '-- 1 rows to delete, 4 to change, 1 to insert',
    'BEGIN;',
    `DELETE FROM "public"."orders" WHERE "id" = '7' AND "amount" = '7.00' AND "note" IS NULL AND "placed" IS NULL;`,
    `UPDATE "public"."orders" SET "amount" = '10.00' WHERE "id" = '1' AND "amount" = '5.00';`,
    `UPDATE "public"."orders" SET "amount" = '20.00', "note" = 'two ''quoted''' WHERE "id" = '2' AND "amount" = '10.00' AND "note" = 'changed since';`,
    `UPDATE "public"."orders" SET "amount" = '30.00' WHERE "id" = '3' AND "amount" = '15.00';`,
    `UPDATE "public"."orders" SET "amount" = '40.00' WHERE "id" = '4' AND "amount" = '44.00';`,
    `INSERT INTO "public"."orders" ("id", "amount", "note", "placed") VALUES ('9', NULL, 'goes', NULL);`,
    'COMMIT;',
  ]);
});

const idsOf = (lines: readonly unknown[]): number[] => lines.map((line) => (line as { readonly key: { readonly id: number } }).key.id);

test('one transaction: what it touched and nothing else, and what was changed again since is marked', async () => {
  const { found, lines, sql } = await find({ transaction: '13' }, { kind: 'transaction', id: '13', edge: 'before' });
  expect(idsOf(lines)).toEqual([1, 2, 3, 7, 9]);
  expect(found.counts.changedSince).toBe(1);
  expect(lines.filter((line) => (line as { readonly changedSince?: boolean }).changedSince === true)).toMatchObject([{ key: { id: 2 } }]);
  expect(sql[1]).toBe('-- 1 of them were changed again since; look at those first');
});

test('a transaction that emptied the table has touched every key', async () => {
  const emptied = await openOrders(duck, 1);
  await emptied.commit(0, 1, 21, order(1), order(2));
  await emptied.commit(0, 2, 22, ['truncate'], order(3));
  await emptied.commit(0, 3, 23, order(4));
  await emptied.through(9);
  const found = await findDifferences(emptied.archive, duck, {
    ...{ wanted: { kind: 'transaction', id: '22', edge: 'before' }, live: at(9), transaction: '22' },
  });
  expect(found).toMatchObject({ counts: { insert: 2, delete: 2, update: 0 } });
});

test('by key, and by predicate over either side, with types', async () => {
  expect(idsOf((await find({ keys: ['{"id":3}', '{"id":7}', '{"id":99}'] })).lines)).toEqual([3, 7]);
  expect(idsOf((await find({ where: 'amount >= 40' })).lines)).toEqual([4]);
  expect(idsOf((await find({ where: "note = 'one' OR id = 9" })).lines)).toEqual([1, 9]);
  expect((await find({ where: 'false' })).lines).toEqual([]);
});

const NO_PREDICATES = [
  'id = ',
  'nobody = 1',
  'true; DROP TABLE wanted',
  "id IN (SELECT 1 FROM read_text('/etc/passwd'))",
  'id = 1) FROM sides; --',
];
test.each(NO_PREDICATES)('a predicate that is none is refused: %s', async (where) => {
  await expect(find({ where })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
});

test('the same state twice has no differences; a transaction that is not there is said', async () => {
  const same = await findDifferences(orders.archive, duck, { wanted: at(9), live: at(9) });
  expect(same).toMatchObject({ counts: { insert: 0, update: 0, delete: 0 } });
  expect(await findDifferences(orders.archive, duck, { wanted: at(4), live: at(9), transaction: '99' })).toMatchObject({ kind: 'unknown' });
  expect(await findDifferences(orders.archive, duck, { wanted: at(4), live: at(99) })).toMatchObject({ kind: 'outside' });
});
