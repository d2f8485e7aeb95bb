/**
 * Fault runs: real processes on real stores, killed at named points.
 *
 *     npm run faults -- --seed S --runs M [--point NAME] [--store file|s3] [--trace] [--temporal]
 *
 * Run i plays the script of seed S + i. A failing run prints the one command that repeats it. `--temporal` plays the scenes with
 * the real server and worker processes instead, M times over. `--points` lists the names.
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

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    runs: { type: 'string', default: '20' },
    point: { type: 'string' },
    store: { type: 'string' },
    trace: { type: 'boolean', default: false },
    points: { type: 'boolean', default: false },
    temporal: { type: 'boolean', default: false },
  },
});

if (values.points) {
  for (const { name } of POINTS) process.stdout.write(`${name}\n`);
  process.exit(0);
}
const folder = mkdtempSync(path.join(tmpdir(), 'hf-faults-campaign-'));
const finder = { environment: readStackEnvironment(), progress: stderrProgress };
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
    ...{ seed: Number(values.seed), runs: Number(values.runs), folder, finder },
    ...(values.point === undefined ? {} : { point: values.point }),
    ...(store === undefined ? {} : { store }),
    say: (line) => process.stderr.write(`${line}\n`),
    ...(values.trace ? { trace: (line: string) => void process.stderr.write(`${line}\n`) } : {}),
  });
  process.stdout.write(tableOf(report));
  process.exitCode = report.failed.length > 0 ? 1 : 0;
}

try {
  await (values.temporal ? playScenes(Number(values.runs)) : playRuns());
} finally {
  rmSync(folder, { recursive: true, force: true });
}
