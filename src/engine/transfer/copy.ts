/**
 * Ships one subtree from another repository: the same recipients, lanes and packs as shipping from a volume, other source.
 *
 * The changes come from a walk of the snapshot's map against the destinations' base, so an extent whose fingerprint a
 * destination counts costs nothing; only values that somebody lacks are fetched, each once for all destinations. A value
 * is opened, checked and sealed anew in one task. zstd is kept as it is when the taker wants zstd, too: the level is the
 * writer's business, and compressing again would be two thirds of the work.
 *
 * Fetching groups by pack, so changes are gathered first, WINDOW_CHANGES at a time: at 256 KiB 2 GiB of volume.
 */
import pLimit from 'p-limit';
import type { HoldfastError } from '../../domain/errors.ts';
import { MAP_FANOUT } from '../../domain/limits.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import type { Destination, PlacedValue, ValueReader } from './contract.ts';
import { fetchSlots, fetchValues, type UseRange } from './fetch.ts';
import { ALWAYS_WELL, type Health } from './health.ts';
import type { OnProgress } from './progress.ts';
import type { FetchValue } from './read-plan.ts';
import type { Recipient } from './recipient.ts';
import { withRecipients, type Sending, type ShipOutcome } from './sending.ts';

const WINDOW_CHANGES = 8192;
/** Leaves of the bases loaded at once. */
const LEAVES_AT_ONCE = 8;

export interface SubtreeCopy {
  /** What differs from the destinations' bases or may; fingerprint ABSENT: now zeros. Ascending by extent. */
  readonly changes: AsyncIterable<PlacedValue>;
  readonly reader: ValueReader;
  readonly extentBytes: number;
  readonly subtree: number;
  readonly destinations: readonly Destination[];
  readonly threads: Threads;
  readonly health?: Health;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface CopyResult {
  readonly outcomes: ReadonlyMap<string, ShipOutcome>;
  readonly valuesFetched: number;
  readonly gotBytes: number;
  readonly encoded: number;
}

interface Missing extends FetchValue {
  readonly takers: readonly Recipient[];
}

export async function copySubtree(copy: SubtreeCopy): Promise<CopyResult> {
  const { threads, extentBytes, reader, health = ALWAYS_WELL } = copy;
  const count = { valuesFetched: 0, gotBytes: 0, encoded: 0 };
  const progress: OnProgress = (event) => {
    if (event.kind === 'got') count.gotBytes += event.bytes;
    copy.progress?.(event);
  };
  const onLost = ({ error }: { readonly error: HoldfastError }): void => {
    throw error;
  };

  /** Fetches a window's values and carries them to whoever lacks them. */
  const push = async (window: ReadonlyMap<string, Missing>, { lanes, batches }: Sending): Promise<void> => {
    if (window.size === 0) return;
    const use: UseRange = async ({ slot, start, key, values }) => {
      const carried = values.map(({ fingerprint }, place) => ({
        place,
        fingerprint,
        takers: window.get(fingerprint.toString('latin1'))?.takers ?? [],
      }));
      const failures = new Map<number, Awaited<ReturnType<UseRange>>[number]>();
      await lanes.carry(carried, async (part, packs) => {
        const blobs = part.flatMap(({ place }) => {
          const location = values[place]?.location;
          return location === undefined ? [] : [{ place, offset: location.offset, length: location.length, targets: [] }];
        });
        const result = await threads.run('reseal', { slot, start, key, blobs, packs });
        for (const failure of result.failures) {
          const place = part[failure.blob]?.place ?? 0;
          failures.set(place, { ...failure, blob: place });
        }
        count.encoded += result.encoded;
        count.valuesFetched += part.length - result.failures.length;
        return result;
      });
      return [...failures.values()];
    };
    const proceed = (signal: AbortSignal): Promise<void> => health.proceed(signal);
    await fetchValues({ reader, extentBytes, batches, progress, use, proceed, onLost }, [...window.values()]);
  };

  const deps = { ...copy, slots: fetchSlots(threads.count), health, progress };
  const outcomes = await withRecipients(deps, async (sending) => {
    let changes: PlacedValue[] = [];
    for await (const change of copy.changes) {
      changes.push(change);
      if (changes.length < WINDOW_CHANGES) continue;
      await push(await offer(changes, sending), sending);
      changes = [];
      if (sending.recipients.every((r) => r.failure !== null)) return;
    }
    await push(await offer(changes, sending), sending);
  });
  return { outcomes, ...count };
}

/** Tells each recipient what changes; answers what somebody lacks, by fingerprint. */
async function offer(changes: readonly PlacedValue[], { recipients, batches }: Sending): Promise<ReadonlyMap<string, Missing>> {
  const leafOf = (extent: number): number => Math.floor(extent / MAP_FANOUT);
  const limit = pLimit(LEAVES_AT_ONCE);
  await Promise.all(
    [...new Set(changes.map(({ extent }) => leafOf(extent)))].flatMap((leaf) =>
      recipients.map((r) => limit(() => (r.failure === null ? r.loadLeaf(leaf).catch((error: unknown) => r.fail(error)) : undefined))),
    ),
  );
  batches.signal.throwIfAborted();
  const missing = new Map<string, Missing>();
  for (const { extent, fingerprint, location } of changes) {
    const takers = recipients.filter((r) => r.failure === null && r.settle(extent, fingerprint));
    if (takers.length === 0) continue;
    const key = fingerprint.toString('latin1');
    const earlier = missing.get(key)?.takers ?? [];
    missing.set(key, { fingerprint, location, extents: [extent], takers: [...earlier, ...takers] });
  }
  return missing;
}
