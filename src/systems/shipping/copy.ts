/**
 * Copy: a snapshot from one store to others, only what each lacks; the catch-up of a detached store is one of these.
 *
 *     openCopy      pin the snapshot at its store, claim the lineage in each target
 *     copyPart      a subtree at a time, on any worker: walk the map against each target's base, fetch what somebody lacks
 *     (commit)      per target, as a capture's
 *     closeCopy     lift the pin
 *
 * Fingerprints are the same in every store, so what is known to a target never crosses the wire, whatever its codec and key.
 */
import { ABSENT } from '../../engine/map/node.ts';
import { diffMaps, mapRoot } from '../../engine/map/walk.ts';
import type { SnapshotId, StoreName } from '../../domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import { readLocation } from '../../engine/repository/location.ts';
import { liftPin, pinnedBy, pinSnapshot, renewPin, unpin } from '../../engine/repository/pins.ts';
import { findSnapshot, subtreeCount, subtreeRange, transferReader } from '../../engine/repository/transfer-reader.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import { copySubtree } from '../../engine/transfer/copy.ts';
import type { PlacedValue } from '../../engine/transfer/contract.ts';
import type { Attempt, ShipOptions } from './capture.ts';
import { claimStores, openDestinations, shipped, type OpenClaim, type StoreParts } from './destinations.ts';
import { createGate } from './gate.ts';
import type { CopyPlan, OpenedDestination } from './plan.ts';

export interface OpenedCopy {
  readonly snapshot: Snapshot;
  readonly subtrees: number;
  readonly pin: string;
  readonly destinations: readonly OpenedDestination[];
}

/** The pin of a copy at its source: the same for all its attempts. */
export const copyPin = (owner: string): string => `copy.${owner}`;

export async function openCopy(home: Home, plan: CopyPlan, by: Attempt): Promise<OpenedCopy> {
  const source = await home.reader(plan.from, plan.repository);
  const pin = copyPin(by.owner);
  const snapshot = pinnedBy(source, pin) ?? findSnapshot(source, plan.volume, plan.snapshot);
  await pinSnapshot(source, pin, snapshot.id, home.environment.nowMs() + PIN_MS_DEFAULT, `copied to ${plan.to.join(', ')}`.slice(0, 200));
  let largest = snapshot.sizeBytes;
  const destinations = await claimStores(home, plan.to, {
    ...{ lineage: snapshot.lineage, repository: plan.repository, snapshot: snapshot.id, ...by },
    check(base) {
      largest = Math.max(largest, base?.sizeBytes ?? 0);
    },
  }).catch(async (error: unknown) => {
    // Nobody has been told of the pin, so nobody else would lift it.
    await unpin(source, pin);
    throw error;
  });
  return {
    snapshot,
    subtrees: subtreeCount(largest, snapshot.extentBytes),
    pin,
    destinations: await Promise.all(destinations.map((one) => stillThere(home, plan, one))),
  };
}

/** A target that had the snapshot and reclaimed it has it no more, and never will: ids are not used twice. */
async function stillThere(home: Home, plan: CopyPlan, destination: OpenedDestination): Promise<OpenedDestination> {
  if (destination.kind !== 'committed') return destination;
  const { store } = destination;
  const repository = await home.reader(store, plan.repository);
  if (repository.ledger().snapshots.has(plan.snapshot)) return destination;
  return { kind: 'failed', store, failure: { code: 'SNAPSHOT_GONE', message: `${store} had ${plan.snapshot} and has reclaimed it` } };
}

export interface CopiedPart extends StoreParts {
  readonly subtree: number;
  readonly readBytes: number;
}

export async function copyPart(
  home: Home,
  plan: CopyPlan,
  snapshotId: SnapshotId,
  subtree: number,
  claims: readonly OpenClaim[],
  { pin, ...options }: ShipOptions & { readonly pin: string },
): Promise<CopiedPart> {
  const source = await home.reader(plan.from, plan.repository);
  await renewPin(source, pin, home.environment.nowMs());
  const snapshot = findSnapshot(source, plan.volume, snapshotId, true);
  const { destinations, failures } = await openDestinations(home, { repository: plan.repository, lineage: snapshot.lineage }, claims);
  const targets = await Promise.all(destinations.map(({ store }) => home.repository(store as StoreName, plan.repository)));
  const { parts, result } = await shipped(failures, () =>
    copySubtree({
      changes: changesOf(source, snapshot, targets, subtree),
      reader: transferReader(source, plan.from),
      extentBytes: snapshot.extentBytes,
      subtree,
      destinations,
      health: createGate(),
      ...options,
    }),
  );
  return { subtree, ...parts, readBytes: result?.gotBytes ?? 0 };
}

/** Extents of a subtree where the snapshot differs from the base of at least one target; at most 65,536 of them. */
async function* changesOf(
  source: RepositoryReader,
  snapshot: Snapshot,
  targets: readonly RepositoryReader[],
  subtree: number,
): AsyncGenerator<PlacedValue> {
  const after = mapRoot(snapshot.root, snapshot.rootLocation);
  const changes = new Map<number, PlacedValue>();
  const compared = new Set<string>();
  for (const target of targets) {
    const base = target.ledger().claims.get(snapshot.lineage)?.base;
    const before = base ? target.ledger().snapshots.get(base) : undefined;
    const root = before?.root ?? '';
    if (compared.has(root)) continue;
    compared.add(root);
    const from = mapRoot(before?.root ?? null, before?.rootLocation ?? null);
    for await (const change of diffMaps(from, after, target.readNode, source.readNode, subtreeRange(subtree))) {
      if (change.level > 0) continue;
      const location = change.location === null ? null : readLocation(change.location, 0);
      changes.set(change.index, { extent: change.index, fingerprint: change.new.equals(ABSENT) ? ABSENT : change.new, location });
    }
  }
  yield* [...changes.values()].sort((a, b) => a.extent - b.extent);
}

/** Lifts the pin; answers the snapshot if it is hidden and may now be due. */
export async function closeCopy(home: Home, plan: CopyPlan, pin: string): Promise<SnapshotId | null> {
  return liftPin(await home.reader(plan.from, plan.repository), pin);
}
