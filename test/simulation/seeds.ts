/** Many seeds, one after another, in this process. */
import { addUp, EMPTY, type CampaignResult } from './add-up.ts';

/** What came of one seed. */
export interface RunResult {
  readonly seed: number;
  /** Steps made when it ended. */
  readonly steps: number;
  /** Records of the log. */
  readonly records: number;
  readonly violation: string | null;
  readonly stats: ReadonlyMap<string, number>;
}

export interface Seeds {
  readonly from: number;
  readonly seeds: number;
  readonly keepGoing: boolean;
}

export async function runSeeds(
  { from, seeds, keepGoing }: Seeds,
  runSeed: (seed: number) => Promise<RunResult>,
  onSeed: (done: number) => void,
): Promise<CampaignResult> {
  let total = EMPTY;
  for (let seed = from; seed < from + seeds; seed++) {
    const run = await runSeed(seed);
    total = addUp(total, {
      seeds: 1,
      records: run.records,
      steps: run.steps,
      failures: run.violation === null ? [] : [{ seed, step: run.steps, violation: run.violation }],
      stats: Object.fromEntries(run.stats),
    });
    onSeed(total.seeds);
    if (total.failures.length > 0 && !keepGoing) break;
  }
  return total;
}
