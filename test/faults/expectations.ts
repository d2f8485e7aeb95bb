/**
 * What users were told, and hence what must hold: the model that a run is judged by.
 *
 * A capture or copy that was acknowledged is there; one that was hidden is never seen; shown again, it is; one that an
 * acknowledgement called gone never comes back. It may only be gone if it was hidden before and somebody could reclaim it.
 */
import type { SnapshotId, StoreName } from '../../src/domain/ids.ts';
import type { Outcome } from './operations.ts';
import type { Operation } from './script.ts';

interface Held {
  state: 'visible' | 'hidden' | 'gone';
  purge: boolean;
  /** Since it was hidden something ran in this store that reclaims. */
  reclaimable: boolean;
}

export interface Expectations {
  /** Before an operation is begun: from here on its effects are possible. */
  begin(operation: Operation): void;
  /** What it was acknowledged with; throws what cannot be. */
  acknowledge(operation: Operation, outcome: Outcome): void;
  noteContent(snapshot: SnapshotId, digest: string): void;
  contentOf(snapshot: SnapshotId): string | undefined;
  heldIn(store: StoreName): ReadonlyMap<SnapshotId, Readonly<Held>>;
}

export function createExpectations(): Expectations {
  const contents = new Map<SnapshotId, string>();
  const stores = new Map<StoreName, Map<SnapshotId, Held>>();
  const heldIn = (store: StoreName): Map<SnapshotId, Held> => {
    const held = stores.get(store) ?? new Map<SnapshotId, Held>();
    stores.set(store, held);
    return held;
  };
  const reclaims = (store: StoreName): void => {
    for (const one of heldIn(store).values()) if (one.state === 'hidden') one.reclaimable = true;
  };
  const storesOf = (operation: Operation): readonly StoreName[] =>
    operation.kind === 'capture' ? operation.stores : operation.kind === 'copy' ? operation.to : [operation.store];

  return {
    begin(operation) {
      if (operation.kind === 'hide' || operation.kind === 'delete' || operation.kind === 'purge') {
        const one = heldIn(operation.store).get(operation.snapshot);
        // From its first attempt on it may be hidden, whatever the answer will be.
        if (one?.state === 'visible') Object.assign(one, { state: 'hidden', reclaimable: operation.kind !== 'hide' });
        if (one && operation.kind === 'purge') one.purge = true;
      }
      if (!['hide', 'undelete', 'restore', 'passphrase'].includes(operation.kind)) for (const store of storesOf(operation)) reclaims(store);
      if (operation.kind === 'delete' || operation.kind === 'purge') reclaims(operation.store);
    },
    acknowledge(operation, outcome) {
      if (outcome === null || !('snapshot' in operation)) return;
      for (const [name, told] of Object.entries(outcome)) {
        const store = name as StoreName;
        const one = heldIn(store).get(operation.snapshot);
        if (told === 'committed') {
          if (!one) heldIn(store).set(operation.snapshot, { state: 'visible', purge: false, reclaimable: false });
        } else if (told === 'visible') {
          if (one?.state === 'gone') throw new Error(`${operation.snapshot} in ${store} was gone, and is shown`);
          if (one) Object.assign(one, { state: 'visible', purge: false, reclaimable: false });
        } else if (told === 'gone') {
          if (operation.kind === 'copy') continue;
          // To who reads, one that is hidden is not there either.
          if (operation.kind === 'restore' && one?.state === 'hidden') continue;
          if (one && one.state !== 'gone' && !one.reclaimable)
            throw new Error(`${operation.kind}: ${operation.snapshot} in ${store} is gone, and nobody may have reclaimed it`);
          if (one) one.state = 'gone';
        }
      }
    },
    noteContent: (snapshot, digest) => void contents.set(snapshot, digest),
    contentOf: (snapshot) => contents.get(snapshot),
    heldIn,
  };
}
