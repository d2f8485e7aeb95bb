/** The data of every type of event as JSON Schema (2020-12), from the schemas that the data is made by. docs/events.schema.json is this. */
import { z } from 'zod';
import { CATALOG_EVENTS } from './catalog-events.ts';
import { eventType, type EventFamily } from './event-kinds.ts';
import { JOURNAL_EVENTS } from './journal-events.ts';
import { REPOSITORY_EVENTS } from './repository-events.ts';
import { TABLE_EVENTS } from './table-events.ts';

const FAMILIES: Readonly<Record<EventFamily, Readonly<Record<string, z.ZodType>>>> = {
  catalog: CATALOG_EVENTS,
  journal: JOURNAL_EVENTS,
  repository: REPOSITORY_EVENTS,
  table: TABLE_EVENTS,
};

/** By type. */
export const eventDataSchemas = (): ReadonlyMap<string, z.ZodType> =>
  new Map(
    Object.entries(FAMILIES).flatMap(([family, kinds]) =>
      Object.entries(kinds).map(([kind, schema]) => [eventType(family as EventFamily, kind), schema] as const),
    ),
  );

export function eventSchemaDocument(): object {
  const types = [...eventDataSchemas()].map(([type, schema]) => {
    const { $schema: _, ...body } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    return [type, body] as const;
  });
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Data of the events of Holdfast, by their type',
    $defs: Object.fromEntries(types),
  };
}
