/**
 * Kafka Connect's JSON, with a schema (`{schema, payload}`) or bare, told apart record by record: converters get changed.
 *
 * A schema is as long as its event is short, and the same for thousands of events: it is looked up by its text and parsed
 * once. The payload is validated as a whole, so that whoever takes it apart may rely on its being JSON.
 */
import { SCHEMAS_CACHED } from '../../../domain/limits.ts';
import { textOf, type QuarantineReason, type TableSchema } from './event.ts';
import { membersOf, parsed } from './json-text.ts';

export type Unwrapped =
  | { readonly ok: true; readonly payload: string; readonly schema: TableSchema | null }
  | { readonly ok: false; readonly reason: QuarantineReason };

/** Takes a key or a value out of what a converter put round it. Keeps the schemas that it has seen. */
export type Unwrap = (bytes: Uint8Array) => Unwrapped;

const fail = (reason: QuarantineReason): Unwrapped => ({ ok: false, reason });

export function createUnwrap(): Unwrap {
  const schemas = new Map<string, TableSchema>();

  /** The row's columns as a schema has them; undefined when it is not JSON. */
  const schemaOf = (text: string): TableSchema | null | undefined => {
    const known = schemas.get(text);
    if (known !== undefined) return known;
    const value = parsed(text);
    if (value === undefined) return undefined;
    const schema = rowSchema(value);
    if (schema === null) return null;
    for (const oldest of schemas.keys()) {
      if (schemas.size < SCHEMAS_CACHED) break;
      schemas.delete(oldest);
    }
    schemas.set(text, schema);
    return schema;
  };

  return (bytes) => {
    const text = textOf(bytes);
    if (text === null) return fail('NOT_JSON');
    const members = membersOf(text);
    const inner = members?.get('payload');
    const around = members?.get('schema');
    if (members?.size !== 2 || inner === undefined || around === undefined)
      return parsed(text) === undefined ? fail('NOT_JSON') : { ok: true, payload: text.trim(), schema: null };
    const schema = schemaOf(around);
    if (schema === undefined || parsed(inner) === undefined) return fail('NOT_JSON');
    return { ok: true, payload: inner, schema };
  };
}

/** The columns below the field `after` of an envelope's schema; null when there are none to find. */
function rowSchema(value: unknown): TableSchema | null {
  const after = fieldsOf(value).find((field) => field['field'] === 'after');
  if (after === undefined) return null;
  return fieldsOf(after).map((field) => ({
    name: String(field['field']),
    type: String(field['type']),
    semantic: typeof field['name'] === 'string' ? field['name'] : null,
    optional: field['optional'] === true || field['optional'] === 'true',
    scale: scaleOf(field['parameters']),
  }));
}

const SCALE_MAX = 10_000;

/** Connect writes parameters as strings. */
function scaleOf(parameters: unknown): number | null {
  if (typeof parameters !== 'object' || parameters === null || !('scale' in parameters)) return null;
  const scale = Number(parameters.scale);
  return Number.isInteger(scale) && Math.abs(scale) <= SCALE_MAX ? scale : null;
}

function fieldsOf(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null || !('fields' in value) || !Array.isArray(value.fields)) return [];
  return value.fields.filter((field): field is Record<string, unknown> => typeof field === 'object' && field !== null);
}
