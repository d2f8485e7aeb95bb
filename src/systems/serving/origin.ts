/** The snapshot that a disk is restored from while it is served: pinned, and read as long as the disk lacks some of it. */
import { HoldfastError } from '../../domain/errors.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { SnapshotOriginRecord } from '../../engine/volumes/disks/disk-record.ts';
import { liftPin, renewPin } from '../../engine/repository/pins.ts';
import { snapshotContent } from '../../engine/volumes/hydration/snapshot-origin.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import type { PinnedOrigin } from './disk-filling.ts';

/** Looked at so often; renewed once a third of a pin's time has passed. */
const RENEW_EVERY_MS = 3600 * 1000;

export interface OriginParts {
  readonly home: Home;
  readonly threads: Threads;
}

/** `parts`: opened when they are first needed. */
export function pinnedOrigin(parts: () => Promise<OriginParts>, from: SnapshotOriginRecord): PinnedOrigin {
  const { store, repository, snapshot: id, pin } = from;
  return {
    name: id,
    async open() {
      const { home, threads } = await parts();
      const reader = await home.reader(store, repository);
      const snapshot = reader.ledger().snapshots.get(id);
      if (snapshot === undefined) throw new HoldfastError('SNAPSHOT_GONE', `snapshot ${id} was reclaimed`, { snapshot: id, store });
      const renew = (): Promise<void> => renewPin(reader, pin, home.environment.nowMs());
      await renew();
      const renewing = setInterval(() => {
        renew().catch((error: unknown) => home.environment.alarm('a pin could not be renewed', { pin, error: String(error) }));
      }, RENEW_EVERY_MS);
      return {
        ...snapshotContent({ reader, snapshot, threads, store }),
        [Symbol.asyncDispose]: async () => clearInterval(renewing),
      };
    },
    async lift() {
      const { home } = await parts();
      await liftPin(await home.reader(store, repository), pin);
    },
  };
}
