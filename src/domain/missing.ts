/**
 * How a writer answers *missing*, so that answering ends (docs/protocol.md, hole 8).
 *
 * A commit relies on values that it does not bring, and any of them may die before it is judged (R2). Shipping what is named
 * and committing again need not end: each time other values may have died. So the last round leaves nothing to rely on:
 *
 *     commit 1 ──missing──▶ ship what is named ──▶ commit 2 ──▶ ... ──▶ commit MISSING_ROUNDS_MAX
 *                                                                           └──missing──▶ ship all that relies on anything,
 *                                                                                         and bring it ──▶ the last commit
 *
 * What a subtree brings is in packs of an open claim, which no sweep takes; what it does not name is the parent's at the same
 * position, which the claim protects. So the last commit cannot be answered *missing*, whatever is deleted meanwhile.
 * Bound: MISSING_ROUNDS_MAX + 1 commits a store, and each subtree shipped as often at the most.
 */
import { MISSING_ROUNDS_MAX } from './limits.ts';

export interface MissingAnswer {
  /** Subtrees that use a value which has died: these have to be shipped again. */
  readonly subtrees: readonly number[];
  /** Subtrees that use anything which they do not bring, those among them. */
  readonly relying: readonly number[];
}

export interface ShipAgain {
  readonly subtrees: readonly number[];
  /** Whether they bring all that differs from the parent, counted values too. */
  readonly bringAll: boolean;
}

/** What to ship after `answers` commits of one claim were answered *missing*; null: the bound is passed, which is MISSING_EXTENTS. */
export function shipAgain({ subtrees, relying }: MissingAnswer, answers: number): ShipAgain | null {
  if (answers > MISSING_ROUNDS_MAX) return null;
  return answers === MISSING_ROUNDS_MAX ? { subtrees: relying, bringAll: true } : { subtrees, bringAll: false };
}
