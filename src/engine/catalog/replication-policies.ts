/**
 * What goes to which receiver by itself, and how far it has come: entries of the catalog.
 *
 * How far is a fact of its own: the receiver is somebody else's and may be away when it is asked.
 */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { snapshotSchema, storeSchema, volumeSchema } from '../../domain/id-schemas.ts';
import type { VolumeName } from '../../domain/ids.ts';
import type { ReplicationFigures } from '../../domain/replication.ts';
import { receiverName } from './receivers.ts';

const DAY_MINUTES = 24 * 60;
const minute = z
  .int()
  .min(0)
  .max(DAY_MINUTES - 1);

/** From a minute of the day until another one (UTC; past midnight if that is earlier) at most so many bytes a second are sent. */
const bandwidthWindow = z.strictObject({ fromMinute: minute, toMinute: minute, bytesPerSecondMax: z.int().min(1) });
export type BandwidthWindow = z.infer<typeof bandwidthWindow>;

export const replicationPolicy = z.strictObject({
  volume: volumeSchema,
  receiver: receiverName,
  /** To read from; null: whichever of its stores has the newest. */
  from: storeSchema.nullable(),
  afterCapture: z.boolean(),
  /** Null: not by the clock. */
  everyMs: z.int().min(60_000).nullable(),
  window: bandwidthWindow.nullable(),
});
export type ReplicationPolicy = z.infer<typeof replicationPolicy>;

const count = z.int().min(0);
/** The newest snapshot of a volume that a receiver has confirmed. */
export const replicated = z.strictObject({
  volume: volumeSchema,
  receiver: receiverName,
  snapshot: snapshotSchema,
  takenMs: z.int(),
  /** What the session came to in which it went over. */
  figures: z.strictObject({
    ...{ logicalBytes: count, uniqueBytes: count, wireBytes: count, referenced: count },
    ...{ sent: count, askedAgain: count, rounds: count, verified: count },
  } satisfies Record<keyof ReplicationFigures, typeof count>),
});
export type Replicated = z.infer<typeof replicated>;

export const policyKey = ({ receiver, volume }: { readonly receiver: string; readonly volume: string }): string => `${receiver}/${volume}`;

export const policyNotFound = (receiver: string, volume: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${volume} has no policy for ${receiver}`, {
    field: 'volume',
    expected: 'one that `holdfast replicate policy list` shows',
  });

interface Policies {
  readonly policies: ReadonlyMap<string, ReplicationPolicy>;
}

export const policiesOf = ({ policies }: Policies, volume: VolumeName): readonly ReplicationPolicy[] =>
  [...policies.values()].filter((policy) => policy.volume === volume);

const isWithin = ({ fromMinute, toMinute }: BandwidthWindow, atMinute: number): boolean =>
  fromMinute <= toMinute ? fromMinute <= atMinute && atMinute < toMinute : atMinute >= fromMinute || atMinute < toMinute;

/** Bytes a second at a moment: the receiver's bound, or less within the window; null for none. */
export function rateAt(bytesPerSecondMax: number | null, window: BandwidthWindow | null, atMs: number): number | null {
  if (window === null || !isWithin(window, Math.floor(atMs / 60_000) % DAY_MINUTES)) return bytesPerSecondMax;
  return Math.min(bytesPerSecondMax ?? Infinity, window.bytesPerSecondMax);
}
