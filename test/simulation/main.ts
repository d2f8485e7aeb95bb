/**
 * npm run simulate -- --seeds N [--from S] [--steps K] [--jobs J] [--trace] [--mutant NAME] [--mutants]
 *
 * Runs the repository's real code over a simulated world, a seed a run; docs/protocol.md says what it proves. Source
 * patches (the small scale, a mutant) have to stand before the first production module is loaded, so this file imports none.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { addUp, EMPTY, type CampaignResult } from './add-up.ts';
import type { Harm } from './campaign.ts';
import { MUTANTS, mutantNamed, PARALLEL_COLLECTORS, type Mutant } from './mutants.ts';
import { installPatches } from './patches.ts';
import { SMALL_SCALE } from './scale.ts';

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

/** What one child is to do. */
interface Work {
  readonly from: number;
  readonly seeds: number;
  readonly steps: number;
  readonly hot: boolean;
  readonly harm: Harm;
  readonly scale: string;
  readonly mutant: string | null;
  readonly parallelCollectors: boolean;
  readonly keepGoing: boolean;
  readonly trace: boolean;
}

const STEPS = 1000;
/** Seeds that a child takes at a time; its start costs as much as ten. */
const CHUNK = 500;
/** Seeds after which a mutant counts as survivor, when its known seed does not fail. */
const MUTANT_SEEDS = 1500;

/** A mutant's seed is that of a run with damage, or of one without. */
function harmOf({ harm, mutant }: Options): Harm {
  if (harm) return 'all';
  if (mutant === undefined) return 'some';
  return mutantNamed(mutant).harm ? 'all' : 'none';
}

const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('a positive number is expected');
  return value;
};

async function work(here: Work, onSeed: (done: number) => void): Promise<CampaignResult> {
  // Errors are part of a run's daily business; their stacks are not.
  Error.stackTraceLimit = here.trace ? 10 : 3;
  const verifyPatches = installPatches([
    ...(here.scale === 'small' ? SMALL_SCALE : []),
    ...(here.parallelCollectors ? PARALLEL_COLLECTORS : []),
    ...(here.mutant === null ? [] : mutantNamed(here.mutant).patches),
  ]);
  const { runCampaign } = await import('./campaign.ts');
  verifyPatches();
  const trace = here.trace ? (line: string) => void process.stdout.write(`${line}\n`) : null;
  return runCampaign({ ...here, stopAtFailure: !here.keepGoing, trace, onSeed });
}

/** Work in a process of its own, which is what a mutant needs and what a second core takes. */
function delegate(there: Work): Promise<CampaignResult> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['--child', JSON.stringify(there)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    let answer: CampaignResult | null = null;
    child.on('message', (message) => (answer = message as CampaignResult));
    child.on('error', reject);
    child.on('exit', (code) =>
      answer === null ? reject(new Error(`a run of the simulation ended with status ${code} and without a result`)) : resolve(answer),
    );
  });
}

const repeat = (seed: number, here: Work): string =>
  `npm run simulate -- --seeds 1 --from ${seed} --steps ${here.steps}${here.mutant === null ? '' : ` --mutant ${here.mutant}`}${here.hot ? ' --hot' : ''}${here.harm === 'all' ? ' --harm' : ''}${here.parallelCollectors ? ' --parallel-collectors' : ''}${here.scale === 'small' ? '' : ` --scale ${here.scale}`} --trace`;

async function campaign(options: Options, whole: Work): Promise<boolean> {
  const started = performance.now();
  let total: CampaignResult = EMPTY;
  if (options.jobs === 1) total = await work(whole, progress(whole.seeds));
  else {
    const chunks: Work[] = [];
    for (let from = whole.from; from < whole.from + whole.seeds; from += CHUNK)
      chunks.push({ ...whole, from, seeds: Math.min(CHUNK, whole.from + whole.seeds - from) });
    const say = progress(whole.seeds);
    await inParallel(options.jobs, chunks, async (chunk) => {
      if (total.failures.length > 0 && !whole.keepGoing) return;
      // Awaited first: `total` must be what it is when the answer is there, not when it was asked for.
      const result = await delegate(chunk);
      total = addUp(total, result);
      say(total.seeds);
    });
  }
  const seconds = (performance.now() - started) / 1000;
  for (const [what, count] of Object.entries(total.stats).sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`  ${what.padEnd(44)} ${count}`);
  console.log(
    `${total.seeds} seeds, ${total.steps} steps, ${total.records} records in ${seconds.toFixed(1)} s (${(total.seeds / seconds).toFixed(1)} seeds/s); violations: ${total.failures.length}`,
  );
  for (const { seed, step, violation } of total.failures) console.log(`seed ${seed}, step ${step}: ${violation}\n  ${repeat(seed, whole)}`);
  return total.failures.length === 0;
}

/** Every mutant, each in a process of its own: from its known seed, or from `--from` on. All of them must fail. */
async function mutants(options: Options): Promise<boolean> {
  const survivors: string[] = [];
  const lines = new Map<Mutant, string>();
  await inParallel(options.jobs, MUTANTS, async (mutant) => {
    const steps = options.steps ?? mutant.steps;
    const here: Work = {
      from: options.from ?? mutant.seed,
      seeds: options.from === undefined ? MUTANT_SEEDS : options.seeds,
      steps,
      hot: options.hot ?? mutant.hot,
      harm: options.harm === true || mutant.harm ? 'all' : 'none',
      scale: options.scale,
      mutant: mutant.name,
      parallelCollectors: false,
      keepGoing: false,
      trace: false,
    };
    const [failure] = (await delegate(here)).failures;
    if (!failure) survivors.push(mutant.name);
    const outcome = failure ? `seed ${String(failure.seed).padStart(4)}  ${failure.violation.split('\n')[0] ?? ''}` : 'SURVIVES';
    lines.set(mutant, `${mutant.name.padEnd(28)} ${mutant.hole.padEnd(10)} ${outcome}`);
    console.log(lines.get(mutant));
  });
  console.log(survivors.length === 0 ? `all ${MUTANTS.length} mutants fail` : `mutants that survive: ${survivors.join(', ')}`);
  return survivors.length === 0;
}

async function inParallel<T>(jobs: number, items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: jobs }, lane));
}

const progress = (seeds: number) =>
  process.stderr.isTTY
    ? (done: number) => void process.stderr.write(`\r${done} of ${seeds}${done === seeds ? '\n' : ''}`)
    : () => undefined;

const program = new Command('simulate')
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
    if (options.mutant !== undefined) mutantNamed(options.mutant);
    const ok = options.mutants
      ? await mutants(options)
      : await campaign(options, {
          from: options.from ?? 1,
          seeds: options.seeds,
          steps: options.steps ?? STEPS,
          hot: options.hot === true,
          harm: harmOf(options),
          scale: options.scale,
          mutant: options.mutant ?? null,
          parallelCollectors: options.parallelCollectors === true,
          keepGoing: options.keepGoing === true,
          trace: options.trace === true,
        });
    process.exitCode = ok ? 0 : 1;
  });

const [flag, given] = process.argv.slice(2);
if (flag === '--child' && given !== undefined) {
  const result = await work(JSON.parse(given) as Work, () => undefined);
  process.send?.(result);
  process.disconnect?.();
} else await program.parseAsync();
