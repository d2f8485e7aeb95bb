/** What a token may delete: with the right, in its own name space, and nothing that is younger than its floor. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Peer } from '../../../../src/engine/replication/frames.ts';
import { hideFor, lookFor } from '../../../../src/engine/replication/receiving/hiding.ts';
import { unhideSnapshot } from '../../../../src/engine/repository/pins.ts';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import { extents, PEER, twoSites, type TwoSites } from './two-sites.ts';

let sites: TwoSites;
let snapshot: Snapshot;
beforeAll(async () => {
  sites = await twoSites();
  snapshot = await sites.capture(extents(0, 5, 1));
  await sites.send(snapshot);
});
afterAll(async () => {
  await sites[Symbol.asyncDispose]();
});

const wish = () => ({ lineage: snapshot.lineage, snapshot: snapshot.id });
const hide = (peer: Partial<Peer>, seen = 0): Promise<void> =>
  hideFor(sites.installation.home, { ...PEER, rights: ['hide'], ...peer }, { ...wish(), seen });
const look = (peer: Partial<Peer> = {}) => lookFor(sites.installation.home, { ...PEER, rights: ['hide'], ...peer }, wish());
const isHidden = async (): Promise<boolean | undefined> => {
  const target = await sites.target();
  return target.ledger().snapshots.get(snapshot.id)?.hidden;
};

test('nobody hides without the right, below the floor, or what is not its own', async () => {
  await expect(hide({ rights: ['add'] })).rejects.toMatchObject({ code: 'RECEIVER_DENIED' });
  await expect(look({ rights: ['add'] })).rejects.toMatchObject({ code: 'RECEIVER_DENIED' });
  await expect(look({ prefix: 'other-' })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
  await expect(look({ prefix: 'other-', repository: `${PEER.prefix}v` })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
  await expect(hide({ prefix: 'other-' })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
  // Another sender's name space in the same repository.
  await expect(hide({ prefix: 'other-', repository: `${PEER.prefix}v` })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
  const ageMs = Date.now() - snapshot.takenMs;
  await expect(hide({ retentionFloorMs: ageMs + 60_000 })).rejects.toMatchObject({
    code: 'RETENTION_FLOOR',
    details: { fromMs: snapshot.takenMs + ageMs + 60_000 },
  });
  expect(await isHidden()).toBe(false);
});

test('what is old enough is hidden, once, and can be shown again', async () => {
  await hide({ retentionFloorMs: Date.now() - snapshot.takenMs });
  expect(await isHidden()).toBe(true);
  await hide({ retentionFloorMs: null });
  const target = await sites.target();
  const version = target.ledger().snapshots.get(snapshot.id)?.version ?? 0;
  expect(version).toBe(1);
  await unhideSnapshot(target, snapshot.id, version);
  expect(await isHidden()).toBe(false);
});

test('a wish that comes late, after the snapshot was shown again, hides nothing', async () => {
  const { version, hidden } = await look();
  expect([version, hidden]).toEqual([2, false]);
  await hide({}, version);
  // Its answer was lost: said again it changes nothing.
  await hide({}, version);
  expect(await look()).toMatchObject({ version: 3, hidden: true });
  await unhideSnapshot(await sites.target(), snapshot.id, 3);
  await expect(hide({}, version)).rejects.toMatchObject({ code: 'VISIBILITY_CHANGED' });
  await expect(hide({}, 9)).rejects.toMatchObject({ code: 'VISIBILITY_CHANGED' });
  expect(await isHidden()).toBe(false);
  await hide({}, (await look()).version);
  expect(await isHidden()).toBe(true);
});
