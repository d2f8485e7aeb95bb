/**
 * The point of a journal that a disk is restored from while it is served: pinned, and read as long as the disk lacks some of it.
 *
 * Its plan is made when something is needed of it for the first time, once for all disks of the group; a base that cannot be had now is
 * left for another region's, which begins anew what was laid. So does a floor that has risen to the point, for what was below may be gone, and a
 * batch that is nowhere as it was written, where a base holds what it held; where none does, the rest of the point is served all the same.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { repositoryName, snapshotId, storeName } from '../../domain/ids.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { renewPin, unpin } from '../../engine/journal/keeping/pins.ts';
import { isSilence, readingOf, type Reading } from '../../engine/journal/reading/reading.ts';
import { lossOf, type Loss } from '../../engine/journal/recovery/loss.ts';
import { planRecovery, type Point, type RecoveryPlan } from '../../engine/journal/recovery/plan.ts';
import { noProgress, pointContent, type PointProgress } from '../../engine/journal/recovery/point-content.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import type { Place } from '../../engine/journal/sealed-object.ts';
import { originName, type DiskRecord, type PointOriginRecord } from '../../engine/volumes/disks/disk-record.ts';
import { snapshotContent, type SnapshotContent } from '../../engine/volumes/hydration/snapshot-origin.ts';
import type { Origin } from '../../engine/volumes/served-volume.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { journalIn } from './home-journal.ts';
import { usablePlan, type UsablePlan } from './usable-plan.ts';

/** Looked at so often; renewed once a third of a pin's time has passed. */
const RENEW_EVERY_MS = 3600 * 1000;

export interface PointOriginParts {
  readonly home: Home;
  readonly threads: Threads;
}

type PinnedOrigin = Origin & { lift(): Promise<void> };
type OpenPoint = (from: PointOriginRecord, disk: Pick<DiskRecord, 'sizeBytes' | 'extentBytes'>) => PinnedOrigin;

/** `parts`: opened when they are first needed. */
export function createPointOrigins(parts: () => Promise<PointOriginParts>): OpenPoint {
  const plans = createPlans();
  return (from, disk) => {
    const { journal: name, volume, log, regions: members, pin } = from;
    let kept: { readonly plan: RecoveryPlan; readonly progress: PointProgress } | null = null;
    /** That a base was found to lead beyond. */
    let lost: Loss | null = null;
    const journalOf = async (): Promise<Journal> => journalIn((await parts()).home, { journal: name, log, members }, false);
    return {
      name: originName(from),
      async open() {
        const { home, threads } = await parts();
        const journal = await journalOf();
        const renew = (): Promise<void> => renewPin(journal, pin, home.environment.nowMs());
        await renew();
        const reading = readingOf(journal);
        const { floor } = await journal.log.sync();
        const openOver = (place: Place | null): Promise<OpenedPlan> =>
          usablePlan({
            plan: (unusable) => plans.of(reading, from, { unusable, beyond: place, floor }),
            open: (of) => baseOf(home, threads, { plan: of, journal: name }, volume),
          });
        const over = lost;
        const led = over && (await unlessNone(openOver(over.place)));
        const beyond = led && over;
        const { plan, base } = led ?? (await openOver(null));
        if (base !== null && base.view.extentBytes !== disk.extentBytes)
          throw new HoldfastError('ARGUMENT_INVALID', `bases of ${name} have extents of another size`, { expected: base.view.extentBytes });
        if (kept?.plan !== plan) kept = { plan, progress: noProgress(plan, { volume, ...disk }) };
        const { sizeBytes, extentBytes } = disk;
        const renewing = setInterval(() => {
          renew().catch((error: unknown) => home.environment.alarm('a pin could not be renewed', { pin, error: String(error) }));
        }, RENEW_EVERY_MS);
        return {
          ...pointContent({
            ...{ reading, plan, base, volume, sizeBytes, extentBytes, progress: kept.progress },
            async isOutdated(error) {
              if ((await journal.log.sync()).floor !== floor) return true;
              const next = lossOf(error, beyond);
              if (next === null || (await unlessNone(openOver(next.place))) === null) return false;
              // Another read may have found a later one by now.
              lost = lossOf(error, lost) ?? lost;
              return true;
            },
          }),
          [Symbol.asyncDispose]: async () => clearInterval(renewing),
        };
      },
      lift: async () => unpin(await journalOf(), pin),
    };
  };
}

type OpenedPlan = UsablePlan<SnapshotContent | null>;

/** Null: no base leads there, as all have said that were asked. */
async function unlessNone(opening: Promise<OpenedPlan>): Promise<OpenedPlan | null> {
  try {
    return await opening;
  } catch (error) {
    if (!isHoldfastError(error) || isSilence(error)) throw error;
    return null;
  }
}

/** The volume's snapshot of a plan's base; undefined: it is not there; null: zeros. */
async function baseOf(
  home: Home,
  threads: Threads,
  { plan, journal }: { readonly plan: RecoveryPlan; readonly journal: string },
  volume: number,
): Promise<SnapshotContent | null | undefined> {
  const id = plan.start.kind === 'base' ? plan.start.base.snapshots.find((one) => one.volume === volume)?.id : undefined;
  if (id === undefined) return null;
  const store = storeName(plan.region);
  const reader = await home.reader(store, repositoryName(`journal.${journal}`));
  const snapshot = reader.ledger().snapshots.get(snapshotId(id));
  return snapshot && snapshotContent({ reader, snapshot, threads, store });
}

interface PlanOver {
  readonly unusable: ReadonlySet<string>;
  readonly beyond: Place | null;
  /** A floor that rises to the point may have what an older plan needs dropped. */
  readonly floor: number;
}

/** Plans of points, each kept as long as a disk of its group needs it. */
function createPlans() {
  const underWay = new Map<string, Promise<RecoveryPlan>>();
  const made = new Map<string, WeakRef<RecoveryPlan>>();
  return {
    async of(reading: Reading, { epoch, seq }: Point, { unusable, beyond, floor }: PlanOver): Promise<RecoveryPlan> {
      const point = { epoch, seq };
      const key = JSON.stringify([Buffer.from(reading.journal.id).toString('hex'), epoch, seq, floor, beyond, ...unusable]);
      const known = made.get(key)?.deref() ?? underWay.get(key);
      if (known !== undefined) return known;
      const planning = planRecovery(reading, { point, unusable, beyond });
      underWay.set(key, planning);
      try {
        const plan = await planning;
        made.set(key, new WeakRef(plan));
        return plan;
      } finally {
        underWay.delete(key);
      }
    },
  };
}
