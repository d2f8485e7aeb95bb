/**
 * A table of orders in an archive in memory, as Debezium sends it from PostgreSQL with schemas: transactions of a number and a time, for tests
 * that say change by change what happened.
 */
import { addPartitions, claimRole, ensureForm, openTableArchive, type TableArchive } from '../../../src/engine/tables/archive/archive.ts';
import { createBatch } from '../../../src/engine/tables/archive/batch.ts';
import type { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { archiveBatch } from '../../../src/engine/tables/archive/writer.ts';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import { makeSnapshot } from '../../../src/engine/tables/past-state/snapshot.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { environment, KEY } from '../repository/world.ts';
import { envelope, json, postgresSource } from './events/samples.ts';
import { unscaled } from './outputs/values.ts';

export const ORDERS_START_US = 1_700_000_000_000_000;

/** Euros as `12.50`; a row as the database has it. */
export interface Order {
  readonly id: bigint;
  readonly amount: string | null;
  readonly note: string | null;
  readonly placedUs: number | null;
}

export type Change = readonly ['put', Order] | readonly ['delete', bigint] | readonly ['truncate'];

const FIELDS = [
  { field: 'id', type: 'int64', optional: false },
  {
    field: 'amount',
    type: 'bytes',
    optional: true,
    name: 'org.apache.kafka.connect.data.Decimal',
    version: 1,
    parameters: { scale: '2', 'connect.decimal.precision': '12' },
  },
  { field: 'note', type: 'string', optional: true },
  { field: 'placed', type: 'int64', optional: true, name: 'io.debezium.time.MicroTimestamp', version: 1 },
];
const SCHEMA = {
  type: 'struct',
  name: 'shop.public.orders.Envelope',
  optional: false,
  fields: [{ type: 'struct', optional: true, field: 'after', fields: FIELDS }],
};

/** In the types of the connector. */
const encoded = ({ id, amount, note, placedUs }: Order) => ({
  id,
  amount: amount === null ? null : unscaled(BigInt(amount.replace('.', ''))).toString('base64'),
  note,
  placed: placedUs,
});

export interface Orders {
  readonly archive: TableArchive;
  readonly store: ObjectStore;
  /** One transaction of number `txId`, committed at START + `time`, into a partition, as one batch. */
  commit(partition: number, time: number, txId: number, ...changes: readonly Change[]): Promise<void>;
  /** Everything up to START + `time` is there. */
  through(time: number): Promise<void>;
  snapshot(partition: number): Promise<void>;
}

export function openOrders(duck: Duck, partitions: number, store: MemoryStore | ObjectStore = createMemoryStore()): Promise<Orders> {
  return ordersIn(openTableArchive({ store, key: KEY, environment }), duck, partitions);
}

/** The same in an archive that was opened elsewhere. */
export async function ordersIn(archive: TableArchive, duck: Duck, partitions: number): Promise<Orders> {
  const decode = createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT });
  await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
  const id = (partition: number): string => `shop.public.orders/${partition}`;
  await addPartitions(
    archive,
    Array.from({ length: partitions }, (_, i) => id(i)),
  );
  const epoch = await claimRole(archive, 'archive');
  const snapshots = await claimRole(archive, 'snapshots');
  let lsn = 1000;
  return {
    archive,
    store: archive.store,
    async commit(partition, time, txId, ...changes) {
      const batch = createBatch(archive.known(), decode);
      const next = archive.known().partitions.get(id(partition))?.next ?? 0;
      const last = lsn;
      changes.forEach((change, i) => {
        const [kind, what] = change;
        const key = kind === 'put' ? what.id : kind === 'delete' ? what : null;
        const source = { ...postgresSource, ts_us: ORDERS_START_US + time, sequence: `["${last}","${++lsn}"]`, lsn, txId };
        const payload = envelope(
          kind === 'put' ? 'c' : kind === 'delete' ? 'd' : 't',
          { after: kind === 'put' ? encoded(what) : null },
          source,
        );
        const record = {
          ...{ offset: next + i, timeMs: ORDERS_START_US / 1000 },
          key: key === null ? null : Buffer.from(`{"id":${key}}`),
          value: Buffer.from(json({ schema: SCHEMA, payload })),
        };
        batch.add(id(partition), record, { kind: 'lost', end: 0 });
      });
      lsn += 10;
      await archiveBatch(archive, duck, epoch, batch.seal());
    },
    async through(time) {
      const parts = [...archive.known().partitions.values()].map((one) => ({
        partition: one.id,
        next: one.next,
        throughUs: ORDERS_START_US + time,
      }));
      await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts }));
    },
    snapshot: async (partition) => void (await makeSnapshot(archive, duck, snapshots, id(partition))),
  };
}

export const order = (
  id: number | bigint,
  amount: string | null = null,
  note: string | null = null,
  placedUs: number | null = null,
): Change => ['put', { id: BigInt(id), amount, note, placedUs }];
