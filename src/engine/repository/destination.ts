/**
 * An open claim as a destination of the pipeline: what it has, what it adopts, where packs go, and how a subtree's changes
 * become map nodes and a change part.
 *
 * Made anew by any process from (lineage, epoch): everything it knows is in the log and below the claim's prefix. Names
 * carry 32 random bits a try, so two tries of one piece of work never write one name; only the commit says which count.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { GROUP_TOP, PACK_BYTES_MAX } from '../../domain/limits.ts';
import type { Lineage } from '../../domain/ids.ts';
import { encodeBody, sealBlob, type Codec } from '../../ground/sealing/blob.ts';
import { listAll } from '../../ground/stores/object-store.ts';
import { childOf, isAbsent } from '../map/node.ts';
import { updateSubtree, type NewNode, type ReadChildren } from '../map/update.ts';
import { childrenAt, mapRoot, type NodeView } from '../map/walk.ts';
import type { AdoptedPack, Destination, OpenPack, PackSize, ShippedSubtree, SubtreeReceipt } from '../transfer/contract.ts';
import { comparePositions, emptyPart, type ChangePart, type DiffRow, type PackRow, type ValueRow } from './change.ts';
import { claimAt } from './claims.ts';
import { healValues, type HealOutcome } from './heal.ts';
import { LOCATION_BYTES, readLocation, writeLocation, type Location } from './location.ts';
import { nodeBlob } from './nodes.ts';
import { changeName, encodePackId, groupPrefix, packName, parseClaimObject, type ClaimObject } from './object-names.ts';
import {
  directoryBytes,
  openDirectory,
  PACK_HEADER,
  packKeyOf,
  parseTrailer,
  sealDirectory,
  TRAILER_BYTES,
  type PackEntry,
} from './pack.ts';
import type { Repository } from './repository.ts';

export interface DestinationOptions {
  readonly store: string;
  readonly repository: Repository;
  readonly lineage: Lineage;
  readonly epoch: number;
  readonly codec: Codec;
  /** Whether all that differs from the base is brought, so that the commit relies on nothing that may die; see domain/missing.ts. */
  readonly bringAll: boolean;
}

/** A destination that can also say where values lie now whose bytes the repository has lost. */
export interface HealingDestination extends Destination {
  /**
   * Moves what the table counts in `lost` (ids of packs that a proof found wanting) to where this claim has brought it.
   *
   * `brought` says by fingerprint in hex where the value lies now, `packs` by id in hex how large those packs are: packs of this
   * claim or of one that it keeps, confirmed by the store, extents and nodes alike. What does not lie in `lost` (any more) stays as
   * it is, so doing it again moves nothing and appends nothing. `moved` counts values; `locate` answers the new places when it
   * resolves. CLAIM_LOST when the claim is closed; then nothing was moved that did not count already.
   */
  heal(
    lost: readonly Buffer[],
    brought: ReadonlyMap<string, Location>,
    packs: ReadonlyMap<string, PackSize>,
    signal?: AbortSignal,
  ): Promise<HealOutcome>;
}

/** Names of one try under a claim. */
export interface TryNames {
  pack(group: number): ClaimObject;
  change(group: number): ClaimObject;
}

export function tryNames(claim: number, attempt: number): TryNames {
  let packs = 0;
  let changes = 0;
  return {
    pack: (group) => ({ claim, group, attempt, index: packs++ }),
    change: (group) => ({ claim, group, attempt, index: changes++ }),
  };
}

export function openDestination({ store, repository, lineage, epoch, codec, bringAll }: DestinationOptions): HealingDestination {
  const claim = claimAt(repository, lineage, epoch);
  const base = claim.base === null ? undefined : repository.ledger().snapshots.get(claim.base);
  const root = mapRoot(base?.root ?? null, base?.rootLocation ?? null);
  const names = tryNames(epoch, repository.environment.random(4).readUInt32BE(0));
  const readChildren: ReadChildren = async (level, index) => (await childrenAt(root, repository.readNode, level, index))?.children ?? null;

  const openPack = (group: number): OpenPack => {
    const object = names.pack(group);
    const name = packName(object);
    return { id: encodePackId(object), name, packKey: packKeyOf(repository.key, name) };
  };

  return {
    store,
    codec,
    baseLeaf: (leaf) => readChildren(1, leaf),
    // What the base holds at the same position differs from nothing and is never asked for: the claim protects it.
    has: (fingerprint) => !bringAll && repository.table.get(fingerprint) !== null,
    adopted: (subtree, signal) => adoptedPacks(repository, [epoch, ...claim.kept], subtree, signal),
    beginPack: openPack,
    async putPack(pack, bytes, signal) {
      await repository.store.put(pack.name, bytes, signal ? { signal } : {});
    },
    async finishSubtree(shipped, signal) {
      const update = await updateSubtree(
        shipped.subtree,
        shipped.changes.map((change) => ({ index: change.extent, fingerprint: change.fingerprint })),
        readChildren,
      );
      const stored = await storeNodes(repository, update.nodes, () => openPack(shipped.subtree), {
        bringAll,
        brought: shipped.brought,
        baseNode: (level, index) => childrenAt(root, repository.readNode, level, index),
        signal,
      });
      const part =
        update.diff.length + update.nodes.length === 0
          ? null
          : await repository.changes.write(changeName(names.change(shipped.subtree)), partOf(shipped, update.diff, stored));
      return receiptOf(shipped, update.top, stored, part);
    },
    heal: (lost, brought, packs, signal) =>
      healValues(
        repository,
        { actor: lineage, epoch, nextName: () => changeName(names.change(GROUP_TOP)) },
        { lost, brought, packs, signal },
      ),
  };
}

/** The change part of a subtree: its rows, and of what was brought that which the rows use. */
function partOf(shipped: ShippedSubtree, diff: readonly DiffRow[], stored: StoredNodes): ChangePart {
  const used = new Set(diff.map((row) => row.new.toString('hex')));
  const values: ValueRow[] = [...stored.values];
  for (const [fingerprint, location] of shipped.brought)
    if (used.has(fingerprint)) values.push({ fingerprint: Buffer.from(fingerprint, 'hex'), location });
  const inUse = new Set(values.map((value) => value.location.pack.toString('hex')));
  const packs: PackRow[] = [...stored.packs];
  for (const [id, size] of shipped.packs) if (inUse.has(id)) packs.push({ id: Buffer.from(id, 'hex'), kind: 'extent', ...size });
  return { ...emptyPart, diff: [...diff].sort(comparePositions), values, packs };
}

function receiptOf(shipped: ShippedSubtree, top: Buffer, stored: StoredNodes, part: SubtreeReceipt['part']): SubtreeReceipt {
  const location = stored.locations.get(top.toString('hex'));
  const row = Buffer.alloc(LOCATION_BYTES);
  if (location) writeLocation(row, 0, location);
  return {
    subtree: shipped.subtree,
    node: isAbsent(top) ? null : top.toString('hex'),
    nodeLocation: location ? row.toString('hex') : null,
    part,
    changedExtents: shipped.changes.length,
    newExtents: shipped.brought.size,
    sentBytes: stored.sentBytes + [...shipped.packs.values()].reduce((sum, pack) => sum + pack.bytes, 0),
  };
}

export interface StoredNodes {
  /** By fingerprint in hex: where each new node lies, those relied on included. */
  readonly locations: ReadonlyMap<string, Location>;
  readonly values: readonly ValueRow[];
  readonly packs: readonly PackRow[];
  readonly sentBytes: number;
}

interface NodeContext {
  /** Whether nodes that the repository counts are stored all the same. */
  readonly bringAll: boolean;
  readonly brought: ReadonlyMap<string, Location>;
  readonly baseNode: (level: number, index: number) => Promise<NodeView | null>;
  readonly signal?: AbortSignal | undefined;
}

/** Seals new nodes into packs of their own, leaves first, each with what is known of where its children lie. */
export async function storeNodes(
  repository: Repository,
  nodes: readonly NewNode[],
  begin: () => OpenPack,
  context: NodeContext,
): Promise<StoredNodes> {
  const locations = new Map<string, Location>();
  const values: ValueRow[] = [];
  const packs: PackRow[] = [];
  let sentBytes = 0;
  let open: { readonly pack: OpenPack; readonly bytes: Buffer; readonly entries: PackEntry[]; end: number } | null = null;

  // Of a node that changes most children are as they were. The base says where they lie, and that holds as long as the
  // pack is there: one look at the table for a pack, not for each of its values.
  const packsSeen = new Map<string, boolean>();
  const isPackThere = (id: Buffer): boolean => {
    const name = id.toString('latin1');
    const seen = packsSeen.get(name) ?? repository.table.pack(id) !== null;
    packsSeen.set(name, seen);
    return seen;
  };

  const close = async (): Promise<void> => {
    if (open === null) return;
    const { pack, bytes, entries, end } = open;
    open = null;
    const whole = Buffer.concat([bytes.subarray(0, end), sealDirectory(pack.packKey, entries)]);
    await repository.store.put(pack.name, whole, context.signal ? { signal: context.signal } : {});
    sentBytes += whole.length;
    packs.push({ id: pack.id, kind: 'node', blobs: entries.length, bytes: whole.length });
  };

  for (const node of nodes) {
    const key = node.fingerprint.toString('hex');
    if (locations.has(key)) continue;
    const known = context.bringAll ? null : repository.locate(node.fingerprint);
    if (known) {
      locations.set(key, known);
      continue;
    }
    const base = await context.baseNode(node.level, node.index);
    const blob = nodeBlob(node.bytes, node.children, (slot, child) => {
      const kept = base !== null && childOf(base.children, slot).equals(child) ? readLocation(base.locations, slot * LOCATION_BYTES) : null;
      if (kept !== null && isPackThere(kept.pack)) return kept;
      const name = child.toString('hex');
      return context.brought.get(name) ?? locations.get(name) ?? repository.locate(child);
    });
    const body = encodeBody(blob, 'node', 'zstd-1');
    open ??= { pack: begin(), bytes: Buffer.alloc(NODE_PACK_BYTES + 64 * 1024), entries: [], end: PACK_HEADER.length };
    if (open.entries.length === 0) open.bytes.set(PACK_HEADER);
    const length = sealBlob(open.bytes, open.end, open.pack.packKey, node.fingerprint, body);
    open.entries.push({ fingerprint: node.fingerprint, offset: open.end, length });
    const location = { pack: open.pack.id, offset: open.end, length };
    locations.set(key, location);
    values.push({ fingerprint: node.fingerprint, location });
    open.end += length;
    if (open.end + directoryBytes(open.entries.length) > NODE_PACK_BYTES) await close();
  }
  await close();
  return { locations, values, packs, sentBytes };
}

/** A full subtree has 257 nodes of at most 14.4 KiB: 3.7 MB. */
const NODE_PACK_BYTES = PACK_BYTES_MAX / 4;

/** Directories of the packs that these claims have put for a group. A pack that does not open is litter and is passed over. */
async function* adoptedPacks(
  repository: Repository,
  claims: readonly number[],
  group: number,
  signal?: AbortSignal,
): AsyncGenerator<AdoptedPack> {
  const options = signal ? { signal } : {};
  for (const claim of claims)
    for await (const { name, sizeBytes } of listAll(repository.store, groupPrefix(claim, group), options)) {
      const object = parseClaimObject(name);
      if (object?.kind !== 'pack') continue;
      try {
        const entries = await readDirectory(repository, name, sizeBytes, signal);
        if (entries) yield { id: encodePackId(object), entries };
      } catch (error) {
        if (!(error instanceof HoldfastError && error.code === 'DAMAGED')) throw error;
        repository.environment.alarm('a pack of an unfinished attempt does not open and is not adopted', { object: name });
      }
    }
}

/** The directory of a pack, or null when the pack is gone. */
export async function readDirectory(
  repository: Pick<Repository, 'store' | 'key'>,
  name: string,
  sizeBytes: number,
  signal?: AbortSignal,
): Promise<readonly PackEntry[] | null> {
  const options = signal ? { signal } : {};
  // Most directories fit in 16 KiB; a second request for a larger one.
  const guess = Math.min(sizeBytes, 16 * 1024);
  const tail = await repository.store.get(name, { ...options, range: { offset: sizeBytes - guess, length: guess } });
  if (tail === null) return null;
  const trailer = parseTrailer(tail.subarray(Math.max(0, tail.length - TRAILER_BYTES)), sizeBytes, name);
  const { offset, length } = trailer;
  const from = offset - (sizeBytes - guess);
  const sealed =
    from >= 0 ? tail.subarray(from, from + length) : await repository.store.get(name, { ...options, range: { offset, length } });
  if (sealed === null) return null;
  return openDirectory(packKeyOf(repository.key, name), sealed, trailer, name);
}
