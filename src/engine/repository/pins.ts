/** Pins: who reads a snapshot holds it. A lapse is a record (UNPIN) that anyone may put once the time has passed, never a clock inside the fold. */
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import type { Repository } from './repository.ts';

/** Pins a live snapshot under a name of the caller's. Again with the same name: renewed. SNAPSHOT_GONE when it is not live. */
export async function pinSnapshot(repository: Repository, pin: string, snapshot: SnapshotId, untilMs: number, why: string): Promise<void> {
  await repository.append((ledger) => {
    const there = ledger.pins.get(pin);
    return there?.snapshot === snapshot && there.untilMs >= untilMs ? null : { kind: 'PIN', pin, snapshot, untilMs, why };
  });
}

export async function unpin(repository: Repository, pin: string): Promise<void> {
  await repository.append((ledger) => (ledger.pins.has(pin) ? { kind: 'UNPIN', pin } : null));
}

/** Lifts pins whose time has passed; their readers have died or stopped renewing. */
export async function lapsePins(repository: Repository, nowMs: number): Promise<number> {
  const lapsed = [...(await repository.sync()).pins].filter(([, pin]) => pin.untilMs < nowMs);
  for (const [name] of lapsed)
    await repository.append((ledger) => ((ledger.pins.get(name)?.untilMs ?? Infinity) < nowMs ? { kind: 'UNPIN', pin: name } : null));
  return lapsed.length;
}

/** Hides a snapshot from users. Nothing to do when it is hidden already (and as purged, if that is asked). */
export async function hideSnapshot(repository: Repository, snapshot: SnapshotId, purge: boolean): Promise<void> {
  await repository.append((ledger) => {
    const there = ledger.snapshots.get(snapshot);
    if (!there) return null;
    return there.hidden && (there.purge || !purge) ? null : { kind: 'HIDE', snapshot, version: there.version, purge };
  });
}

/** Shows a hidden snapshot again. SNAPSHOT_NOT_FOUND once it was reclaimed. */
export async function unhideSnapshot(repository: Repository, snapshot: SnapshotId): Promise<void> {
  await repository.append((ledger) => {
    const there = ledger.snapshots.get(snapshot);
    if (!there) throw new HoldfastError('SNAPSHOT_NOT_FOUND', 'the snapshot is not there any more', { snapshot });
    return there.hidden ? { kind: 'UNHIDE', snapshot, version: there.version } : null;
  });
}
