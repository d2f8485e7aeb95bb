/** The table of orders in an installation, archived as it came, for tests of what restores it. */
import { storeName } from '../../../src/domain/ids.ts';
import { tableDefinition } from '../../../src/engine/catalog/tables.ts';
import { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { claimTable } from '../../../src/systems/tables/opening.ts';
import { PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import { order, ordersIn, type Orders } from '../../engine/tables/orders-table.ts';
import type { Installation } from '../installation.ts';

/** Ids and amounts of the rows before the bad batch, transaction 13, which halves the prices of the first ten and deletes the eleventh. */
export const ROWS = 5000;
export const amountOf = (id: number): string => `${id % 97}.${String(id % 100).padStart(2, '0')}`;
/** The batch came at START + BAD_US; all is archived up to START + LATEST_US. */
export const BAD_US = 5_000_000;
export const LATEST_US = 9_000_000;

export async function archiveOrders(installation: Installation, name = 'orders'): Promise<Orders> {
  const table = tableDefinition.parse({
    ...{ name, store: storeName('a'), form: { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT }, retainMs: null },
    source: { brokers: ['127.0.0.1:1'], tls: null, sasl: null, topics: [name], transactions: null, heartbeats: [] },
    snapshots: { bytes: null, changed: null, ageMs: null },
  });
  await installation.home.catalog.append(() => ({ kind: 'TABLE_ADD', table }));
  await using duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
  const { archive } = await claimTable(installation.home, name, 'archive');
  const orders = await ordersIn(archive, duck, 2);
  const ids = Array.from({ length: ROWS }, (_, id) => id);
  for (const partition of [0, 1])
    await orders.commit(
      partition,
      1_000_000,
      11,
      ...ids.filter((id) => id % 2 === partition).map((id) => order(id, amountOf(id), `n ${id}`)),
    );
  await orders.snapshot(0);
  const bad = ids.slice(0, 10).map((id) => order(id, '0.50', `n ${id}`));
  await orders.commit(0, BAD_US, 13, ...bad.filter((_, id) => id % 2 === 0), ['delete', 10n]);
  await orders.commit(1, BAD_US, 13, ...bad.filter((_, id) => id % 2 === 1));
  await orders.commit(0, 8_000_000, 14, order(ROWS, '1.00', 'newer'));
  await orders.through(LATEST_US);
  return orders;
}
