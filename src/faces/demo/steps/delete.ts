/**
 * Deferred delete: the newest snapshot goes from sight at once and stays as the base; it is reclaimed after the next commit
 * and not before. The order is read in each store's own log, the bytes are counted in its folder.
 */
import { z } from 'zod';
import type { SnapshotId } from '../../../domain/ids.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { capture, EXTENT_BYTES, listSnapshots, type DemoContext } from '../demo-context.ts';
import { STORES, type DemoStore } from '../demo-folder.ts';
import { overwrite } from '../overwrite.ts';
import { left, requireThat, type Step } from '../step.ts';
import { lookInto, recordsOf } from '../store-evidence.ts';
import { bytesIn, bytesOf, isPack, objectsIn, type StoredObject } from '../store-folders.ts';
import { VOLUME } from '../installation.ts';
import { requireAllCommitted, sentFigures, sentLine } from './protect.ts';

const packsOf = async ({ folder }: DemoContext, store: DemoStore): Promise<readonly StoredObject[]> =>
  (await objectsIn(folder.store(store), VOLUME)).filter(isPack);

const storeArguments = STORES.flatMap((store) => ['--store', store]);

export const remove: Step<DemoContext> = {
  name: 'delete',
  title: 'the newest snapshot is deleted: gone from sight, its bytes still there',
  async run(context) {
    const { folder, programs, installation, story, note } = context;
    const { snapshot } = left(story.second, 'a second capture');
    const before = await Promise.all(STORES.map((store) => packsOf(context, store)));
    const begunMs = performance.now();
    await programs.holdfastJson(z.unknown(), ['snapshot', 'delete', snapshot, ...storeArguments], installation.variables);
    const commandSeconds = (performance.now() - begunMs) / 1000;
    note('listing as a user and as an operator');
    const [seen, all] = await Promise.all([listSnapshots(context, false), listSnapshots(context, true)]);
    const pending = all.filter((line) => line.id === snapshot);
    requireThat(!seen.some((line) => line.id === snapshot), 'users still see the deleted snapshot');
    requireThat(
      pending.length === STORES.length && pending.every(({ state }) => state === 'DELETE_PENDING'),
      `operators see ${JSON.stringify(pending.map(({ state }) => state))} instead of three times DELETE_PENDING`,
    );
    const after = await Promise.all(STORES.map((store) => packsOf(context, store)));
    for (const [i, store] of STORES.entries())
      requireThat(bytesOf(after[i] ?? []) >= bytesOf(before[i] ?? []), `${store} lost bytes though the delete is pending`);
    const holdsBytes = Math.max(...pending.map((line) => line.holdsBytes ?? 0));
    const held = await Promise.all(STORES.map((store) => bytesIn(folder.store(store))));
    return {
      figures: {
        ...{ snapshot, commandSeconds, usersSee: seen.filter((line) => line.store === STORES[0]).length, pendingStores: pending.length },
        ...{ waitsFor: pending[0]?.obstacle ?? null, holdsBytes },
        ...Object.fromEntries(STORES.map((store, i) => [`${store}HeldBytes`, held[i] ?? 0])),
      },
      lines: [
        `snapshot list: not there. snapshot list --all: DELETE_PENDING in ${pending.length} stores (waits: ${pending[0]?.obstacle ?? 'nothing'})`,
        `every pack still there; it alone holds ${formatBytes(holdsBytes)} in each store`,
      ],
    };
  },
};

interface Reclaimed {
  readonly store: DemoStore;
  readonly commit: number;
  readonly reclaim: number;
  readonly freedBytes: number;
}

/** What the store's log and folder say once its delete has ended. */
async function reclaimedIn(
  context: DemoContext,
  store: DemoStore,
  deleted: SnapshotId,
  committed: SnapshotId,
  before: readonly StoredObject[],
): Promise<Reclaimed> {
  const { programs, installation } = context;
  await programs.holdfastJson(z.unknown(), ['job', 'wait', `delete.${store}.${deleted}`], installation.variables);
  const [next, gone] = await lookInto(context, store, async (repository) => [
    await recordsOf(repository, committed),
    await recordsOf(repository, deleted),
  ]);
  const commit = left(next.COMMIT, `the commit of ${committed} in ${store}`);
  const reclaimRecord = left(gone.RECLAIM, `the reclaim of ${deleted} in ${store}`);
  requireThat(reclaimRecord > commit, `${store} reclaimed in record ${reclaimRecord}, before the commit in record ${commit}`);
  const there = new Set((await packsOf(context, store)).map(({ name }) => name));
  return { store, commit, reclaim: reclaimRecord, freedBytes: bytesOf(before.filter(({ name }) => !there.has(name))) };
}

export const reclaim: Step<DemoContext> = {
  name: 'reclaim',
  title: 'the next capture releases it: reclaimed after the commit, bytes given back',
  async run(context) {
    const { folder, options, story, note } = context;
    const deleted = left(story.second, 'a second capture').snapshot;
    const chosen = left(story.changed, 'changed extents');
    const before = new Map(await Promise.all(STORES.map(async (store) => [store, await packsOf(context, store)] as const)));
    await overwrite(folder.volume, chosen, options.seed, 2);
    note('the same extents change again; capturing');
    const result = await capture(context, 'third');
    const sent = requireAllCommitted(result);
    for (const one of result.stores)
      requireThat(one.kind === 'committed' && one.base === deleted, `${one.store} did not build on the snapshot that waits to be deleted`);
    note('waiting for the deletes to end; reading the logs of the stores');
    const reclaimed = await Promise.all(
      STORES.map((store) => reclaimedIn(context, store, deleted, result.snapshot, before.get(store) ?? [])),
    );
    const least = Math.min(...reclaimed.map(({ freedBytes }) => freedBytes));
    requireThat(least > 0, 'a store gave no bytes back');
    const all = await listSnapshots(context, true);
    requireThat(!all.some((line) => line.id === deleted), 'operators still see the reclaimed snapshot');
    story.third = { result, snapshot: result.snapshot, digest: null };
    const [one] = reclaimed;
    return {
      figures: {
        ...{ snapshot: result.snapshot, reclaimedSnapshot: deleted, changedExtents: result.changedExtents, ...sentFigures(sent) },
        ...{ fullBytes: chosen.length * EXTENT_BYTES },
        ...Object.fromEntries(
          reclaimed.flatMap(({ store, ...found }) =>
            Object.entries(found).map(([name, n]) => [`${store}${name[0]?.toUpperCase()}${name.slice(1)}`, n]),
          ),
        ),
      },
      lines: [
        `built on the hidden snapshot: ${sentLine(sent)}`,
        `the log of ${one?.store}: record ${one?.commit} COMMIT, record ${one?.reclaim} RECLAIM; the others alike`,
        `packs deleted: ${reclaimed.map(({ store, freedBytes }) => `${store} ${formatBytes(freedBytes)}`).join(', ')}`,
      ],
    };
  },
};
