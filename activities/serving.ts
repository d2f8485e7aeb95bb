/** Activities of disks that hosts serve: parse, call the system, translate errors. */
import { Context } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../src/domain/errors.ts';
import type { SnapshotId, VolumeName } from '../src/domain/ids.ts';
import {
  attachInput,
  captureGroupInput,
  detachInput,
  hydrateInput,
  parseInput,
  type AttachInput,
  type CaptureGroupInput,
  type DetachInput,
  type HydrateInput,
} from '../src/domain/job-inputs.ts';
import type { AttachResult } from '../src/domain/jobs.ts';
import { findVolume, type VolumeRecord } from '../src/engine/catalog/catalog.ts';
import {
  attachVolume,
  beginHydration,
  lookAtHydration,
  promote,
  type BegunHydration,
  type HydratePlan,
} from '../src/systems/serving/serving.ts';
import { translated } from './failure.ts';
import type { ActivityParts } from './shipping.ts';
import { ownerNow } from './owner.ts';
import { startCount } from './pulse.ts';

export interface GroupMember {
  readonly volume: VolumeName;
  readonly path: string;
  readonly snapshot: SnapshotId;
}

const LOOK_EVERY_MS = 500;

export const createServingActivities = ({ home, host }: ActivityParts) =>
  translated({
    async planAttach(input: AttachInput): Promise<VolumeRecord> {
      const volume = findVolume(await home.catalog.sync(), parseInput(attachInput, 'attachVolume', input).volume);
      if (volume.retired) throw new HoldfastError('VOLUME_RETIRED', `volume ${volume.name} was retired`, { volume: volume.name });
      return volume;
    },

    attachVolume: (volume: VolumeRecord): Promise<AttachResult> => attachVolume(host, volume),

    async planDetach(input: DetachInput): Promise<{ readonly host: string }> {
      const given = parseInput(detachInput, 'detachDisk', input);
      const node = (await home.catalog.sync()).volumes.get(given.disk as VolumeName)?.node;
      const where = given.host ?? node;
      if (where === undefined)
        throw new HoldfastError('DISK_NOT_FOUND', `no volume ${given.disk}; whose disk is it?`, { field: 'host', expected: '--host HOST' });
      return { host: where };
    },

    detachDisk: ({ disk, force = false }: DetachInput): Promise<void> => host.disks.detach(disk, force),

    async planHydrate(input: HydrateInput): Promise<HydratePlan> {
      const given = parseInput(hydrateInput, 'hydrateDisk', input);
      const { volume, store, snapshot = null, target, disk = null } = given;
      const { repository, node } = findVolume(await home.catalog.sync(), volume);
      return { volume, store, repository, snapshot, target, disk, host: given.host ?? node, promote: given.promote === true };
    },

    beginHydration: (plan: HydratePlan): Promise<BegunHydration> => beginHydration(home, host, plan, ownerNow()),

    /** Until the disk has all of its snapshot itself; beats with how far it is. */
    async awaitHydration(disk: string): Promise<void> {
      const count = startCount();
      const { cancellationSignal: signal } = Context.current();
      for (;;) {
        const { localBytes, sizeBytes, done } = await lookAtHydration(host, disk);
        if (done) return;
        count(localBytes, sizeBytes);
        await sleep(LOOK_EVERY_MS, undefined, { signal });
      }
    },

    promoteDisk: (plan: HydratePlan): Promise<void> => promote(home.catalog, plan.volume, plan.target, plan.host),

    async planGroup(input: CaptureGroupInput): Promise<{ readonly node: string; readonly volumes: readonly VolumeRecord[] }> {
      const { volumes: names } = parseInput(captureGroupInput, 'captureGroup', input);
      const state = await home.catalog.sync();
      const volumes = names.map((name) => findVolume(state, name));
      const [first] = volumes;
      const other = volumes.find(({ node }) => node !== first?.node);
      if (first === undefined || other !== undefined)
        throw new HoldfastError('ARGUMENT_INVALID', 'volumes of different hosts have no moment together', {
          field: 'volumes',
          expected: `volumes on ${first?.node ?? 'one host'}`,
        });
      return { node: first.node, volumes };
    },

    /** One moment of all of them, by what tells it; each capture finds its view. */
    async freezeGroup(members: readonly GroupMember[]): Promise<string> {
      const wanted = await Promise.all(
        members.map(async ({ volume, path, snapshot }) => {
          const disk = await host.disks.servedFrom(path);
          if (disk !== null) return { disk: disk.name, volume, snapshot };
          throw new HoldfastError('DISK_NOT_FOUND', `${volume} is not served, so it cannot be frozen with others`, { volume });
        }),
      );
      const [view] = await host.disks.freeze(wanted);
      if (view === undefined) throw new HoldfastError('INTERNAL', 'a freeze was answered without a view');
      return view.moment;
    },

    async releaseGroup(members: readonly GroupMember[]): Promise<void> {
      for (const { path, snapshot } of members) {
        const disk = await host.disks.servedFrom(path);
        if (disk !== null) await host.disks.closeView(disk.name, snapshot);
      }
    },
  });

export type { BegunHydration, HydratePlan };
