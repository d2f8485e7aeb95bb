/**
 * npm run simulate -- journal --seeds N [--from S] [--mode pair|local] [--steps K] [--jobs J] [--trace] [--mutant NAME] [--mutants]
 *
 * The interleavings of the design's model, over the product's reducer and engine.
 */
import { Command } from 'commander';
import { mutantNamed, positive, runCampaign, runMutants, type Simulation, type Work } from '../campaign.ts';
import { MUTANTS, type JournalMutant } from './mutants.ts';
import { SMALL_JOURNAL } from './scale.ts';
import type { Mode } from './world.ts';

export interface JournalWork extends Work {
  /** `both`: odd seeds are of a pair, even ones local. */
  readonly mode: Mode | 'both';
}

const modeOf = (mode: JournalWork['mode'], seed: number): Mode => {
  if (mode !== 'both') return mode;
  return seed % 2 === 1 ? 'pair' : 'local';
};

export const journalSimulation: Simulation<JournalWork> & { readonly mutants: readonly JournalMutant[] } = {
  name: 'journal',
  mutants: MUTANTS,
  patches: () => SMALL_JOURNAL,
  async load() {
    const [{ runSeed }, { runSeeds }] = await Promise.all([import('./run.ts'), import('../seeds.ts')]);
    return (work, { trace, onSeed }) =>
      runSeeds(work, (seed) => runSeed({ seed, steps: work.steps, mode: modeOf(work.mode, seed), trace }), onSeed);
  },
  repeat: (seed, { mode, steps, mutant }) =>
    `npm run simulate -- journal --seeds 1 --from ${seed} --mode ${modeOf(mode, seed)} --steps ${steps}${mutant === null ? '' : ` --mutant ${mutant}`} --trace`,
};

interface Options {
  readonly seeds: number;
  readonly from?: number;
  readonly steps?: number;
  readonly mode: JournalWork['mode'];
  readonly jobs: number;
  readonly mutant?: string;
  readonly mutants?: true;
  readonly trace?: true;
  readonly keepGoing?: true;
}

const STEPS = 1000;
/** Seeds after which a mutant counts as survivor, when its known seed does not fail. */
const MUTANT_SEEDS = 1500;

const everyMutant = ({ from, seeds, steps, jobs }: Options): Promise<boolean> =>
  runMutants<JournalWork, JournalMutant>(
    journalSimulation,
    (mutant) => ({
      from: from ?? mutant.seed,
      seeds: from === undefined ? MUTANT_SEEDS : seeds,
      steps: steps ?? mutant.steps,
      mode: mutant.mode,
      mutant: mutant.name,
      keepGoing: false,
      trace: false,
    }),
    jobs,
  );

function campaign({ from = 1, seeds, steps, mode, mutant, jobs, keepGoing, trace }: Options): Promise<boolean> {
  const known = mutant === undefined ? null : mutantNamed(MUTANTS, mutant);
  return runCampaign(
    journalSimulation,
    {
      ...{ from, seeds, keepGoing: keepGoing === true, trace: trace === true },
      steps: steps ?? known?.steps ?? STEPS,
      mode: known !== null && mode === 'both' ? known.mode : mode,
      mutant: known?.name ?? null,
    },
    jobs,
  );
}

export const journalCommand = (): Command =>
  new Command('journal')
    .description('runs the journal over a simulated world, a seed a run')
    .option('--seeds <n>', 'how many seeds', positive, 200)
    .option('--from <seed>', 'the first one (default: 1; for --mutants the known one of each)', positive)
    .option('--steps <n>', `steps of a run (default: ${STEPS})`, positive)
    .option('--mode <mode>', 'pair, local; both: odd seeds pair, even ones local', 'both')
    .option('--jobs <n>', 'processes at a time', positive, 1)
    .option('--mutant <name>', 'with one safeguard taken out')
    .option('--mutants', 'every mutant until it fails; one that does not is an error')
    .option('--trace', 'print every call and record')
    .option('--keep-going', 'go on after a seed that fails')
    .action(async (options: Options) => {
      process.exitCode = (options.mutants ? await everyMutant(options) : await campaign(options)) ? 0 : 1;
    });
