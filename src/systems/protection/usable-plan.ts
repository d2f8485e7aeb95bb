/** A plan whose base can be had: one that is gone, or in a store that does not answer, is left for another. */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { BaseImage, Bases } from '../../engine/journal/keeping/bases.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import { planRecovery, type Point, type RecoveryPlan } from '../../engine/journal/recovery/plan.ts';
import type { Place } from '../../engine/journal/sealed-object.ts';

export interface UsablePlan<T> {
  readonly plan: RecoveryPlan;
  readonly base: T;
}

export interface UsableWanted<T> {
  /** `unusable`: ids of snapshots of bases. */
  readonly plan: (unusable: ReadonlySet<string>) => Promise<RecoveryPlan>;
  /** Opens a plan's base; undefined: it is not there. */
  readonly open: (plan: RecoveryPlan) => Promise<T | undefined>;
}

/** Errors of `plan`; of several bases that cannot be had why the first one could not. */
export async function usablePlan<T>({ plan: make, open }: UsableWanted<T>): Promise<UsablePlan<T>> {
  const unusable = new Set<string>();
  let why: unknown = null;
  for (;;) {
    const plan = await make(unusable).catch((error: unknown) => {
      throw why ?? error;
    });
    try {
      const base = await open(plan);
      if (base !== undefined) return { plan, base };
      why ??= new HoldfastError('OBJECT_MISSING', `a base is not in ${plan.region}`, { region: plan.region });
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_UNREACHABLE', 'STORE_DENIED', 'REPOSITORY_NOT_FOUND')) throw error;
      why ??= error;
    }
    const ids = plan.start.kind === 'base' ? plan.start.base.snapshots.map(({ id }) => id) : [];
    if (ids.every((id) => unusable.has(id))) throw why;
    for (const id of ids) unusable.add(id);
  }
}

export interface PointWanted {
  readonly reading: Reading;
  /** By region. */
  readonly bases: ReadonlyMap<string, Bases>;
  readonly point: Point;
  readonly signal?: AbortSignal;
}

/** A point to be read place by place. A volume that the base does not have is zeros there. */
export interface OpenedPoint {
  readonly plan: RecoveryPlan;
  /** Of the plan's base, by volume. */
  readonly images: ReadonlyMap<number, BaseImage>;
}

/** `beyond`: a batch that is nowhere as it was written. Errors as of `usablePlan`. */
export async function openPoint({ reading, bases, point, signal }: PointWanted, beyond: Place | null): Promise<OpenedPoint> {
  const { plan, base: images } = await usablePlan({
    plan: (unusable) => planRecovery(reading, { point, unusable, beyond }),
    open: (of) => imagesOf(bases, of, signal),
  });
  return { plan, images };
}

async function imagesOf(
  bases: PointWanted['bases'],
  { start, region }: RecoveryPlan,
  signal?: AbortSignal,
): Promise<OpenedPoint['images'] | undefined> {
  const images = new Map<number, BaseImage>();
  for (const { volume, id } of start.kind === 'base' ? start.base.snapshots : []) {
    const image = (await bases.get(region)?.open(id, signal)) ?? null;
    if (image === null) return undefined;
    images.set(volume, image);
  }
  return images;
}
