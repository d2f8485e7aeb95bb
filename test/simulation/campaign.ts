/**
 * Campaigns of a simulation: many seeds, in processes of their own where that is wanted, and every mutant until it fails.
 *
 * Source patches (a small scale, a mutant) have to stand before the first production module is loaded, so nothing here imports
 * one: a simulation's `run` does that itself, when its patches are in.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError } from 'commander';
import { addUp, EMPTY, type CampaignResult } from './add-up.ts';
import { installPatches, type Patch } from './patches.ts';

/** What one process is to do; a simulation adds what is its own. */
export interface Work {
  readonly from: number;
  readonly seeds: number;
  readonly steps: number;
  readonly mutant: string | null;
  readonly keepGoing: boolean;
  readonly trace: boolean;
}

/** A safeguard taken out. */
export interface KnownMutant {
  readonly name: string;
  /** The row of the design's table that it stands for. */
  readonly hole: string;
  readonly patches: readonly Patch[];
  /** The first seed that fails, with the steps of its run. */
  readonly seed: number;
  readonly steps: number;
}

export interface Simulation<W extends Work> {
  /** By which a process that is forked finds it. */
  readonly name: string;
  /** Applied in every run of this work, besides those of the mutant. */
  readonly patches: (work: W) => readonly Patch[];
  readonly mutants: readonly KnownMutant[];
  /** Runs the seeds in this process. Imports production modules, so it is called when all patches stand. */
  readonly load: () => Promise<(work: W, report: Reporting) => Promise<CampaignResult>>;
  /** The command that repeats one seed. */
  readonly repeat: (seed: number, work: W) => string;
}

export interface Reporting {
  readonly trace: ((line: string) => void) | null;
  readonly onSeed: (done: number) => void;
}

/** Seeds that a child takes at a time; its start costs as much as ten. */
const CHUNK = 500;

export function mutantNamed<M extends KnownMutant>(mutants: readonly M[], name: string): M {
  const mutant = mutants.find((one) => one.name === name);
  if (!mutant) throw new Error(`no mutant is called ${name}; there are ${mutants.map((one) => one.name).join(', ')}`);
  return mutant;
}

export async function runHere<W extends Work>(
  simulation: Simulation<W>,
  here: W,
  onSeed: (done: number) => void = () => undefined,
): Promise<CampaignResult> {
  // Errors are part of a run's daily business; their stacks are not.
  Error.stackTraceLimit = here.trace ? 10 : 3;
  const mutated = here.mutant === null ? [] : mutantNamed(simulation.mutants, here.mutant).patches;
  const verifyPatches = installPatches([...simulation.patches(here), ...mutated]);
  const run = await simulation.load();
  verifyPatches();
  const trace = here.trace ? (line: string) => void process.stdout.write(`${line}\n`) : null;
  return run(here, { trace, onSeed });
}

/** Work in a process of its own, which is what a mutant needs and what a second core takes. */
function delegate<W extends Work>({ name }: Simulation<W>, there: W): Promise<CampaignResult> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('main.ts', import.meta.url)), ['--child', name, JSON.stringify(there)], {
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

/** Does what a parent has delegated, and tells it. */
export async function runAsChild<W extends Work>(simulation: Simulation<W>, given: string): Promise<void> {
  process.send?.(await runHere(simulation, JSON.parse(given) as W));
  process.disconnect?.();
}

/** Runs all seeds and prints what came of it; whether there was no violation. */
export async function runCampaign<W extends Work>(simulation: Simulation<W>, whole: W, jobs: number): Promise<boolean> {
  const started = performance.now();
  let total: CampaignResult = EMPTY;
  if (jobs === 1) total = await runHere(simulation, whole, progress(whole.seeds));
  else {
    const chunks: W[] = [];
    for (let from = whole.from; from < whole.from + whole.seeds; from += CHUNK)
      chunks.push({ ...whole, from, seeds: Math.min(CHUNK, whole.from + whole.seeds - from) });
    const say = progress(whole.seeds);
    await inParallel(jobs, chunks, async (chunk) => {
      if (total.failures.length > 0 && !whole.keepGoing) return;
      // Awaited first: `total` must be what it is when the answer is there, not when it was asked for.
      const result = await delegate(simulation, chunk);
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
  for (const { seed, step, violation } of total.failures)
    console.log(`seed ${seed}, step ${step}: ${violation}\n  ${simulation.repeat(seed, whole)}`);
  return total.failures.length === 0;
}

/** Every mutant, each in a process of its own. All of them must fail. */
export async function runMutants<W extends Work, M extends KnownMutant>(
  simulation: Simulation<W> & { readonly mutants: readonly M[] },
  workOf: (mutant: M) => W,
  jobs: number,
): Promise<boolean> {
  const survivors: string[] = [];
  await inParallel(jobs, simulation.mutants, async (mutant) => {
    const [failure] = (await delegate(simulation, workOf(mutant))).failures;
    if (!failure) survivors.push(mutant.name);
    const outcome = failure ? `seed ${String(failure.seed).padStart(4)}  ${failure.violation.split('\n')[0] ?? ''}` : 'SURVIVES';
    console.log(`${mutant.name.padEnd(28)} ${mutant.hole.padEnd(10)} ${outcome}`);
  });
  console.log(survivors.length === 0 ? `all ${simulation.mutants.length} mutants fail` : `mutants that survive: ${survivors.join(', ')}`);
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

/** An option's number. */
export const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('a positive number is expected');
  return value;
};
