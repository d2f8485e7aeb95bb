/** What is protected where, as everybody knows it: enough to read a group's journal when its host is gone (docs/protection.md). */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { hostSchema, diskSchema, storeSchema } from '../../domain/id-schemas.ts';
import { NAME_PATTERN } from '../../domain/ids.ts';
import { EPOCH_MEMBERS_MAX, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, GROUP_DISKS_MAX } from '../../domain/limits.ts';

const name = z.string().regex(NAME_PATTERN);
export const journalName = name;

export const protectionRecord = z.strictObject({
  journal: name,
  host: hostSchema,
  /** In the order of their numbers in the journal. */
  disks: z
    .array(z.strictObject({ disk: diskSchema, sizeBytes: z.int().min(1) }))
    .min(1)
    .max(GROUP_DISKS_MAX),
  /** Of bases. */
  extentBytes: z.int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX),
  mode: z.enum(['local', 'pair']),
  log: storeSchema,
  members: z
    .array(z.strictObject({ region: storeSchema, domain: name }))
    .min(1)
    .max(EPOCH_MEMBERS_MAX),
  /** Points of so long ago can be recovered. Default: RETAIN_MS_DEFAULT. */
  retainMs: z.int().min(0).optional(),
});
export type ProtectionRecord = z.infer<typeof protectionRecord>;

/** A group's disks are another host's from now on. */
export const protectionMoved = z.strictObject({
  journal: name,
  from: hostSchema,
  host: hostSchema,
  how: z.enum(['failover', 'planned failover', 'failback']),
  /** The epoch that was closed, its last number, and the one that goes on. */
  closedEpoch: z.int().min(1),
  end: z.int().min(0),
  epoch: z.int().min(1),
  /** What the disks are as of. */
  point: z.int().min(0),
  lostMsMax: z.int().min(0),
});
export type ProtectionMoved = z.infer<typeof protectionMoved>;

/** A failover of a group was tested. */
export const protectionTested = z.strictObject({
  journal: name,
  host: hostSchema,
  epoch: z.int().min(1),
  point: z.int().min(0),
  rpoMsMax: z.int().min(0),
  rtoMs: z.int().min(0),
  passed: z.boolean(),
  /** Who has checked. */
  by: z.array(z.string().max(1000)).max(GROUP_DISKS_MAX),
});

/** How a group was when it was looked at, and was otherwise before. */
export const groupState = z.strictObject({
  journal: name,
  /** UNKNOWN: its host does not answer, or does not serve it. */
  state: z.enum(['OPENING', 'PROTECTED', 'CATCHING_UP', 'BITMAP', 'RESYNC', 'FENCED', 'FAILED', 'UNKNOWN']),
  /** Its RPO is more than PROTECTION_RPO_MS. */
  isLate: z.boolean(),
  rpoMs: z.int().min(0).nullable(),
  why: z.string().max(500).nullable(),
});
export type GroupStateNoted = z.infer<typeof groupState>;

/** A name for a point, which a journal itself does not know. */
export const pointName = z.strictObject({
  journal: name,
  name,
  epoch: z.int().min(1),
  seq: z.int().min(0),
  timeMs: z.int(),
  /** 'application' when hooks had brought the applications of its disks to rest. */
  consistency: z.enum(['application', 'crash']),
});
export type PointName = z.infer<typeof pointName>;

/** Names that a journal may have: each is some hundred bytes in every catalog's state. */
const POINT_NAMES_MAX = 1000;

type Known = {
  readonly protections: ReadonlyMap<string, ProtectionRecord>;
  /** By journal and name. */
  readonly points: ReadonlyMap<string, ReadonlyMap<string, PointName>>;
};

export function pointNameRefusal(state: Known, { journal, name: wanted }: PointName): HoldfastError | null {
  if (!state.protections.has(journal)) return protectionNotFound(journal);
  const names = state.points.get(journal);
  if (names?.has(wanted) === true)
    return new HoldfastError('ARGUMENT_INVALID', `${journal} has a point ${wanted}`, { field: 'name', expected: 'another name' });
  return (names?.size ?? 0) < POINT_NAMES_MAX
    ? null
    : new HoldfastError('ARGUMENT_INVALID', `${journal} has ${POINT_NAMES_MAX} names of points`, {
        field: 'name',
        expected: 'fewer names',
      });
}

export function findPoint(state: Known, journal: string, wanted: string): PointName {
  const found = state.points.get(journal)?.get(wanted);
  if (!found) throw new HoldfastError('POINT_GONE', `${journal} has no point ${wanted}`, { journal, name: wanted });
  return found;
}

export const protectionNotFound = (journal: string): HoldfastError =>
  new HoldfastError('JOURNAL_NOT_FOUND', `no journal ${journal}`, { journal });

export function findProtection(state: { readonly protections: ReadonlyMap<string, ProtectionRecord> }, journal: string): ProtectionRecord {
  const found = state.protections.get(journal);
  if (!found) throw protectionNotFound(journal);
  return found;
}
