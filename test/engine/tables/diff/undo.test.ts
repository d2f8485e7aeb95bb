/** The statements that undo a bad batch, run by a real PostgreSQL on the table as it is: the table is as it was, and what came meanwhile stays. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { sqlDifferences } from '../../../../src/engine/tables/diff/difference-lines.ts';
import { findDifferences } from '../../../../src/engine/tables/diff/differences.ts';
import { writeOutput } from '../../../../src/engine/tables/outputs/output.ts';
import { typeRows } from '../../../../src/engine/tables/outputs/typed-rows.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { startPostgres, type RunningPostgres } from '../../../../src/faces/stack/postgres.ts';
import { describeWith, finder } from '../../../faces/stack/describe-with.ts';
import { openOrders, order, ORDERS_START_US } from '../orders-table.ts';

const describePostgres = await describeWith('postgres');
describePostgres('undoing', () => {
  let duck: Duck;
  let server: RunningPostgres;
  let client: pg.Client;
  beforeAll(async () => {
    duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
    server = await startPostgres({}, finder);
    const { host, port, user, password, database } = server;
    client = new pg.Client({ host, port, user, password, database });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await server.stop();
    await duck[Symbol.asyncDispose]();
  });

  test('rows come back, change back and go; a row that somebody has changed meanwhile is left alone', async () => {
    const orders = await openOrders(duck, 2);
    const ids = Array.from({ length: 40 }, (_, id) => id);
    for (const partition of [0, 1])
      await orders.commit(
        partition,
        1,
        11,
        ...ids.filter((id) => id % 2 === partition).map((id) => order(id, `${id}.10`, `it's ${id}`, id)),
      );
    await orders.commit(0, 5, 13, order(0, '0.00', null, null), order(2, null, "it's 2", 2), ['delete', 4n], order(100, '1.00', 'new'));
    await orders.commit(1, 5, 13, order(1, '9.99', 'x\\y', 7), ['delete', 3n]);
    await orders.through(9);
    const at = (time: number) => ({ kind: 'time', us: ORDERS_START_US + time }) as const;
    const live = await buildPastState(orders.archive, duck, at(9));
    if (live.kind !== 'built') throw new Error(live.kind);
    const rows = await typeRows(duck, orders.archive.known(), live.columns, 'past');
    const { host, port, user, database, password } = server;
    const output = { kind: 'postgres', table: 'orders', server: { host, port, user, database, password: 'env:P', tls: null } } as const;
    await writeOutput(duck, rows, output, { owner: 'x', variables: { P: password } }, {});
    const found = await findDifferences(orders.archive, duck, { wanted: at(4), live: at(9), transaction: '13' });
    if (found.kind !== 'found') throw new Error(found.kind);
    expect(found.counts).toEqual({ insert: 2, update: 3, delete: 1, changedSince: 0 });
    const lines: string[] = [];
    for await (const line of sqlDifferences(duck, found, { schema: null, name: 'orders' }, {})) lines.push(line);
    // Meanwhile.
    await client.query('UPDATE orders SET amount = 5 WHERE id = 1');
    await client.query(lines.join('\n'));
    const { rows: now } = await client.query<{ line: string }>(
      `SELECT concat_ws('|', id, amount, note, extract(epoch FROM placed) * 1000000) AS line FROM orders ORDER BY id`,
    );
    const expected = ids.map((id) => (id === 1 ? '1|5|x\\y|7.000000' : `${id}|${id}.10|it's ${id}|${id}.000000`));
    expect(now.map(({ line }) => line)).toEqual(expected);
  });
});
