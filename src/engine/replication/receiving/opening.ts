/**
 * What an OPEN has agreed, as the session's file keeps it: without it nobody could go on after the receiver was started anew,
 * for a sender says it once.
 */
import { z } from 'zod';
import { lineageSchema, repositorySchema, snapshotSchema, storeSchema } from '../../../domain/id-schemas.ts';
import { EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, MAP_FANOUT, SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import { CONSISTENCIES } from '../../repository/entries.ts';
import { subtreeCount } from '../../repository/transfer-reader.ts';
import { PROOF_LEVELS } from '../frames.ts';

export const openingSchema = z.strictObject({
  /** Of the token that opened it. */
  peer: z.string(),
  store: storeSchema,
  repository: repositorySchema,
  /** As it is named here. */
  lineage: lineageSchema,
  snapshot: snapshotSchema,
  sizeBytes: z.int().min(0),
  extentBytes: z.int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX),
  takenMs: z.int(),
  consistency: z.enum(CONSISTENCIES),
  label: z.string().nullable(),
  proof: z.enum(PROOF_LEVELS),
  /** The claim's: pages say what differs from it. */
  base: snapshotSchema.nullable(),
});
export type Opening = Readonly<z.infer<typeof openingSchema>>;

export type SessionPlace = Pick<Opening, 'store' | 'repository' | 'lineage' | 'snapshot'>;

export const keyOf = ({ store, repository, lineage, snapshot }: SessionPlace): string => [store, repository, lineage, snapshot].join('/');

/** Subtrees that the snapshot has. */
export const subtreesOf = ({ sizeBytes, extentBytes }: Pick<Opening, 'sizeBytes' | 'extentBytes'>): number =>
  subtreeCount(sizeBytes, extentBytes);

/** How many children of a leaf of the snapshot are extents of it: 256, fewer in the last leaf, none past the end. */
export function endOf({ sizeBytes, extentBytes }: Pick<Opening, 'sizeBytes' | 'extentBytes'>, subtree: number, leaf: number): number {
  const first = subtree * SUBTREE_EXTENTS + leaf * MAP_FANOUT;
  return Math.max(0, Math.min(MAP_FANOUT, Math.ceil(sizeBytes / extentBytes) - first));
}
