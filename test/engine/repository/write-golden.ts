/**
 * Writes the golden repositories: `npx node test/engine/repository/write-golden.ts NAME`, once for each name.
 *
 *     golden/<name>/        a folder store with one repository, "golden"
 *     golden/<name>.json    what it holds, for golden.test.ts and for the stranger's reader
 *
 *     format-1              all kinds of objects and of log entries that version 1 began with
 *     format-1-heal         HEAL, which came later: a lost pack, and its values where they were brought again
 *
 * One that was released is never written again: when the format changes, a new one is written beside the old ones, and all of
 * them must stay readable.
 */
import { createHash } from 'node:crypto';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { lineageOf, newSnapshotId, volumeName, type SnapshotId } from '../../../src/domain/ids.ts';
import { writeCheckpoint } from '../../../src/engine/repository/checkpoint.ts';
import { abortClaim, claimLineage } from '../../../src/engine/repository/claims.ts';
import { collect } from '../../../src/engine/repository/collector.ts';
import { changePassphrase, ensureRepository } from '../../../src/engine/repository/format.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { hideSnapshot, pinSnapshot, unhideSnapshot, unpin } from '../../../src/engine/repository/pins.ts';
import { openDestination } from '../../../src/engine/repository/destination.ts';
import type { Location } from '../../../src/engine/repository/location.ts';
import { packNameOf } from '../../../src/engine/repository/object-names.ts';
import { openRepository } from '../../../src/engine/repository/repository.ts';
import { fingerprintOf } from '../../../src/engine/map/node.ts';
import type { PackSize } from '../../../src/engine/transfer/contract.ts';
import type { Codec } from '../../../src/ground/sealing/blob.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import { within } from '../../../src/ground/stores/within.ts';
import { putPack, shipImage, type Extents } from '../../stranger/ship-image.ts';
import { GOLDEN, GOLDEN_NAME, GOLDEN_PREFIX, imageOf, plainLedger, type Golden } from './golden.ts';

const EXTENT = 16 * 1024;
const PASSPHRASE = 'the golden passphrase';

/** The same bytes each time: SHA-256 of a counter. Never do this outside of a test. */
function seeded(): (size: number) => Buffer {
  let counter = 0;
  return (size) => {
    const blocks = Array.from({ length: Math.ceil(size / 32) }, () => createHash('sha256').update(`golden ${counter++}`).digest());
    return Buffer.concat(blocks).subarray(0, size);
  };
}

const random = seeded();
const compressible = (n: number): Buffer => Buffer.alloc(EXTENT, `extent ${n};`);

const name = process.argv[2] ?? '';
const root = path.join(GOLDEN, name);
if (existsSync(root)) throw new Error(`${root} is there; what was released is never written again`);
const store = within(createFileStore({ root, create: true, durability: 'os' }), GOLDEN_PREFIX);
const options = { random, scryptN: 2 ** 10 };
const unlocked = await ensureRepository(store, GOLDEN_NAME, 'the first passphrase', 1_700_000_000_000, options);
await changePassphrase(store, unlocked, PASSPHRASE, options);
let clock = 1_700_000_000_000;
const environment = {
  writer: 'golden',
  nowMs: () => (clock += 1000),
  random,
  sleep: async () => undefined,
  alarm: (message: string) => {
    throw new Error(message);
  },
};
const repository = openRepository({ store, key: unlocked.key, table: createMemoryTable(), environment });
const images: Record<string, Golden['images'][string]> = {};

const nextId = (): SnapshotId => newSnapshotId(environment.nowMs(), () => random(1).readUInt8() / 256);

async function capture(
  volume: string,
  sizeBytes: number,
  extents: Extents,
  codec: Codec = 'zstd-1',
  snapshot = nextId(),
): Promise<SnapshotId> {
  const label = volume === 'disk' ? 'golden, größer' : null;
  const lineage = lineageOf(volumeName(volume), 1);
  await shipImage(repository, { lineage, snapshot, sizeBytes, extentBytes: EXTENT, extents, takenMs: clock, label, codec });
  images[snapshot] = {
    sizeBytes,
    sha256: createHash('sha256')
      .update(imageOf(sizeBytes, EXTENT, extents))
      .digest('hex'),
  };
  return snapshot;
}

const version = (id: SnapshotId): number => repository.ledger().snapshots.get(id)?.version ?? 0;

/** Everything that version 1 began with. */
async function writeFormat1(): Promise<void> {
  const SIZE = 300 * EXTENT + 1000;
  const content = new Map<number, Buffer>(Array.from({ length: 30 }, (_, i) => [i * 10, compressible(i)]));
  content.set(300, compressible(1000).fill(0, 1000));
  content.set(7, random(EXTENT));
  const first = await capture('disk', SIZE, content);
  for (let i = 0; i < 20; i++) content.set(i * 10, compressible(i + 100));
  const second = await capture('disk', SIZE, content);
  await capture('other', 3 * EXTENT, new Map([[0, compressible(0)], [2, compressible(400)]]), 'raw'); // prettier-ignore
  content.delete(250);
  const third = await capture('disk', SIZE, content);
  for (const id of [first, second]) await hideSnapshot(repository, id, 0, false);
  const { reclaimed, packsRewritten } = await collect(repository, { owner: 'golden', full: true });
  if (reclaimed.length !== 2 || packsRewritten === 0) throw new Error('the golden repository is to hold a reclaim and a rewrite');
  for (const id of reclaimed) delete images[id];
  await writeCheckpoint(repository);
  content.set(7, random(EXTENT));
  await capture('disk', 310 * EXTENT, content);
  await capture('old', 2 * EXTENT, new Map());
  await repository.append(() => ({ kind: 'RETIRE', lineage: lineageOf(volumeName('old'), 1) }));
  await hideSnapshot(repository, third, version(third), false);
  await unhideSnapshot(repository, third, version(third));
  await hideSnapshot(repository, third, version(third), true);
  await pinSnapshot(repository, 'reader', third, clock, 'golden');
  await pinSnapshot(repository, 'gone', third, clock, 'golden');
  await unpin(repository, 'gone');
  for (const volume of ['other', 'disk']) {
    const lineage = lineageOf(volumeName(volume), 1);
    const snapshot = newSnapshotId(environment.nowMs(), () => 0);
    const outcome = await claimLineage(repository, { lineage, snapshot, owner: 'golden', attempt: 1 });
    if (outcome.kind === 'claimed' && volume === 'other') await abortClaim(repository, lineage, outcome.claim.epoch);
  }
}

/** The pack of extents of a volume's only snapshot is lost; its next snapshot heals it, and another volume's with it. */
async function writeHeal(): Promise<void> {
  const content = new Map<number, Buffer>(Array.from({ length: 12 }, (_, i) => [i * 30, random(EXTENT)]));
  await capture('disk', 400 * EXTENT, content);
  await capture('other', 400 * EXTENT, new Map([...content].slice(0, 5)));
  await writeCheckpoint(repository);
  const row = repository.table.get(fingerprintOf(content.get(0) ?? Buffer.alloc(0)));
  if (row === null) throw new Error('the golden repository does not count what it was given');
  await store.delete([packNameOf(row.location.pack)]);
  const lineage = lineageOf(volumeName('disk'), 1);
  const snapshot = newSnapshotId(environment.nowMs(), () => 0);
  const claimed = await claimLineage(repository, { lineage, snapshot, owner: 'test', attempt: 1 });
  if (claimed.kind !== 'claimed') throw new Error('the golden lineage cannot be claimed');
  const { epoch } = claimed.claim;
  const destination = openDestination({ store: 'test', repository, lineage, epoch, codec: 'zstd-1', bringAll: false });
  const brought = new Map<string, Location>();
  const packs = new Map<string, PackSize>();
  const values = [...content.values()].map((bytes) => [fingerprintOf(bytes).toString('hex'), bytes] as const);
  await putPack(destination, 0, values, brought, packs);
  const { moved } = await destination.heal([row.location.pack], brought, packs);
  if (moved !== content.size) throw new Error('the golden repository is to hold a heal of all that was lost');
  content.delete(30);
  await capture('disk', 400 * EXTENT, content, 'zstd-1', snapshot);
}

const PLOTS: Readonly<Record<string, () => Promise<void>>> = { 'format-1': writeFormat1, 'format-1-heal': writeHeal };
const plot = PLOTS[name];
if (plot === undefined) throw new Error(`a name is expected: ${Object.keys(PLOTS).join(', ')}`);
await plot();
const golden: Golden = { passphrase: PASSPHRASE, images, ledger: plainLedger(repository.ledger()) };
writeFileSync(`${root}.json`, `${JSON.stringify(golden, null, 2)}\n`);
rmSync(path.join(root, '.tmp'), { recursive: true });
