/** Where a group's disks are from now on, as the catalog says it: the volumes that its disks are, then the group itself. */
import type { FailoverResult } from '../../../domain/jobs.ts';
import type { VolumeName } from '../../../domain/ids.ts';
import type { Catalog } from '../../../engine/catalog/catalog.ts';
import { findProtection, type ProtectionMoved } from '../../../engine/catalog/protections.ts';

export type Moved = Pick<FailoverResult, 'journal' | 'from' | 'to' | 'disks' | 'closedEpoch' | 'end' | 'epoch' | 'point' | 'lostMsMax'>;

/** Captures of the volumes read the new host's files. Doing it twice harms nothing. */
export async function noteMoved(catalog: Catalog, moved: Moved, how: ProtectionMoved['how']): Promise<void> {
  const { journal, from, to: host, disks, closedEpoch, end, epoch, point, lostMsMax } = moved;
  for (const { disk, path } of disks)
    await catalog.append(({ volumes }) => {
      const volume = volumes.get(disk as VolumeName);
      return volume?.node === from ? { kind: 'VOLUME_SET', volume: { ...volume, node: host, path } } : null;
    });
  await catalog.append((state) =>
    findProtection(state, journal).host === host
      ? null
      : { kind: 'PROTECTION_MOVED', journal, from, host, how, closedEpoch, end, epoch, point, lostMsMax },
  );
}
