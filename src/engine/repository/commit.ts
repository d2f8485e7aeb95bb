/**
 * Committing a shipment: the top of the map, the root part of the change, one COMMIT.
 *
 * The writer owes the log this: every new value of the diff is brought by the change, or counted in the table at n. What it
 * relies on without bringing it is judged again after each lost race, for another lineage's reclaim may have taken the last
 * run of a value meanwhile (R2: dead is missing, even while its bytes are there). Then nothing is put; the answer names the
 * subtrees to ship again (domain/missing.ts says how often). The top is always brought: it is built anew for each commit,
 * and a node of it that an old snapshot happens to share would be one more thing that may die unjudged.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Lineage, SnapshotId } from '../../domain/ids.ts';
import { GROUP_TOP } from '../../domain/limits.ts';
import type { MissingAnswer } from '../../domain/missing.ts';
import { isAbsent } from '../map/node.ts';
import { updateTop, type ReadChildren } from '../map/update.ts';
import { childrenAt, mapRoot } from '../map/walk.ts';
import type { OpenPack, SubtreeReceipt } from '../transfer/contract.ts';
import { comparePositions } from './change.ts';
import { claimAt } from './claims.ts';
import { storeNodes, tryNames } from './destination.ts';
import type { ChangeRef, Entry, EntryOf } from './entries.ts';
import { LOCATION_BYTES, readLocation, writeLocation, type Location } from './location.ts';
import { changeName, encodePackId, packName } from './object-names.ts';
import { packKeyOf } from './pack.ts';
import type { Repository } from './repository.ts';

export interface Shipment {
  readonly lineage: Lineage;
  readonly epoch: number;
  readonly snapshot: SnapshotId;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly takenMs: number;
  readonly consistency: EntryOf<'COMMIT'>['consistency'];
  readonly label: string | null;
  /** One for every subtree that changed; order is that of the change's parts. */
  readonly receipts: readonly SubtreeReceipt[];
}

export type CommitOutcome =
  | { readonly kind: 'committed'; readonly root: string | null; readonly sentBytes: number }
  /** So many values relied on have died; nothing was put. */
  | ({ readonly kind: 'missing'; readonly values: number } & MissingAnswer);

/** What a change uses without bringing it: 32 bytes a value, with the subtree that uses it. */
interface Reliance {
  readonly subtree: number;
  readonly fingerprints: Buffer;
}

class Missing extends Error {
  readonly answer: MissingAnswer;
  readonly values: number;
  constructor(answer: MissingAnswer, values: number) {
    super('values relied on are missing');
    this.answer = answer;
    this.values = values;
  }
}

export async function commitShipment(repository: Repository, shipment: Shipment): Promise<CommitOutcome> {
  await repository.sync();
  const done = repository.ledger().used.get(shipment.snapshot);
  if (done !== undefined) return { kind: 'committed', root: done, sentBytes: 0 };
  const top = await buildTop(repository, shipment);
  const reliances = await relyOn(repository, shipment);
  try {
    await repository.append((ledger) => {
      if (ledger.used.has(shipment.snapshot)) return null;
      refuseMissing(repository, ledger.n, reliances);
      return top.entry;
    });
  } catch (error) {
    if (error instanceof Missing) return { kind: 'missing', values: error.values, ...error.answer };
    throw error;
  }
  const root = repository.ledger().used.get(shipment.snapshot);
  if (root === undefined)
    throw new HoldfastError('RECORD_REFUSED', 'the commit stands in the log and is void', { snapshot: shipment.snapshot });
  return { kind: 'committed', root, sentBytes: top.sentBytes };
}

/** Judged on the table at n, not on one that another process has moved meanwhile. */
function refuseMissing(repository: Repository, n: number, reliances: readonly Reliance[]): void {
  const moved = (): boolean => !repository.standsAt(n);
  const subtrees: number[] = [];
  let values = 0;
  const before = moved();
  for (const { subtree, fingerprints } of reliances) {
    let missing = 0;
    for (let at = 0; at < fingerprints.length; at += 32) if (repository.table.get(fingerprints.subarray(at, at + 32)) === null) missing++;
    if (missing > 0) subtrees.push(subtree);
    values += missing;
  }
  if (before || moved()) throw new HoldfastError('CONTENTION', 'the table has moved on while a commit was judged', { n });
  if (values > 0) throw new Missing({ subtrees, relying: reliances.map(({ subtree }) => subtree) }, values);
}

/** Reads each part once and keeps what it uses but does not bring. */
async function relyOn(repository: Repository, shipment: Shipment): Promise<readonly Reliance[]> {
  const reliances: Reliance[] = [];
  for (const receipt of shipment.receipts) {
    if (receipt.part === null) continue;
    const part = await repository.changes.read(receipt.part);
    if (part === null) {
      // Parts go once their claim is closed: then somebody else has taken over.
      await repository.sync();
      claimAt(repository, shipment.lineage, shipment.epoch);
      throw new HoldfastError('OBJECT_MISSING', `${receipt.part.name} is not in the store`, { object: receipt.part.name });
    }
    const brought = new Set(part.values.map((value) => value.fingerprint.toString('hex')));
    const relied = part.diff.filter((row) => !isAbsent(row.new) && !brought.has(row.new.toString('hex'))).map((row) => row.new);
    if (relied.length > 0) reliances.push({ subtree: receipt.subtree, fingerprints: Buffer.concat(relied) });
  }
  return reliances;
}

interface BuiltTop {
  readonly entry: Entry;
  readonly sentBytes: number;
}

async function buildTop(repository: Repository, shipment: Shipment): Promise<BuiltTop> {
  const { lineage, epoch, receipts } = shipment;
  const claim = claimAt(repository, lineage, epoch);
  const base = claim.base === null ? undefined : repository.ledger().snapshots.get(claim.base);
  const root = mapRoot(base?.root ?? null, base?.rootLocation ?? null);
  const readChildren: ReadChildren = async (level, index) => (await childrenAt(root, repository.readNode, level, index))?.children ?? null;
  const changed = receipts.filter((receipt) => receipt.part !== null).sort((a, b) => a.subtree - b.subtree);
  const update = await updateTop(
    changed.map((receipt) => ({
      index: receipt.subtree,
      fingerprint: receipt.node === null ? Buffer.alloc(32) : Buffer.from(receipt.node, 'hex'),
    })),
    readChildren,
  );
  const names = tryNames(epoch, repository.environment.random(4).readUInt32BE(0));
  const beginPack = (): OpenPack => {
    const object = names.pack(GROUP_TOP);
    const name = packName(object);
    return { id: encodePackId(object), name, packKey: packKeyOf(repository.key, name) };
  };
  const subtreeLocations = new Map<string, Location>();
  for (const receipt of changed) {
    const at = receipt.nodeLocation === null ? null : readLocation(Buffer.from(receipt.nodeLocation, 'hex'), 0);
    if (receipt.node !== null && at !== null) subtreeLocations.set(receipt.node, at);
  }
  const stored = await storeNodes(repository, update.nodes, beginPack, {
    bringAll: true,
    brought: subtreeLocations,
    baseNode: (level, index) => childrenAt(root, repository.readNode, level, index),
  });
  const change: ChangeRef = await repository.changes.write(changeName(names.change(GROUP_TOP)), {
    diff: [...update.diff].sort(comparePositions),
    values: stored.values,
    minus: [],
    packs: stored.packs,
    parts: changed.flatMap((receipt) => receipt.part ?? []),
  });
  const rootHex = isAbsent(update.top) ? null : update.top.toString('hex');
  const location = rootHex === null ? null : (stored.locations.get(rootHex) ?? repository.locate(update.top));
  const rootLocation = Buffer.alloc(LOCATION_BYTES);
  if (location) writeLocation(rootLocation, 0, location);
  return {
    sentBytes: stored.sentBytes,
    entry: {
      kind: 'COMMIT',
      lineage,
      epoch,
      snapshot: shipment.snapshot,
      root: rootHex,
      rootLocation: location ? rootLocation.toString('hex') : null,
      sizeBytes: shipment.sizeBytes,
      extentBytes: shipment.extentBytes,
      parent: claim.base,
      change,
      takenMs: shipment.takenMs,
      consistency: shipment.consistency,
      label: shipment.label,
    },
  };
}
