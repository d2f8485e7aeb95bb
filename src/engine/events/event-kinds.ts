/**
 * From a record of a log to events: what all kinds of logs share.
 *
 * Which data an entry's event has is a schema of what is let out: parsing by it leaves out everything else. The table of a log has every kind
 * of entry, so that a new one does not compile before somebody has said what of it is public. The same schemas are published as JSON Schema.
 */
import { z } from 'zod';
import type { StoredRecord } from '../log/log.ts';
import type { CloudEvent } from './cloud-event.ts';

/** The kinds of entries of one log, each with what is let out of it. */
export type EventData<Kind extends string> = Readonly<Record<Kind, z.ZodType<object>>>;

/** All members of an entry but its kind. */
export const whole = (shape: Readonly<Record<string, z.ZodType>>): z.ZodType<object> =>
  z.object(Object.fromEntries(Object.entries(shape).filter(([name]) => name !== 'kind')));

/** Where events of a log come from. */
export interface EventOrigin {
  /** Of the log, as its store's header has it. */
  readonly logId: string;
  readonly source: string;
  /** Second part of the types. */
  readonly family: EventFamily;
}
export type EventFamily = 'catalog' | 'journal' | 'repository' | 'table';

/** What is known of a log at one of its records: folded record by record, for an entry may name less than its event is keyed by. */
export interface EventMapper<Entry> {
  /** The events of the next record. To be called with every record from the first on, or from where `begin` has said. */
  next(record: StoredRecord<Entry>): readonly CloudEvent[];
}

export const eventType = (family: EventFamily, kind: string): string => `holdfast.${family}.${kind.toLowerCase().replaceAll('_', '-')}`;

export function createEventMapper<Entry extends { readonly kind: string }>(
  { logId, source, family }: EventOrigin,
  schemas: Readonly<Record<string, z.ZodType<object>>>,
  keyOf: (entry: Entry) => string,
): EventMapper<Entry> {
  return {
    next: ({ seq, timeMs, entries }) =>
      entries.map((entry, index) => {
        const key = keyOf(entry);
        return {
          ...{ specversion: '1.0' as const, id: `${logId}.${seq}.${index}`, source, type: eventType(family, entry.kind), subject: key },
          ...{ time: new Date(timeMs).toISOString(), partitionkey: key },
          ...{
            sequence: `${String(seq).padStart(20, '0')}.${String(index).padStart(2, '0')}`,
            datacontenttype: 'application/json' as const,
          },
          data: schemas[entry.kind]?.parse(entry) ?? {},
        };
      }),
  };
}
