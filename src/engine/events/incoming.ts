/**
 * An event from outside, as a trigger sees it, from a record of any topic: a CloudEvent in either form of the Kafka binding, or any JSON.
 *
 * What has no id of its own has that of its place, so that the same record delivered twice is one event. What cannot be understood is an
 * answer, never an error: somebody else's producer must not stop a consumer.
 */
import { z } from 'zod';
import { EVENT_IN_BYTES_MAX } from '../../domain/limits.ts';
import type { EventFilter } from '../catalog/triggers.ts';

export interface IncomingRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  /** Of the broker or the producer; epoch milliseconds. */
  readonly timestampMs: number;
  readonly value: Buffer | null;
  readonly header: (name: string) => string | undefined;
}

export interface IncomingEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string | null;
  readonly subject: string | null;
  /** The older of what the event and its record say; epoch milliseconds. */
  readonly timeMs: number;
  /** The event as one JSON value: for a CloudEvent its attributes and `data`. */
  readonly body: unknown;
}

export type Incoming = { readonly event: IncomingEvent } | { readonly bad: string };

const text = z.string().min(1).max(10_000);
const cloudEvent = z.looseObject({
  specversion: z.literal('1.0'),
  id: text,
  source: text,
  type: text,
  subject: text.nullish(),
  time: z.string().nullish(),
});

/** undefined: no JSON. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function ofCloudEvent(record: IncomingRecord, body: unknown): Incoming {
  const parsed = cloudEvent.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { bad: `no CloudEvent 1.0: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.slice(0, 300) };
  }
  const { id, source, type, subject, time } = parsed.data;
  const saidMs = Date.parse(time ?? '');
  const timeMs = Number.isNaN(saidMs) ? record.timestampMs : Math.min(saidMs, record.timestampMs);
  return { event: { id, source, type, subject: subject ?? null, timeMs, body } };
}

const ATTRIBUTES = ['specversion', 'id', 'source', 'type', 'subject', 'time'] as const;

/** The binary form: attributes in headers, data as the value. */
function ofHeaders(record: IncomingRecord, value: Buffer): Incoming {
  const attributes = ATTRIBUTES.flatMap((name) => {
    const said = record.header(`ce_${name}`);
    return said === undefined ? [] : [[name, said] as const];
  });
  // Data of other formats has no members to compare, and the attributes stand for themselves.
  const data = value.length === 0 ? undefined : parseJson(value);
  return ofCloudEvent(record, { ...Object.fromEntries(attributes), ...(data === undefined ? {} : { data }) });
}

export function readIncoming(record: IncomingRecord): Incoming {
  const { topic, partition, offset, timestampMs } = record;
  const value = record.value ?? Buffer.alloc(0);
  if (value.length > EVENT_IN_BYTES_MAX) return { bad: `${value.length} bytes are too many` };
  if (record.header('ce_specversion') !== undefined) return ofHeaders(record, value);
  if (value.length === 0) return { bad: 'no value' };
  const body = parseJson(value);
  if (body === undefined) return { bad: 'no JSON' };
  const declared = record.header('content-type')?.toLowerCase().startsWith('application/cloudevents') === true;
  if (declared || (isObject(body) && 'specversion' in body)) return ofCloudEvent(record, body);
  return {
    event: { id: `${topic}/${partition}/${offset}`, source: topic, type: null, subject: null, timeMs: timestampMs, body },
  };
}

/** `*` stands for any characters; everything else for itself. */
function fits(pattern: string | null, value: string | null): boolean {
  if (pattern === null) return true;
  if (value === null) return false;
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return value === first;
  if (!value.startsWith(first) || value.length < first.length + last.length || !value.endsWith(last)) return false;
  // What lies between is found from left to right: the earliest place leaves most room for what follows.
  const end = value.length - last.length;
  let at = first.length;
  for (const piece of rest) {
    const found = value.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

function memberAt(body: unknown, path: readonly string[]): unknown {
  let at = body;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return at;
}

export const matches = ({ type, source, subject, fields }: EventFilter, event: IncomingEvent): boolean =>
  fits(type, event.type) &&
  fits(source, event.source) &&
  fits(subject, event.subject) &&
  fields.every(({ path, equals }) => memberAt(event.body, path) === equals);
