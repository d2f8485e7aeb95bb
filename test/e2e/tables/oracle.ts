/**
 * The oracle is the database: a snapshot that it exports at a known place of its log, and the rows that a transaction with that snapshot reads.
 *
 * Making a logical replication slot does it: PostgreSQL exports a snapshot in which exactly those transactions are visible whose commit stands
 * below the slot's consistent point. Any other snapshot is of a moment in memory, which need not be one of the log.
 */
import pg from 'pg';
import type { PostgresAddress } from '../../../src/faces/stack/postgres.ts';
import { readTable, TABLES, type Row, type TableName } from './shop.ts';
import type { Turn } from './writers.ts';

export interface Oracle {
  /** The consistent point. */
  readonly lsn: bigint;
  /** Whether what this transaction did can be seen, if it was committed at all. */
  readonly sees: (transaction: bigint) => boolean;
  readonly tables: Readonly<Record<TableName, ReadonlyMap<string, Row>>>;
}

/** `1A/2B3C` as a number. */
export function lsnOf(text: string): bigint {
  const [upper = '0', lower = '0'] = text.split('/');
  return (BigInt(`0x${upper}`) << 32n) | BigInt(`0x${lower}`);
}

/** `xmin:xmax:xip,xip` as PostgreSQL writes a snapshot. */
export function visibility(snapshot: string): (transaction: bigint) => boolean {
  const [xmin = '0', xmax = '0', running = ''] = snapshot.split(':');
  const inProgress = new Set(running.split(',').filter((id) => id !== ''));
  return (transaction) => transaction < BigInt(xmin) || (transaction < BigInt(xmax) && !inProgress.has(String(transaction)));
}

/** A client that may speak the replication protocol; the types of `pg` do not know the setting, which it passes on. */
const replicationClient = (address: PostgresAddress): pg.Client => new pg.Client({ ...address, ...{ replication: 'database' } });

let oracles = 0;

export const askOracle = (address: PostgresAddress, turn: Turn): Promise<Oracle> =>
  turn.take(async () => {
    const [holder, reader] = [replicationClient(address), new pg.Client(address)];
    await Promise.all([holder.connect(), reader.connect()]);
    try {
      const { rows: slots } = await holder.query<{ consistent_point: string; snapshot_name: string }>(
        `CREATE_REPLICATION_SLOT oracle_${++oracles} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT`,
      );
      const [slot] = slots;
      if (slot === undefined) throw new Error('a slot that was made says nothing of itself');
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await reader.query(`SET TRANSACTION SNAPSHOT '${slot.snapshot_name}'`);
      const { rows: seen } = await reader.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot');
      const tables: Partial<Record<TableName, ReadonlyMap<string, Row>>> = {};
      for (const table of TABLES) tables[table] = await readTable(reader, table);
      await reader.query('COMMIT');
      return { lsn: lsnOf(slot.consistent_point), sees: visibility(seen[0]?.snapshot ?? ''), tables: tables as Oracle['tables'] };
    } finally {
      await Promise.all([holder.end(), reader.end()]);
    }
  });
