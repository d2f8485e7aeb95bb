/** A plan whose base can be had: one that is gone, or in a store that does not answer, is left for another. */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { RecoveryPlan } from '../../engine/journal/recovery/plan.ts';

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
