/**
 * A log: numbered records in a store, each created only if absent. The one arbiter of what exists.
 *
 *     log/<20 digits> = envelope of { version, seq, previous, writer, attempt, timeMs, entries }
 *
 * The head is the first number whose get says 404; records are never deleted, for an emptied slot would let a stalled
 * writer win it again. `previous` is the BLAKE3 of the stored bytes of the record before, so a log that was rolled back or
 * replaced is noticed at the first record read. `attempt` is random: a put whose answer was lost is settled by reading the
 * slot and comparing bytes, which no other writer can have made.
 */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { RECORD_ENTRIES_MAX } from '../../domain/limits.ts';
import { openEnvelope, sealEnvelope, type SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { digestOf } from './digest.ts';

export interface LogRecord<Entry> {
  readonly seq: number;
  /** Digest of the record before; empty for the first. */
  readonly previous: string;
  readonly writer: string;
  readonly attempt: string;
  readonly timeMs: number;
  readonly entries: readonly Entry[];
}

export interface StoredRecord<Entry> extends LogRecord<Entry> {
  /** BLAKE3 of the stored bytes, hex. */
  readonly digest: string;
}

export interface LogPort<Entry> {
  /** Record `seq`, or null at the head. */
  read(seq: number, signal?: AbortSignal): Promise<StoredRecord<Entry> | null>;
  /** Puts a record at its number; null when another one stands there. */
  put(record: LogRecord<Entry>, signal?: AbortSignal): Promise<StoredRecord<Entry> | null>;
}

/** Read first: what a newer version wrote need not fit this one's schema. */
const versionSchema = z.object({ version: z.int() });

const envelopeSchema = z.object({
  version: z.literal(1),
  seq: z.int().min(1),
  previous: z.string(),
  writer: z.string().max(200),
  attempt: z.string().max(100),
  timeMs: z.int(),
  entries: z.array(z.looseObject({ kind: z.string() })).max(RECORD_ENTRIES_MAX),
});

export interface LogOptions<Entry extends { readonly kind: string }> {
  readonly store: ObjectStore;
  readonly sealing: SealingKey;
  readonly nameOf: (seq: number) => string;
  readonly entrySchema: z.ZodType<Entry>;
  /** Kinds this build knows; any other means that the log was written by a newer one. */
  readonly kinds: ReadonlySet<string>;
  readonly random: (size: number) => Buffer;
}

export function createLog<Entry extends { readonly kind: string }>(options: LogOptions<Entry>): LogPort<Entry> {
  const { store, sealing, nameOf, entrySchema, kinds, random } = options;

  const parse = (seq: number, stored: Buffer): StoredRecord<Entry> => {
    const name = nameOf(seq);
    const raw: unknown = JSON.parse(openEnvelope(sealing, name, stored).toString('utf8'));
    const { version: _, entries, ...head } = readEnvelope(raw, name);
    if (head.seq !== seq) throw new HoldfastError('RECORD_INVALID', `${name} holds record ${head.seq}`, { object: name });
    return { ...head, entries: entries.map((entry) => readEntry(entry, name)), digest: digestOf(stored) };
  };

  const readEntry = (entry: { readonly kind: string }, name: string): Entry => {
    if (!kinds.has(entry.kind))
      throw new HoldfastError('UPGRADE_REQUIRED', `${name} has an entry of kind ${entry.kind}`, { object: name, kind: entry.kind });
    const parsed = entrySchema.safeParse(entry);
    if (!parsed.success)
      throw new HoldfastError('RECORD_INVALID', `an entry of ${name}: ${z.prettifyError(parsed.error)}`, { object: name });
    return parsed.data;
  };

  return {
    async read(seq, signal) {
      const stored = await store.get(nameOf(seq), signal ? { signal } : {});
      return stored === null ? null : parse(seq, stored);
    },

    async put(record, signal) {
      const name = nameOf(record.seq);
      const bytes = sealEnvelope(sealing, name, Buffer.from(JSON.stringify({ version: 1, ...record })), random(32));
      const answer = await store.put(name, bytes, { ifAbsent: true, ...(signal ? { signal } : {}) });
      if (answer === 'created') return { ...record, digest: digestOf(bytes) };
      const there = await store.get(name);
      return there !== null && there.equals(bytes) ? { ...record, digest: digestOf(bytes) } : null;
    },
  };
}

function readEnvelope(raw: unknown, name: string): z.infer<typeof envelopeSchema> {
  const version = versionSchema.safeParse(raw);
  if (version.success && version.data.version > 1)
    throw new HoldfastError('UPGRADE_REQUIRED', `${name} has format ${version.data.version}`, { object: name });
  const parsed = envelopeSchema.safeParse(raw);
  if (!parsed.success) throw new HoldfastError('RECORD_INVALID', `${name}: ${z.prettifyError(parsed.error)}`, { object: name });
  return parsed.data;
}
