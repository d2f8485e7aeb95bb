/**
 * Debezium's transaction topic: BEGIN and END of each transaction, and how many events it had in which table.
 *
 * Their ids differ (571:53195829 and 571:53195832 in Debezium's own documentation); what joins them, and the events, is the
 * part before the colon. With PostgreSQL the part behind it is a place of its log: in BEGIN that of the first event, in END the end of the commit,
 * which is what the next transaction's events name as the last committed. Counts may be written as strings.
 */
import { createUnwrap } from './envelope.ts';
import { quarantined, type Quarantined, type TableRecord } from './event.ts';
import { transactionName } from './debezium.ts';
import { membersOf, parsed, unquoted } from './json-text.ts';
import { safeInteger, wholeNumber } from './stamp.ts';

export interface TransactionMark {
  readonly kind: 'mark';
  readonly status: 'BEGIN' | 'END';
  readonly transaction: string;
  readonly stampUs: number;
  /** Behind the colon of a numbered transaction; null where there is none. */
  readonly lsn: bigint | null;
  /** Of an END: events in all, and for each table, as `<schema>.<table>`. */
  readonly events: number | null;
  readonly tables: ReadonlyMap<string, number>;
}

export function createTransactionDecoder(): (record: TableRecord) => TransactionMark | Quarantined {
  const unwrap = createUnwrap();
  return (record) => {
    if (record.value === null) return quarantined('ROW_MISSING');
    const value = unwrap(record.value);
    if (!value.ok) return quarantined(value.reason);
    const members = membersOf(value.payload);
    if (members === null) return quarantined('NOT_AN_OBJECT');
    const status = unquoted(members.get('status') ?? '');
    const id = unquoted(members.get('id') ?? '');
    const ms = safeInteger(members.get('ts_ms'));
    if (status !== 'BEGIN' && status !== 'END') return quarantined('OP_UNKNOWN');
    if (id === null || id === '') return quarantined('KEY_MISSING');
    if (ms === null) return quarantined('STAMP_INVALID');
    return {
      kind: 'mark',
      status,
      transaction: transactionName(id),
      stampUs: ms * 1000,
      lsn: wholeNumber(/^[0-9]+:([0-9]{1,20})$/.exec(id)?.[1]),
      events: safeInteger(members.get('event_count')),
      tables: countsOf(parsed(members.get('data_collections') ?? 'null')),
    };
  };
}

function countsOf(value: unknown): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of Array.isArray(value) ? (value as unknown[]) : []) {
    if (typeof item !== 'object' || item === null || !('data_collection' in item) || !('event_count' in item)) continue;
    const count = Number(item.event_count);
    if (typeof item.data_collection === 'string' && Number.isSafeInteger(count)) counts.set(item.data_collection, count);
  }
  return counts;
}
