/** Whether a table's past can be relied on: its packs, and one past state by two ways. */
import type { PastAsked } from '../../domain/past-states.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { checkPacks, type PackCheck, type PackReport } from '../../engine/tables/verification/packs.ts';
import { foldTwice } from '../../engine/tables/verification/verify.ts';
import { openTable } from './opening.ts';
import { openFold } from './restoring.ts';
import { builtOrThrow, proofReport, settleAsked, targetOf, type ProofReport } from './restoring-outcome.ts';

export interface VerifiedTable {
  readonly table: string;
  readonly sound: boolean;
  readonly packs: PackReport;
  /** Null: packs are damaged, so nothing was folded. */
  readonly fold: {
    readonly same: boolean;
    /** The two shared no partition snapshot. */
    readonly independent: boolean;
    readonly proof: ProofReport;
    readonly other: ProofReport;
  } | null;
}

export async function verifyTable(home: Home, table: string, asked: PastAsked, check: PackCheck): Promise<VerifiedTable> {
  const { archive } = await openTable(home, table);
  const target = targetOf(settleAsked(archive.known(), asked));
  await using duck = await openFold();
  const packs = await checkPacks(archive, duck, check);
  if (packs.damagedFiles > 0) return { table, sound: false, packs, fold: null };
  const { same, independent, proof, other } = builtOrThrow(await foldTwice(archive, duck, target));
  return { table, sound: same, packs, fold: { same, independent, proof: proofReport(proof), other: proofReport(other) } };
}
