/**
 * Fault runs: real processes on real stores, killed at named points.
 *
 *     npm run faults -- --seed S --runs M [--point NAME] [--store file|s3] [--trace] [--temporal]
 *
 *     npm run faults -- volumes --minutes 10 [--seed S] [--runs N] [--seconds N] [--trace]
 *
 *     npm run faults -- replication --seed S --runs M [--seconds N] [--point NAME] [--trace]
 *
 *     npm run faults -- journal --seed S --runs M [--seconds N] [--trace] [--mutant NAME | --mutants]
 *
 * Run i plays the script of seed S + i. A failing run prints the one command that repeats it. `--temporal` plays the scenes with
 * the real server and worker processes instead, M times over. `--points` lists the names. `volumes`: served volumes, see volumes/campaign.ts;
 * `replication`: senders and a receiver, see replication/run.ts, with points of its own; `journal`: protected disks, see journal/run.ts, and
 * with `--mutants` whether each of journal/mutants.ts is seen within M runs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readStackEnvironment } from '../../src/faces/stack/environment.ts';
import { stderrProgress } from '../../src/faces/stack/progress.ts';
import { runCampaign, tableOf } from './campaign.ts';
import { raiseCast } from './cast.ts';
import { POINTS } from './points.ts';
import { SCENES } from './scenes.ts';
import { journalTable, playMutants, runJournalCampaign } from './journal/campaign.ts';
import { MUTANTS } from './journal/mutants.ts';
import { replicationTable, runReplicationCampaign } from './replication/campaign.ts';
import { RECEIVER_POINTS, SENDER_POINTS } from './replication/points.ts';
import { runVolumesCampaign } from './volumes/campaign.ts';

const RUNS_DEFAULT = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    runs: { type: 'string' },
    minutes: { type: 'string' },
    seconds: { type: 'string' },
    point: { type: 'string' },
    store: { type: 'string' },
    trace: { type: 'boolean', default: false },
    points: { type: 'boolean', default: false },
    temporal: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
  },
});

if (values.points) {
  const names = positionals[0] === 'replication' ? [...SENDER_POINTS, ...RECEIVER_POINTS] : POINTS.map(({ name }) => name);
  for (const name of names) process.stdout.write(`${name}\n`);
  process.exit(0);
}
const runs = Number(values.runs ?? RUNS_DEFAULT);
if (positionals[0] === 'volumes') {
  // Whoever ends it takes what it has started along.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  const passed = await runVolumesCampaign({
    seed: Number(values.seed),
    seconds: Number(values.seconds ?? 60 * Number(values.minutes ?? 1)),
    runs: Number(values.runs ?? Infinity),
    say,
    trace: values.trace ? say : () => undefined,
  });
  process.exit(passed ? 0 : 1);
}
if (positionals[0] === 'replication') {
  // Whoever ends it takes what it has started along.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const report = await runReplicationCampaign({
    ...{ seed: Number(values.seed), runs, say, trace: values.trace ? say : () => undefined },
    ...(values.seconds === undefined ? {} : { seconds: Number(values.seconds) }),
    ...(values.point === undefined ? {} : { point: values.point }),
  });
  process.stdout.write(replicationTable(report));
  process.exit(report.failed.length > 0 ? 1 : 0);
}
const finder = { environment: readStackEnvironment(), progress: stderrProgress };
if (positionals[0] === 'journal') {
  // Whoever ends it takes what it has started along.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const options = {
    ...{ seed: Number(values.seed), runs, finder, say, trace: values.trace ? say : () => undefined },
    ...(values.seconds === undefined ? {} : { seconds: Number(values.seconds) }),
  };
  if (values.mutants) process.exit((await playMutants(options)).length > 0 ? 1 : 0);
  const mutant = MUTANTS.find(({ name }) => name === values.mutant);
  if (values.mutant !== undefined && mutant === undefined) throw new Error(`no mutant is called ${values.mutant}`);
  const report = await runJournalCampaign({ ...options, ...(mutant === undefined ? {} : { mutant }) });
  process.stdout.write(journalTable(report));
  process.exit(report.failed.length > 0 ? 1 : 0);
}
const folder = mkdtempSync(path.join(tmpdir(), 'hf-faults-campaign-'));
const store = values.store === 'file' || values.store === 's3' ? values.store : undefined;
/** Plays all scenes so many times; the cast is gone when it ends, however it ends. */
async function playScenes(rounds: number): Promise<void> {
  await using cast = await raiseCast(finder);
  cast.begin('controller');
  cast.begin('node');
  for (let round = 0; round < rounds; round++)
    for (const [i, { name, play }] of SCENES.entries()) {
      const begun = performance.now();
      await play(cast, `scene-${round}-${i}`);
      process.stdout.write(`${((performance.now() - begun) / 1000).toFixed(1).padStart(7)} s  ${name}\n`);
    }
  process.stdout.write('all passed\n');
}

async function playRuns(): Promise<void> {
  const report = await runCampaign({
    ...{ seed: Number(values.seed), runs, folder, finder },
    ...(values.point === undefined ? {} : { point: values.point }),
    ...(store === undefined ? {} : { store }),
    say: (line) => process.stderr.write(`${line}\n`),
    ...(values.trace ? { trace: (line: string) => void process.stderr.write(`${line}\n`) } : {}),
  });
  process.stdout.write(tableOf(report));
  process.exitCode = report.failed.length > 0 ? 1 : 0;
}

try {
  await (values.temporal ? playScenes(runs) : playRuns());
} finally {
  rmSync(folder, { recursive: true, force: true });
}
