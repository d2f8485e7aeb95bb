/** Many seeds, one after another, in this process. */
import { addUp, EMPTY, type CampaignResult } from './add-up.ts';
import { runSeed } from './run.ts';

/** In which runs packs are deleted, cut and rot: one in three, all, none. */
export type Harm = 'some' | 'all' | 'none';

const isHarmful = (harm: Harm, seed: number): boolean => harm === 'all' || (harm === 'some' && seed % 3 === 0);

export interface CampaignOptions {
  readonly from: number;
  readonly seeds: number;
  readonly steps: number;
  readonly hot: boolean;
  readonly harm: Harm;
  readonly stopAtFailure: boolean;
  readonly trace: ((line: string) => void) | null;
  readonly onSeed: (done: number) => void;
}

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  let total = EMPTY;
  for (let seed = options.from; seed < options.from + options.seeds; seed++) {
    const run = await runSeed({ ...options, seed, harmful: isHarmful(options.harm, seed) });
    total = addUp(total, {
      seeds: 1,
      records: run.records,
      steps: run.steps,
      failures: run.violation === null ? [] : [{ seed, step: run.steps, violation: run.violation }],
      stats: Object.fromEntries(run.stats),
    });
    options.onSeed(total.seeds);
    if (total.failures.length > 0 && options.stopAtFailure) break;
  }
  return total;
}
