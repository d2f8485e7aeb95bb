/** Ships a list of values as a volume, without threads: what a test of the repository needs of the pipeline. */
import { HoldfastError } from '../../../src/domain/errors.ts';
import { EXTENT_BYTES_MIN, MAP_FANOUT, SUBTREE_EXTENTS } from '../../../src/domain/limits.ts';
import type { Lineage, SnapshotId } from '../../../src/domain/ids.ts';
import { shipAgain, type ShipAgain } from '../../../src/domain/missing.ts';
import { claimLineage } from '../../../src/engine/repository/claims.ts';
import { commitShipment, type CommitOutcome } from '../../../src/engine/repository/commit.ts';
import { openDestination } from '../../../src/engine/repository/destination.ts';
import type { Location } from '../../../src/engine/repository/location.ts';
import { directoryBytes, PACK_HEADER, sealDirectory, type PackEntry } from '../../../src/engine/repository/pack.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { ABSENT, childOf, fingerprintOf } from '../../../src/engine/map/node.ts';
import type { Destination, ExtentChange, PackSize, SubtreeReceipt } from '../../../src/engine/transfer/contract.ts';
import { BLOB_OVERHEAD, encodeBody, sealBlob, type EncodedBody } from '../../../src/ground/sealing/blob.ts';

/** Content of an extent that stands for a small number; 0 is zeros. */
export const extentOf = (value: number): Buffer => {
  const bytes = Buffer.alloc(EXTENT_BYTES_MIN);
  if (value > 0) bytes.fill(`value ${value};`);
  return bytes;
};

const fingerprints = new Map<number, Buffer>([[0, ABSENT]]);
export function fingerprintOfValue(value: number): Buffer {
  const known = fingerprints.get(value) ?? fingerprintOf(extentOf(value));
  fingerprints.set(value, known);
  return known;
}

/** Extent number -> value; absent is zero. */
export type Content = ReadonlyMap<number, number>;

export async function shipSubtree(destination: Destination, subtree: number, content: Content): Promise<SubtreeReceipt> {
  const changes: ExtentChange[] = [];
  const wanted = new Map<string, number>();
  const leaves = SUBTREE_EXTENTS / MAP_FANOUT;
  for (let leaf = subtree * leaves; leaf < (subtree + 1) * leaves; leaf++) {
    const base = await destination.baseLeaf(leaf);
    for (let slot = 0; slot < MAP_FANOUT; slot++) {
      const extent = leaf * MAP_FANOUT + slot;
      const value = content.get(extent) ?? 0;
      if (base === null && value === 0) continue;
      const fingerprint = fingerprintOfValue(value);
      if ((base === null ? ABSENT : childOf(base, slot)).equals(fingerprint)) continue;
      changes.push({ extent, fingerprint });
      if (value > 0 && !destination.has(fingerprint)) wanted.set(fingerprint.toString('hex'), value);
    }
  }
  const brought = new Map<string, Location>();
  const packs = new Map<string, PackSize>();
  for await (const pack of destination.adopted(subtree))
    for (const entry of pack.entries) {
      const key = entry.fingerprint.toString('hex');
      if (!wanted.delete(key)) continue;
      brought.set(key, { pack: pack.id, offset: entry.offset, length: entry.length });
      packs.set(pack.id.toString('hex'), { bytes: packBytes(pack.entries), blobs: pack.entries.length });
    }
  const values = [...wanted];
  for (let from = 0; from < values.length; from += 3) await putPack(destination, subtree, values.slice(from, from + 3), brought, packs);
  return destination.finishSubtree({ subtree, changes, brought, packs });
}

async function putPack(
  destination: Destination,
  subtree: number,
  values: readonly (readonly [string, number])[],
  brought: Map<string, Location>,
  packs: Map<string, PackSize>,
): Promise<void> {
  const bodies = values.map(([key, value]) => ({
    fingerprint: Buffer.from(key, 'hex'),
    body: encodeBody(extentOf(value), 'extent', destination.codec),
  }));
  await putBodies(destination, subtree, bodies, brought, packs);
}

/** A value ready to be sealed. */
export interface ValueBody {
  readonly fingerprint: Buffer;
  readonly body: EncodedBody;
}

/** Seals values of one kind into a pack and puts it. */
export async function putBodies(
  destination: Destination,
  subtree: number,
  values: readonly ValueBody[],
  brought: Map<string, Location>,
  packs: Map<string, PackSize>,
): Promise<void> {
  const pack = destination.beginPack(subtree);
  const bytes = Buffer.alloc(values.reduce((sum, { body }) => sum + body.bytes.length + BLOB_OVERHEAD, PACK_HEADER.length));
  bytes.set(PACK_HEADER);
  let end = PACK_HEADER.length;
  const entries: PackEntry[] = [];
  for (const { fingerprint, body } of values) {
    const length = sealBlob(bytes, end, pack.packKey, fingerprint, body);
    entries.push({ fingerprint, offset: end, length });
    brought.set(fingerprint.toString('hex'), { pack: pack.id, offset: end, length });
    end += length;
  }
  const whole = Buffer.concat([bytes.subarray(0, end), sealDirectory(pack.packKey, entries)]);
  await destination.putPack(pack, whole);
  packs.set(pack.id.toString('hex'), { bytes: whole.length, blobs: entries.length });
}

export interface ShipRequest {
  readonly lineage: Lineage;
  readonly snapshot: SnapshotId;
  readonly content: Content;
  readonly owner?: string;
  readonly attempt?: number;
  /** What others do between the shipping and the commit, each time. */
  readonly beforeCommit?: () => Promise<void>;
}

const subtreesOf = (content: Content): readonly number[] => [
  ...new Set([0, ...[...content.keys()].map((extent) => Math.floor(extent / SUBTREE_EXTENTS))]),
];

/** Claim, ship, commit; ships missing values again until the commit stands. */
export async function capture(
  repository: Repository,
  { lineage, snapshot, content, owner = 'test', attempt = 1, beforeCommit = async () => undefined }: ShipRequest,
): Promise<CommitOutcome> {
  await repository.sync();
  const claimed = await claimLineage(repository, { lineage, snapshot, owner, attempt });
  if (claimed.kind === 'committed') return { kind: 'committed', root: claimed.root, sentBytes: 0 };
  const { epoch } = claimed.claim;
  let again: ShipAgain = { subtrees: subtreesOf(content), bringAll: false };
  const receipts = new Map<number, SubtreeReceipt>();
  for (let answers = 1; ; answers++) {
    const destination = openDestination({ store: 'test', repository, lineage, epoch, codec: 'zstd-1', bringAll: again.bringAll });
    for (const subtree of again.subtrees) receipts.set(subtree, await shipSubtree(destination, subtree, content));
    await beforeCommit();
    const outcome = await commitShipment(repository, {
      lineage,
      epoch,
      snapshot,
      sizeBytes: 2 ** 40,
      extentBytes: EXTENT_BYTES_MIN,
      takenMs: 0,
      consistency: 'crash',
      label: null,
      receipts: [...receipts.values()],
    });
    if (outcome.kind === 'committed') return outcome;
    const next = shipAgain(outcome, answers);
    if (next === null) throw new HoldfastError('MISSING_EXTENTS', `${outcome.values} values are missing though all was brought`);
    again = next;
    await repository.sync();
  }
}

const packBytes = (entries: readonly PackEntry[]): number => {
  const last = entries.at(-1);
  return (last ? last.offset + last.length : PACK_HEADER.length) + directoryBytes(entries.length);
};
