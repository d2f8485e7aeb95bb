/** The entries of a repository's log. docs/format.md gives the same table in prose. */
import { z } from 'zod';
import { EXTENT_BYTES_MAX, EXTENT_BYTES_MIN } from '../../domain/limits.ts';
import { lineageSchema as lineage, snapshotSchema as snapshot } from '../../domain/id-schemas.ts';

const hexOf = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
const seq = z.int().min(1);
/** A change by the name of its root part and the BLAKE3 of its stored bytes. */
const change = z.strictObject({ name: z.string().max(64), digest: hexOf(32) });
/** Ids of the packs that values are moved out of. */
const from = z.array(hexOf(16)).max(4096);
export const COLLECTOR = 'gc';

export const CONSISTENCIES = ['application', 'crash', 'fuzzy'] as const;
export type Consistency = (typeof CONSISTENCIES)[number];

export const entrySchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('CLAIM'),
    /** A lineage, or "gc". */
    actor: z.union([lineage, z.literal(COLLECTOR)]),
    snapshot: snapshot.nullable(),
    /** Who claims: the run of the workflow. Attempts of one owner at one snapshot only rise. */
    owner: z.string().max(200),
    attempt: z.int().min(1),
    adopt: z.boolean(),
  }),
  z.strictObject({ kind: z.literal('ABORT'), actor: z.union([lineage, z.literal(COLLECTOR)]), epoch: seq }),
  z.strictObject({
    kind: z.literal('COMMIT'),
    lineage,
    epoch: seq,
    snapshot,
    /** Fingerprint of the root node; null: nothing but zeros. */
    root: hexOf(32).nullable(),
    /** Where the root node lies: a hint, 24 bytes. */
    rootLocation: hexOf(24).nullable(),
    sizeBytes: z.int().min(0),
    extentBytes: z.int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX),
    parent: snapshot.nullable(),
    change,
    takenMs: z.int(),
    consistency: z.enum(CONSISTENCIES),
    label: z.string().max(200).nullable(),
  }),
  z.strictObject({ kind: z.literal('HIDE'), snapshot, version: z.int().min(0), purge: z.boolean() }),
  z.strictObject({ kind: z.literal('UNHIDE'), snapshot, version: z.int().min(0) }),
  z.strictObject({ kind: z.literal('RECLAIM'), epoch: seq, snapshot, previous: snapshot.nullable(), next: snapshot.nullable(), change }),
  z.strictObject({ kind: z.literal('REPLACE'), epoch: seq, from, change }),
  z.strictObject({ kind: z.literal('HEAL'), actor: z.union([lineage, z.literal(COLLECTOR)]), epoch: seq, from, change }),
  z.strictObject({ kind: z.literal('PIN'), pin: z.string().max(100), snapshot, untilMs: z.int(), why: z.string().max(200) }),
  z.strictObject({ kind: z.literal('UNPIN'), pin: z.string().max(100) }),
  z.strictObject({ kind: z.literal('RETIRE'), lineage }),
]);

export type Entry = z.infer<typeof entrySchema>;
export type EntryOf<Kind extends Entry['kind']> = Extract<Entry, { kind: Kind }>;
export type ChangeRef = z.infer<typeof change>;
export type Actor = EntryOf<'CLAIM'>['actor'];

export const ENTRY_KINDS: ReadonlySet<string> = new Set(entrySchema.options.map((option) => option.shape.kind.value));
