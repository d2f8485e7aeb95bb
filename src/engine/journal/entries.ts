/**
 * The entries of a journal's log (docs/journal.md, section 7), as schemas; state.ts says what they mean.
 */
import { z } from 'zod';
import { EPOCH_MEMBERS_MAX } from '../../domain/limits.ts';
import { NAME_PATTERN, SNAPSHOT_ID_PATTERN } from '../../domain/ids.ts';

const name = z.string().regex(NAME_PATTERN);
const seq = z.int().min(0);
const epoch = z.int().min(1);
/** -1: before the first batch of the epoch. */
const index = z.int().min(-1);
const digest = z.string().regex(/^[0-9a-f]{64}$/);

const end = z.strictObject({ index, seq, digest });
/** The last batch of an epoch, the last number up to it, and the digest after it. */
export type EpochEnd = z.infer<typeof end>;

const member = z.strictObject({ region: name, domain: name });
export type Member = z.infer<typeof member>;

const open = z.strictObject({
  kind: z.literal('OPEN'),
  previous: epoch.nullable(),
  end: end.nullable(),
  mode: z.enum(['local', 'pair']),
  owner: z.string().min(1).max(200),
  members: z.array(member).min(1).max(EPOCH_MEMBERS_MAX),
  /** Members of the previous epoch that hold all of it. */
  full: z.array(name).max(EPOCH_MEMBERS_MAX),
  /** Somebody has consented to the loss of points that the log has named. */
  tailLost: z.boolean(),
});
export type OpenEntry = z.infer<typeof open>;

const held = z.strictObject({ kind: z.literal('HELD'), epoch, region: name });

const base = z.strictObject({
  kind: z.literal('BASE'),
  region: name,
  snapshots: z.array(z.strictObject({ volume: z.int().min(0).max(65_534), id: z.string().regex(SNAPSHOT_ID_PATTERN) })).min(1),
  /** A replay leaves out numbers up to this ... */
  from: seq,
  /** ... and gives any point from this on; the same, when the base is exact. */
  to: seq,
  at: z.strictObject({ epoch, index, seq, digest }),
});
export type BaseEntry = z.infer<typeof base>;

const floor = z.strictObject({ kind: z.literal('FLOOR'), seq });

const pin = z.strictObject({
  kind: z.literal('PIN'),
  pin: z.string().min(1).max(200),
  epoch,
  seq,
  untilMs: z.int(),
  why: z.string().max(200),
});
export type PinEntry = z.infer<typeof pin>;

const unpin = z.strictObject({ kind: z.literal('UNPIN'), pin: z.string().min(1).max(200) });

export const journalEntrySchema = z.discriminatedUnion('kind', [open, held, base, floor, pin, unpin]);
export type JournalEntry = z.infer<typeof journalEntrySchema>;

export const JOURNAL_ENTRY_KINDS: ReadonlySet<string> = new Set<JournalEntry['kind']>(['OPEN', 'HELD', 'BASE', 'FLOOR', 'PIN', 'UNPIN']);
