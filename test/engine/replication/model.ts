/**
 * node test/engine/replication/model.ts [--far] [--states N] [--mutant NAME] [--trace]
 *
 * Explores the scenarios over the reducers of src/engine/replication. A mutant is a patch of their source (docs/replication.md
 * section 10 names the safeguards), so patches stand before the first of them is loaded, and this file imports none.
 */
import { Command } from 'commander';
import { installPatches } from '../../simulation/patches.ts';
import { MUTANTS } from './mutants.ts';

interface Options {
  readonly states: string;
  readonly mutant?: string;
  readonly far?: true;
  readonly trace?: true;
}

const options = new Command()
  .option('--far', 'reach further: minutes, and gigabytes of memory')
  .option('--states <n>', 'states of a reach at the most', '5000000')
  .option('--mutant <name>', 'take out a safeguard')
  .option('--trace', 'print the way to a violation')
  .parse()
  .opts<Options>();

const mutant = MUTANTS.find(({ name }) => name === options.mutant);
if (options.mutant !== undefined && mutant === undefined) throw new Error(`no mutant ${options.mutant}`);
const checkPatches = installPatches(mutant?.patches ?? []);
const { explore } = await import('./explore.ts');
const { SCENARIOS } = await import('./scenarios.ts');

const runs = SCENARIOS.flatMap((scenario) => {
  const reaches = [...scenario.reaches, ...(options.far ? scenario.farReaches : [])];
  return reaches.map((reach) => ({ scenario, reach }));
});
let violations = 0;
let incomplete = 0;
for (const { scenario, reach } of runs.sort((a, b) => a.reach.late - b.reach.late || a.reach.faults - b.reach.faults)) {
  const startMs = performance.now();
  const { states, complete, ended, committed, violation } = explore(scenario, reach, Number(options.states));
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(
    `${scenario.name}; faults ${reach.faults}, late ${reach.late}: ${states} states${complete ? '' : ' and more'}, ` +
      `${ended} ended, ${committed} committed, ${seconds} s`,
  );
  if (!complete) incomplete++;
  if (violation === null) continue;
  violations++;
  console.log(`  VIOLATION: ${violation.message}`);
  if (options.trace) for (const [n, line] of violation.trace.entries()) console.log(`  ${n} ${line}`);
  if (mutant !== undefined) break;
}
checkPatches();
console.log(`violations: ${violations}, not explored whole: ${incomplete}`);
process.exitCode = violations === 0 ? 0 : 1;
