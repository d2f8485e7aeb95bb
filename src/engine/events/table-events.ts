/** The events of a table archive's log, all keyed by the table. */
import { tableEntrySchema, type TableEntry } from '../tables/archive/entries.ts';
import { createEventMapper, whole, type EventData, type EventMapper } from './event-kinds.ts';

const schemas = Object.fromEntries(tableEntrySchema.options.map(({ shape }) => [shape.kind.value, whole(shape)]));
/** Offsets, positions, counts and names of columns; no value of a row. */
export const TABLE_EVENTS = schemas as EventData<TableEntry['kind']>;

export interface TableOrigin {
  readonly logId: string;
  readonly store: string;
  readonly table: string;
}

const tableSource = ({ store, table }: Pick<TableOrigin, 'store' | 'table'>): string => `/holdfast/stores/${store}/tables/${table}`;

export const mapTable = (origin: TableOrigin): EventMapper<TableEntry> =>
  createEventMapper({ logId: origin.logId, source: tableSource(origin), family: 'table' }, TABLE_EVENTS, () => origin.table);
