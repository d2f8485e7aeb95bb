/**
 * Closing a subtree: confirm, prove, heal, finish, and keep the receipt, in this order. Locators of the new nodes point at what
 * stays, for what was lost has been healed before (docs/replication.md section 9).
 *
 * It is done when an inquiry finds nothing lacking, and again at the commit for a subtree whose receipt was given up meanwhile.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { MAP_FANOUT, SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import { childOf, FINGERPRINT_BYTES, isAbsent } from '../../map/node.ts';
import { storeNodes } from '../../repository/destination.ts';
import type { Location } from '../../repository/location.ts';
import type { NewNode } from '../../map/update.ts';
import { copySubtree } from '../../transfer/copy.ts';
import { transferReader } from '../../repository/transfer-reader.ts';
import type { ExtentChange, PackSize, ShippedSubtree, SubtreeReceipt, ValueReader } from '../../transfer/contract.ts';
import type { Proof } from '../dictionary.ts';
import { mendTop } from './base.ts';
import { broughtAt, countedAt } from './holdings.ts';
import { endOf } from './opening.ts';
import { applyPage } from './pages.ts';
import { proveSubtree, type Cure, type Findings } from './proof.ts';
import type { SessionState } from './state.ts';

/**
 * Proves and finishes a subtree; what was found wanting, which is nothing when there is a receipt now or can be at the commit.
 * What a lesser proof has taken for held may turn out not to open when the subtree is finished: then it is proven by reading.
 */
export async function closeSubtree(state: SessionState, subtree: number): Promise<Proof> {
  try {
    return await proveAndFinish(state, subtree);
  } catch (error) {
    if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING') || !doubt(state, [subtree])) throw error;
    return proveAndFinish(state, subtree);
  }
}

/** From here on these subtrees are proven by reading; false: they were already. */
export function doubt(state: SessionState, subtrees: readonly number[]): boolean {
  const unread = state.opening.proof === 'all' ? [] : subtrees.filter((subtree) => !state.doubted.has(subtree));
  for (const subtree of unread) {
    state.doubted.add(subtree);
    state.file.dropReceipt(subtree);
  }
  return unread.length > 0;
}

async function proveAndFinish(state: SessionState, subtree: number): Promise<Proof> {
  const edits = state.edits.get(subtree);
  const findings = await proveSubtree(state, subtree);
  await healFindings(state, subtree, findings);
  if (findings.lost.length + findings.pages.length > 0) {
    state.file.dropReceipt(subtree);
    return findings;
  }
  if (findings.topless && !(await healTop(state))) return findings;
  if (await standingReceipt(state, subtree)) return findings;
  const receipt = await finish(state, subtree);
  // Pages that have changed meanwhile are not in it.
  if (state.edits.get(subtree) === edits) state.file.setReceipt(receipt);
  return findings;
}

/** A receipt whose part is in the store still. */
async function standingReceipt({ file, repository }: SessionState, subtree: number): Promise<boolean> {
  const receipt = file.receipt(subtree);
  return receipt !== null && (receipt.part === null || (await repository.store.head(receipt.part.name)) !== null);
}

// -- healing --------------------------------------------------------------------------------------------------------

async function healFindings(state: SessionState, subtree: number, { cure, mended }: Findings): Promise<void> {
  await putNodes(state, subtree, mended, cure);
  if (cure.brought.size === 0) return;
  const { moved } = await state.claimed.destination.heal(cure.lost, cure.brought, cure.packs, state.signal);
  state.counts.healed += moved;
}

/** Puts nodes that were made again into a pack of the claim, for what is in `cure` to be healed with them. */
async function putNodes(state: SessionState, subtree: number, nodes: readonly NewNode[], cure: Cure): Promise<void> {
  const lost = nodes.flatMap(({ fingerprint }) => countedAt(state, fingerprint)?.location.pack ?? []);
  if (lost.length === 0) return;
  const { destination } = state.claimed;
  const stored = await storeNodes(state.repository, nodes, () => destination.beginPack(subtree), {
    ...{ bringAll: true, brought: cure.brought, baseNode: () => Promise.resolve(null), signal: state.signal },
  });
  cure.lost.push(...lost);
  for (const [name, location] of stored.locations) cure.brought.set(name, location);
  for (const { id, bytes, blobs } of stored.packs) {
    state.inventory.note(id, bytes);
    cure.packs.set(id.toString('hex'), { bytes, blobs });
  }
}

/** Makes the base's nodes above the subtrees again, if all subtrees are known. */
async function healTop(state: SessionState): Promise<boolean> {
  const mended = await mendTop(state);
  if (mended === null) return false;
  const cure: Cure = { lost: [], brought: new Map(), packs: new Map() };
  await healFindings(state, 0, { lost: [], pages: [], cure, mended, topless: false });
  return true;
}

// -- finishing ------------------------------------------------------------------------------------------------------

async function finish(state: SessionState, subtree: number): Promise<SubtreeReceipt> {
  const changes = await changesOf(state, subtree);
  if (state.bringAll.has(subtree)) return bringAll(state, subtree, changes);
  const brought = new Map<string, Location>();
  const packs = new Map<string, PackSize>();
  for (const { fingerprint } of changes) {
    const value = isAbsent(fingerprint) ? null : broughtAt(state, fingerprint);
    if (value === null) continue;
    brought.set(fingerprint.toString('hex'), value.location);
    packs.set(value.pack.id.toString('hex'), value.pack);
  }
  const shipped: ShippedSubtree = { subtree, changes, brought, packs };
  return state.claimed.destination.finishSubtree(shipped, state.signal);
}

/** What the subtree's pages come to, where it differs from the base. */
export async function changesOf(state: SessionState, subtree: number): Promise<ExtentChange[]> {
  const changes: ExtentChange[] = [];
  for (let leaf = 0; leaf < MAP_FANOUT; leaf++) {
    const page = state.file.page(subtree, leaf);
    const end = endOf(state.opening, subtree, leaf);
    if (page === null && end === MAP_FANOUT) continue;
    const base = await state.claimed.destination.baseLeaf(subtree * MAP_FANOUT + leaf);
    const children = applyPage(page, base, end);
    for (let slot = 0; slot < MAP_FANOUT; slot++) {
      const at = slot * FINGERPRINT_BYTES;
      const isSame =
        base === null
          ? isAbsent(childOf(children, slot))
          : children.compare(base, at, at + FINGERPRINT_BYTES, at, at + FINGERPRINT_BYTES) === 0;
      if (!isSame) changes.push({ extent: subtree * SUBTREE_EXTENTS + leaf * MAP_FANOUT + slot, fingerprint: childOf(children, slot) });
    }
  }
  return changes;
}

/** Copies what the repository holds into packs of the claim, so that the commit relies on nothing that may die. */
async function bringAll(state: SessionState, subtree: number, changes: readonly ExtentChange[]): Promise<SubtreeReceipt> {
  const { repository, opening, threads, signal, claimed } = state;
  const own = transferReader(repository, opening.store);
  const placeOf = (fingerprint: Buffer): Location | null => broughtAt(state, fingerprint)?.location ?? repository.locate(fingerprint);
  const reader: ValueReader = {
    ...own,
    async locate(fingerprint) {
      await repository.relook();
      return placeOf(fingerprint);
    },
  };
  const placed = async function* () {
    for (const { extent, fingerprint } of changes)
      yield { extent, fingerprint, location: isAbsent(fingerprint) ? null : placeOf(fingerprint) };
  };
  const { outcomes } = await copySubtree({
    ...{ changes: placed(), reader, extentBytes: opening.extentBytes, subtree, destinations: [claimed.bringingAll], threads, signal },
  });
  const outcome = outcomes.get(opening.store);
  if (outcome?.ok !== true) throw outcome?.error ?? new Error('a copy ended without an outcome');
  return outcome.receipt;
}
