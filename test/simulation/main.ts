/**
 * npm run simulate -- [journal] --seeds N [--from S] [--steps K] [--jobs J] [--trace] [--mutant NAME] [--mutants]
 *
 * Runs the real code over a simulated world, a seed a run: the repository (docs/protocol.md says what it proves), or the
 * journal (docs/journal.md). Source patches (the small scale, a mutant) have to stand before the first production module is
 * loaded, so this file imports none.
 */
import { Command } from 'commander';
import { mutantNamed, positive, runAsChild, runCampaign, runMutants } from './campaign.ts';
import { journalCommand, journalSimulation } from './journal/command.ts';
import { MUTANTS, type Mutant } from './mutants.ts';
import { harmOf, repositorySimulation, type RepositoryWork } from './repository.ts';

interface Options {
  readonly seeds: number;
  readonly from?: number;
  readonly steps?: number;
  readonly jobs: number;
  readonly scale: string;
  readonly mutant?: string;
  readonly mutants?: true;
  readonly hot?: true;
  readonly harm?: true;
  readonly parallelCollectors?: true;
  readonly trace?: true;
  readonly keepGoing?: true;
}

const STEPS = 1000;
/** Seeds after which a mutant counts as survivor, when its known seed does not fail. */
const MUTANT_SEEDS = 1500;

const everyMutant = (options: Options): Promise<boolean> =>
  runMutants<RepositoryWork, Mutant>(
    repositorySimulation,
    (mutant) => ({
      from: options.from ?? mutant.seed,
      seeds: options.from === undefined ? MUTANT_SEEDS : options.seeds,
      steps: options.steps ?? mutant.steps,
      hot: options.hot ?? mutant.hot,
      harm: options.harm === true || mutant.harm ? 'all' : 'none',
      scale: options.scale,
      mutant: mutant.name,
      parallelCollectors: false,
      keepGoing: false,
      trace: false,
    }),
    options.jobs,
  );

const campaign = (options: Options): Promise<boolean> =>
  runCampaign(
    repositorySimulation,
    {
      from: options.from ?? 1,
      seeds: options.seeds,
      steps: options.steps ?? STEPS,
      hot: options.hot === true,
      harm: harmOf(options.harm === true, options.mutant ?? null),
      scale: options.scale,
      mutant: options.mutant ?? null,
      parallelCollectors: options.parallelCollectors === true,
      keepGoing: options.keepGoing === true,
      trace: options.trace === true,
    },
    options.jobs,
  );

const program = new Command('simulate')
  .enablePositionalOptions()
  .description('runs the repository over a simulated world, a seed a run')
  .option('--seeds <n>', 'how many seeds', positive, 200)
  .option('--from <seed>', 'the first one (default: 1; for --mutants the known one of each)', positive)
  .option('--steps <n>', `steps of a run (default: ${STEPS})`, positive)
  .option('--jobs <n>', 'processes at a time', positive, 1)
  .option('--scale <scale>', 'small: small limits and light sealing; full: those of the product', 'small')
  .option('--mutant <name>', 'with one safeguard taken out')
  .option('--mutants', 'every mutant until it fails; one that does not is an error')
  .option('--hot', 'busy and faulty in every way at once')
  .option('--harm', 'packs are deleted, cut and rot in every run; as it is, in one of three')
  .option('--parallel-collectors', 'several collectors at once, which the product does not do')
  .option('--trace', 'print every call and record')
  .option('--keep-going', 'go on after a seed that fails')
  .action(async (options: Options) => {
    if (options.mutant !== undefined) mutantNamed(MUTANTS, options.mutant);
    process.exitCode = (options.mutants ? await everyMutant(options) : await campaign(options)) ? 0 : 1;
  })
  .addCommand(journalCommand());

const [flag, simulation, given] = process.argv.slice(2);
if (flag !== '--child' || given === undefined) await program.parseAsync();
else if (simulation === journalSimulation.name) await runAsChild(journalSimulation, given);
else await runAsChild(repositorySimulation, given);
