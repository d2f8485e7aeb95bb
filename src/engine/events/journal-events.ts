/** The events of a journal's log, all keyed by the journal: its epochs, who holds them, bases, floor and pins. No byte that was written is in it. */
import { journalEntrySchema, type JournalEntry } from '../journal/entries.ts';
import { createEventMapper, whole, type EventData, type EventMapper } from './event-kinds.ts';

const schemas = Object.fromEntries(journalEntrySchema.options.map(({ shape }) => [shape.kind.value, whole(shape)]));
export const JOURNAL_EVENTS = schemas as EventData<JournalEntry['kind']>;

export interface JournalOrigin {
  readonly logId: string;
  /** Of its log. */
  readonly store: string;
  readonly journal: string;
}

const journalSource = ({ store, journal }: Pick<JournalOrigin, 'store' | 'journal'>): string =>
  `/holdfast/stores/${store}/journals/${journal}`;

export const mapJournal = (origin: JournalOrigin): EventMapper<JournalEntry> =>
  createEventMapper({ logId: origin.logId, source: journalSource(origin), family: 'journal' }, JOURNAL_EVENTS, () => origin.journal);
