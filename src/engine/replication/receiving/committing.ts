/**
 * Committing a session: every subtree has its receipt, the root is the sender's, and the log admits it.
 *
 * What has died since it was proven is answered *missing* (domain/missing.ts): those subtrees are finished again, with what
 * the repository lacks now asked for; after the third answer all that differs from the base is brought.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import { shipAgain } from '../../../domain/missing.ts';
import { ABSENT, isAbsent } from '../../map/node.ts';
import { updateTop } from '../../map/update.ts';
import { childrenAt, mapRoot } from '../../map/walk.ts';
import { commitShipment, type CommitOutcome } from '../../repository/commit.ts';
import { subtreeCount } from '../../repository/transfer-reader.ts';
import type { SubtreeReceipt } from '../../transfer/contract.ts';
import type { Reference } from '../messages.ts';
import { reopenSubtree, type CommitJudgement } from '../receiver.ts';
import { changesOf, closeSubtree, doubt } from './closing.ts';
import { broughtAt } from './holdings.ts';
import { subtreesOf } from './opening.ts';
import { baseOf, type SessionState } from './state.ts';

/**
 * Judges a commit whose subtrees are all closed. `root`: as the sender has it, zeros for none. Nodes of the base above the subtrees
 * are read here: where one does not open that no proof has read, all is proven by reading.
 */
export async function judgeCommit(state: SessionState, root: string): Promise<CommitJudgement> {
  try {
    return await judge(state, root);
  } catch (error) {
    const all = Array.from({ length: allSubtrees(state) }, (_, subtree) => subtree);
    if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING') || !doubt(state, all)) throw error;
    return judge(state, root);
  }
}

async function judge(state: SessionState, root: string): Promise<CommitJudgement> {
  for (;;) {
    const unfinished = await finishAll(state);
    if (unfinished !== null) return unfinished;
    const receipts = receiptsOf(state);
    if ((await rootOf(state, receipts)) !== root) return { kind: 'differs' };
    const { sizeBytes, extentBytes, lineage, snapshot, takenMs, consistency, label } = state.opening;
    const outcome = await commitShipment(state.repository, {
      ...{ sizeBytes, extentBytes, lineage, snapshot, takenMs, consistency, label, epoch: state.claimed.epoch },
      receipts: receipts.filter(({ part }) => part !== null),
    });
    if (outcome.kind === 'committed') return { kind: 'committed' };
    const dead = await deadOf(state, outcome);
    if (dead.size > 0) return { kind: 'missing', dead };
  }
}

/** The snapshot's subtrees, and those that only the base has: they end with the snapshot. */
const allSubtrees = (state: SessionState): number => {
  const base = baseOf(state);
  return Math.max(subtreesOf(state.opening), base === null ? 0 : subtreeCount(base.sizeBytes, base.extentBytes));
};

/** Makes the receipts that are not there: where pages changed after the subtree had closed, or the base's top was lost. */
async function finishAll(state: SessionState): Promise<CommitJudgement | null> {
  const dead = new Map<number, readonly Reference[]>();
  for (let subtree = 0; subtree < allSubtrees(state); subtree++) {
    if (state.file.receipt(subtree) !== null) continue;
    const { lost, pages } = await closeSubtree(state, subtree);
    const isWanting = lost.length + pages.length > 0;
    if (isWanting && subtree < subtreesOf(state.opening)) {
      reopenSubtree(state.receiver, subtree, pages);
      dead.set(subtree, lost);
    } else if (state.file.receipt(subtree) === null)
      throw new HoldfastError('DAMAGED', 'the map of the base is lost, and not all of it can be had again', { subtree });
  }
  return dead.size === 0 ? null : { kind: 'missing', dead };
}

const receiptsOf = (state: SessionState): SubtreeReceipt[] =>
  Array.from({ length: allSubtrees(state) }, (_, subtree) => state.file.receipt(subtree) ?? []).flat();

async function rootOf(state: SessionState, receipts: readonly SubtreeReceipt[]): Promise<string> {
  const base = baseOf(state);
  const root = mapRoot(base?.root ?? null, base?.rootLocation ?? null);
  const changed = receipts
    .filter(({ part }) => part !== null)
    .map(({ subtree, node }) => ({ index: subtree, fingerprint: node === null ? ABSENT : Buffer.from(node, 'hex') }));
  const read = async (level: number, index: number): Promise<Buffer | null> =>
    (await childrenAt(root, state.repository.readNode, level, index))?.children ?? null;
  const { top } = await updateTop(changed, read);
  return top.toString('hex');
}

/** Takes a *missing* answer: what is to be finished again, and the names that nobody here has any more. */
async function deadOf(
  state: SessionState,
  answer: Extract<CommitOutcome, { readonly kind: 'missing' }>,
): Promise<ReadonlyMap<number, readonly Reference[]>> {
  const again = shipAgain(answer, ++state.missingAnswers);
  if (again === null) throw new HoldfastError('MISSING_EXTENTS', `${answer.values} values are missing though all was brought`);
  await state.repository.sync();
  const dead = new Map<number, readonly Reference[]>();
  for (const subtree of again.subtrees) {
    state.file.dropReceipt(subtree);
    if (again.bringAll) state.bringAll.add(subtree);
    const references = new Map<string, number>();
    for (const { extent, fingerprint } of await changesOf(state, subtree)) {
      if (isAbsent(fingerprint) || state.repository.table.get(fingerprint) !== null || broughtAt(state, fingerprint) !== null) continue;
      const name = fingerprint.toString('hex');
      if (!references.has(name)) references.set(name, extent % SUBTREE_EXTENTS);
    }
    if (references.size > 0)
      dead.set(
        subtree,
        [...references].map(([name, at]) => ({ at, name })),
      );
  }
  return dead;
}
