/**
 * Pins and visibility: what users and readers say of one snapshot.
 *
 * Who reads a snapshot pins it. A lapse is a record (UNPIN) that anyone may put once the time has passed, never a clock
 * inside the fold.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../domain/limits.ts';
import type { Ledger, Pin, Snapshot } from './ledger.ts';
import type { RepositoryReader } from './reader.ts';

/** Pins a live snapshot under a name of the caller's. Again with the same name: renewed. SNAPSHOT_GONE when it is not live. */
export async function pinSnapshot(
  repository: RepositoryReader,
  pin: string,
  snapshot: SnapshotId,
  untilMs: number,
  why: string,
): Promise<void> {
  await repository.append((ledger) => {
    const there = ledger.pins.get(pin);
    return there?.snapshot === snapshot && there.untilMs >= untilMs ? null : { kind: 'PIN', pin, snapshot, untilMs, why };
  });
}

/**
 * Renews the pin of a long reader once a third of its time has passed. Nothing to do before that, and nothing once it was
 * lifted: a reader that was left behind does not hold what its successor has let go.
 */
export async function renewPin(repository: RepositoryReader, pin: string, nowMs: number): Promise<void> {
  const due = (ledger: Ledger): Pin | null => {
    const there = ledger.pins.get(pin);
    return there && there.untilMs - nowMs < (PIN_MS_DEFAULT * 2) / 3 ? there : null;
  };
  if (due(repository.ledger()) === null) return;
  await repository.append((ledger) => {
    const there = due(ledger);
    return there && { kind: 'PIN', pin, snapshot: there.snapshot, untilMs: nowMs + PIN_MS_DEFAULT, why: there.why };
  });
}

/** Lifts a pin. Answers the snapshot that it held if that one is hidden: a delete may be waiting for it. */
export async function liftPin(repository: RepositoryReader, pin: string): Promise<SnapshotId | null> {
  let held: SnapshotId | null = null;
  await repository.append((ledger) => {
    held = ledger.pins.get(pin)?.snapshot ?? null;
    return held === null ? null : { kind: 'UNPIN', pin };
  });
  return held !== null && repository.ledger().snapshots.get(held)?.hidden === true ? held : null;
}

/** What a pin holds: an attempt that comes after one that was killed goes on with it, though it was hidden meanwhile. */
export function pinnedBy(repository: RepositoryReader, pin: string): Snapshot | null {
  const ledger = repository.ledger();
  const held = ledger.pins.get(pin)?.snapshot;
  return held === undefined ? null : (ledger.snapshots.get(held) ?? null);
}

export async function unpin(repository: RepositoryReader, pin: string): Promise<void> {
  await liftPin(repository, pin);
}

/** Lifts pins whose time has passed; their readers have died or stopped renewing. */
export async function lapsePins(repository: RepositoryReader, nowMs: number): Promise<number> {
  const lapsed = [...(await repository.sync()).pins].filter(([, pin]) => pin.untilMs < nowMs);
  for (const [name] of lapsed)
    await repository.append((ledger) => ((ledger.pins.get(name)?.untilMs ?? Infinity) < nowMs ? { kind: 'UNPIN', pin: name } : null));
  return lapsed.length;
}

/**
 * Hides a snapshot from users. `seen` is its visibility version when the caller decided: a request that is delivered again
 * after somebody has shown the snapshot is refused, not carried out twice (hole 17).
 */
export async function hideSnapshot(repository: RepositoryReader, snapshot: SnapshotId, seen: number, purge: boolean): Promise<void> {
  await repository.append((ledger) => {
    const there = ledger.snapshots.get(snapshot);
    if (!there) return null;
    if (there.hidden && (there.purge || !purge) && there.version > seen) return null;
    return { kind: 'HIDE', snapshot, version: seen, purge };
  });
}

/** Shows a hidden snapshot again; `seen` as above. SNAPSHOT_NOT_FOUND once it was reclaimed. */
export async function unhideSnapshot(repository: RepositoryReader, snapshot: SnapshotId, seen: number): Promise<void> {
  await repository.append((ledger) => {
    const there = ledger.snapshots.get(snapshot);
    if (!there) throw new HoldfastError('SNAPSHOT_NOT_FOUND', 'the snapshot is not there any more', { snapshot });
    return !there.hidden && there.version > seen ? null : { kind: 'UNHIDE', snapshot, version: seen };
  });
}
