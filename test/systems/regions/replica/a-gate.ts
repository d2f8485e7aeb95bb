/** A store that a test holds up, takes away and listens to. */
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { interceptStore, type StoreCall } from '../../../../src/ground/stores/intercept.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';

export interface Gate {
  readonly store: ObjectStore;
  /** Calls that were let through, in their order. */
  readonly calls: readonly StoreCall[];
  /** Changes wait, but for those of objects that pass; when it resolves none is under way. */
  hold(passes?: (name: string) => boolean): Promise<void>;
  release(): void;
  /** Every call is refused as unclear, or none. */
  away(isAway: boolean): void;
}

export function gate(behind: ObjectStore): Gate {
  const calls: StoreCall[] = [];
  let held: Promise<void> | null = null;
  let open = (): void => undefined;
  let passes = (_name: string): boolean => false;
  let isAway = false;
  const underWay = new Set<Promise<unknown>>();
  const store = interceptStore(behind, async (call, run) => {
    const isChange = call.operation === 'put' || call.operation === 'delete';
    while (isChange && held !== null && !passes(call.name)) await held;
    if (isAway) throw new HoldfastError('STORE_UNREACHABLE', 'the store is away');
    calls.push(call);
    const running = run();
    underWay.add(running);
    return await running.finally(() => underWay.delete(running));
  });
  return {
    store,
    calls,
    async hold(which = () => false) {
      passes = which;
      held ??= new Promise((resolve) => (open = resolve));
      await Promise.allSettled(underWay);
    },
    release() {
      held = null;
      open();
    },
    away(now) {
      isAway = now;
    },
  };
}
