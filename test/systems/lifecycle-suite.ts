/**
 * What a node and a controller both do (system A), as one suite: list, restore, verify, delete, undelete, reclaim.
 *
 * It is given a repository and nothing else: no volume, no catalog, no home. Whatever passes here with the node alive has to pass
 * with the node, the volume and the catalog gone.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SnapshotId, VolumeName } from '../../src/domain/ids.ts';
import { audit } from '../../src/engine/repository/audit.ts';
import type { RepositoryReader } from '../../src/engine/repository/reader.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { subtreeCount } from '../../src/engine/repository/transfer-reader.ts';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { collectGarbage, hide, inspect, planDelete, reclaimDue, undelete } from '../../src/systems/lifecycle/deletion.ts';
import { listSnapshots } from '../../src/systems/lifecycle/listing.ts';
import { snapshotsToVerify, verifyPart } from '../../src/systems/lifecycle/verification.ts';
import { digestOfImage } from './image.ts';
import { restoreSnapshot } from './restore-snapshot.ts';

/** A place where the operations run: who is there besides the store is the place's business. */
export interface Place extends AsyncDisposable {
  readonly repository: Repository;
  /** The same, opened to be read. */
  readonly reader: RepositoryReader;
  readonly threads: Threads;
  readonly volume: VolumeName;
  /** Where restores go. */
  readonly folder: string;
  /** Three snapshots that were captured there, oldest first, with the digests of what was captured. */
  readonly captured: readonly { readonly snapshot: SnapshotId; readonly digest: string }[];
}

export function lifecycleSuite(name: string, open: () => Promise<Place>): void {
  describe(`the lifecycle on ${name}`, () => {
    let place: Place;
    beforeAll(async () => {
      place = await open();
    });
    afterAll(async () => place[Symbol.asyncDispose]());

    const at = (index: number) => {
      const found = place.captured.at(index);
      if (!found) throw new Error(`no snapshot ${index} was captured`);
      return found;
    };
    const listed = (all = false) => listSnapshots(place.repository, { volume: place.volume, all });
    const seen = async (snapshot: SnapshotId) => {
      const inspection = await inspect(place.reader, snapshot);
      if (inspection.kind === 'gone') throw new Error(`${snapshot} is gone`);
      return inspection.seen;
    };
    const restores = async (index: number): Promise<boolean> => {
      const target = path.join(place.folder, `restored.${index}`);
      const { snapshot, digest } = at(index);
      await restoreSnapshot(place.reader, place.threads, { volume: place.volume, snapshot, target });
      const same = digestOfImage(target) === digest;
      rmSync(target);
      return same;
    };

    test('lists what is there, with its table and without', async () => {
      expect(listed().map(({ id, state }) => [id, state])).toEqual(place.captured.map(({ snapshot }) => [snapshot, 'AVAILABLE']));
      await place.reader.sync();
      expect(listSnapshots(place.reader, { volume: place.volume })).toEqual(listed());
    });

    test('restores each snapshot bit for bit, and leaves no pin', async () => {
      for (const index of place.captured.keys()) expect([index, await restores(index)]).toEqual([index, true]);
      expect((await place.repository.sync()).pins.size).toBe(0);
    });

    test('verifies every value', async () => {
      for (const snapshot of snapshotsToVerify(place.repository, place.volume, null))
        for (let subtree = 0; subtree < subtreeCount(snapshot.sizeBytes, snapshot.extentBytes); subtree++) {
          const part = await verifyPart(place.repository, 'store', snapshot, subtree, { depth: 'all', seed: 1, threads: place.threads });
          expect(part.damaged).toEqual([]);
          expect(part.values).toBeGreaterThan(0);
        }
    });

    test('plans a delete, and the plan changes nothing', async () => {
      const plan = await planDelete(place.repository, at(1).snapshot);
      expect(plan).toMatchObject({ snapshot: at(1).snapshot, waitsFor: null });
      expect(plan.values).toBeGreaterThan(0);
      expect(listed()).toHaveLength(3);
    });

    test('hides the newest, which stays as the base, and shows it again', async () => {
      const newest = at(-1).snapshot;
      await hide(place.repository, await seen(newest), false);
      expect(listed().map(({ id }) => id)).not.toContain(newest);
      expect((await reclaimDue(place.repository, 'suite')).reclaimed).toEqual([]);
      expect(listed(true).find(({ id }) => id === newest)).toMatchObject({
        state: 'DELETE_PENDING',
        obstacle: 'newest of a living lineage',
      });
      await undelete(place.repository, await seen(newest));
      expect(listed()).toHaveLength(3);
      expect(await restores(2)).toBe(true);
    });

    test('a delete that is delivered again after an undelete is refused, not carried out', async () => {
      const { snapshot } = at(0);
      const asked = await seen(snapshot);
      await hide(place.repository, asked, false);
      await undelete(place.repository, await seen(snapshot));
      await expect(hide(place.repository, asked, false)).rejects.toMatchObject({ code: 'VISIBILITY_CHANGED' });
      expect(listed()).toHaveLength(3);
    });

    test('deletes and reclaims the one in the middle; its neighbours stay whole', async () => {
      const { snapshot } = at(1);
      await hide(place.repository, await seen(snapshot), false);
      expect((await reclaimDue(place.repository, 'suite')).reclaimed).toEqual([snapshot]);
      expect(await inspect(place.repository, snapshot)).toEqual({ kind: 'gone' });
      expect(await restores(0)).toBe(true);
      expect(await restores(2)).toBe(true);
      await collectGarbage(place.repository, 'suite');
      expect(await audit(place.repository)).toEqual([]);
    });

    test('purges the newest, and what is left stays whole', async () => {
      const newest = at(-1).snapshot;
      await hide(place.repository, await seen(newest), true);
      expect((await reclaimDue(place.repository, 'suite')).reclaimed).toEqual([newest]);
      expect(await restores(0)).toBe(true);
      await collectGarbage(place.repository, 'suite');
      expect(await audit(place.repository)).toEqual([]);
    });
  });
}
