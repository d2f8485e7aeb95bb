/**
 * Captures an image that is given as its extents, without threads: claim, seal, put, commit, with the repository's own code.
 *
 * What lies past the end of the volume is zeros, as in a capture of a file: the last extent is sealed whole.
 */
import { MAP_FANOUT, SUBTREE_EXTENTS } from '../../src/domain/limits.ts';
import type { Lineage, SnapshotId } from '../../src/domain/ids.ts';
import { claimLineage } from '../../src/engine/repository/claims.ts';
import { commitShipment } from '../../src/engine/repository/commit.ts';
import { openDestination } from '../../src/engine/repository/destination.ts';
import type { Location } from '../../src/engine/repository/location.ts';
import { PACK_HEADER, sealDirectory, type PackEntry } from '../../src/engine/repository/pack.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { ABSENT, childOf, fingerprintOf } from '../../src/engine/map/node.ts';
import type { Destination, ExtentChange, PackSize, SubtreeReceipt } from '../../src/engine/transfer/contract.ts';
import { encodeBody, sealBlob, type Codec } from '../../src/ground/sealing/blob.ts';

/** Extent number -> its bytes, as long as an extent; extents that are not named are zeros. */
export type Extents = ReadonlyMap<number, Buffer>;

export interface Image {
  readonly lineage: Lineage;
  readonly snapshot: SnapshotId;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly extents: Extents;
  readonly takenMs: number;
  readonly label: string | null;
  readonly codec: Codec;
}

const VALUES_A_PACK = 24;

export async function shipImage(repository: Repository, image: Image): Promise<void> {
  const { lineage, snapshot, sizeBytes, extentBytes, takenMs, label, codec } = image;
  await repository.sync();
  const claimed = await claimLineage(repository, { lineage, snapshot, owner: 'test', attempt: 1 });
  if (claimed.kind === 'committed') return;
  const { epoch } = claimed.claim;
  const destination = openDestination({ store: 'test', repository, lineage, epoch, codec, bringAll: false });
  // A volume that has shrunk gives up what its base had past the end.
  const spanBytes = Math.max(sizeBytes, claimed.base?.sizeBytes ?? 0);
  const subtrees = Math.ceil(spanBytes / extentBytes / SUBTREE_EXTENTS);
  const receipts: SubtreeReceipt[] = [];
  for (let subtree = 0; subtree < subtrees; subtree++) receipts.push(await shipSubtree(destination, subtree, image.extents));
  const shipment = { lineage, epoch, snapshot, sizeBytes, extentBytes, takenMs, label, receipts, consistency: 'crash' as const };
  const outcome = await commitShipment(repository, shipment);
  if (outcome.kind !== 'committed') throw new Error(`${snapshot} was not committed: ${outcome.values} values are missing`);
}

async function shipSubtree(destination: Destination, subtree: number, extents: Extents): Promise<SubtreeReceipt> {
  const changes: ExtentChange[] = [];
  const wanted = new Map<string, Buffer>();
  const leaves = SUBTREE_EXTENTS / MAP_FANOUT;
  for (let leaf = subtree * leaves; leaf < (subtree + 1) * leaves; leaf++) {
    const base = await destination.baseLeaf(leaf);
    for (let slot = 0; slot < MAP_FANOUT; slot++) {
      const extent = leaf * MAP_FANOUT + slot;
      const bytes = extents.get(extent);
      const fingerprint = bytes === undefined ? ABSENT : fingerprintOf(bytes);
      if (fingerprint.equals(base === null ? ABSENT : childOf(base, slot))) continue;
      changes.push({ extent, fingerprint });
      if (bytes !== undefined && !destination.has(fingerprint)) wanted.set(fingerprint.toString('hex'), bytes);
    }
  }
  const brought = new Map<string, Location>();
  const packs = new Map<string, PackSize>();
  const values = [...wanted];
  for (let at = 0; at < values.length; at += VALUES_A_PACK)
    await putPack(destination, subtree, values.slice(at, at + VALUES_A_PACK), brought, packs);
  return destination.finishSubtree({ subtree, changes, brought, packs });
}

/** Seals values into one pack and puts it. */
export async function putPack(
  destination: Destination,
  subtree: number,
  values: readonly (readonly [string, Buffer])[],
  brought: Map<string, Location>,
  packs: Map<string, PackSize>,
): Promise<void> {
  const pack = destination.beginPack(subtree);
  const bytes = Buffer.alloc(PACK_HEADER.length + values.reduce((sum, [, value]) => sum + value.length + 64, 0));
  bytes.set(PACK_HEADER);
  let end = PACK_HEADER.length;
  const entries: PackEntry[] = [];
  for (const [key, value] of values) {
    const fingerprint = Buffer.from(key, 'hex');
    const length = sealBlob(bytes, end, pack.packKey, fingerprint, encodeBody(value, 'extent', destination.codec));
    entries.push({ fingerprint, offset: end, length });
    brought.set(key, { pack: pack.id, offset: end, length });
    end += length;
  }
  const whole = Buffer.concat([bytes.subarray(0, end), sealDirectory(pack.packKey, entries)]);
  await destination.putPack(pack, whole);
  packs.set(pack.id.toString('hex'), { bytes: whole.length, blobs: entries.length });
}
