/** What the topics say of the source's transactions: the end of each in the log, and where it stands in each table. */
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import type { TableRecord } from '../../../src/engine/tables/events/event.ts';
import { positionOf, type Position } from '../../../src/engine/tables/events/position.ts';
import { createTransactionDecoder } from '../../../src/engine/tables/events/transactions.ts';

/** Transaction -> end of its commit in the log. */
export function endsOf(records: readonly TableRecord[]): ReadonlyMap<bigint, bigint> {
  const decode = createTransactionDecoder();
  const ends = new Map<bigint, bigint>();
  for (const record of records) {
    const said = decode(record);
    if (said.kind !== 'mark' || said.lsn === null) throw new Error(`not a transaction's mark: ${JSON.stringify(said)}`);
    if (said.status === 'END') ends.set(BigInt(said.transaction), said.lsn);
  }
  return ends;
}

export interface TableTransaction {
  readonly stampUs: number;
  /** Place of its first event. */
  readonly first: Position;
  /** Whether it did more than truncate, which has no row to name it. */
  readonly hasRows: boolean;
}

/** The transactions that changed a table, by their numbers. */
export function transactionsIn(partitions: readonly (readonly TableRecord[])[]): ReadonlyMap<bigint, TableTransaction> {
  const decode = createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT });
  const found = new Map<bigint, TableTransaction>();
  for (const record of partitions.flat()) {
    const event = decode(record);
    if (event.kind !== 'change' || event.place.kind !== 'source' || event.transaction === null || event.stampUs === null) continue;
    const position = positionOf(event.place.major, event.place.minor);
    if (position === null) throw new Error('a place that is none');
    const id = BigInt(event.transaction);
    const known = found.get(id);
    found.set(id, {
      stampUs: event.stampUs,
      first: known !== undefined && known.first < position ? known.first : position,
      hasRows: (known?.hasRows ?? false) || event.op !== 'truncate',
    });
  }
  return found;
}
