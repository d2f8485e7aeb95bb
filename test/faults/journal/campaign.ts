/** Runs of successive seeds, one after the other, over one S3 server; the summary as a person reads it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FinderOptions } from '../../../src/faces/stack/component.ts';
import { addCounts } from '../counting.ts';
import { startFaultServer } from '../server.ts';
import { COUNTED, noCounts, type Counted, type Counts } from './counts.ts';
import { hasFio } from './fio.ts';
import { MUTANTS, type Mutant } from './mutants.ts';
import { playRun } from './run.ts';
import { writeScript } from './script.ts';

export interface JournalCampaignOptions {
  readonly seed: number;
  readonly runs: number;
  /** No run is begun after so many seconds. */
  readonly seconds?: number;
  /** Its safeguard is taken out, in runs that need it; the first one that fails ends the campaign. */
  readonly mutant?: Mutant;
  readonly finder: FinderOptions;
  readonly say: (line: string) => void;
  readonly trace: (line: string) => void;
}

export interface JournalReport {
  readonly runs: number;
  readonly seconds: number;
  readonly counts: Counts;
  readonly failed: readonly { readonly seed: number; readonly violation: string; readonly isJudged: boolean; readonly command: string }[];
}

const EVERY = 20;

export async function runJournalCampaign(options: JournalCampaignOptions): Promise<JournalReport> {
  const { seed, runs, seconds = Infinity, finder, say, trace, mutant } = options;
  const patches = mutant?.patches ?? [];
  const withFio = await hasFio();
  if (!withFio) say('*** fio is not on this machine: runs go without the disk that it loads');
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-journal-s3-'));
  const counts = noCounts();
  const failed: JournalReport['failed'][number][] = [];
  const begunMs = performance.now();
  const tookSeconds = (): number => (performance.now() - begunMs) / 1000;
  let played = 0;
  try {
    await using server = await startFaultServer(folder, finder);
    for (
      let at = seed;
      played < runs && tookSeconds() < seconds && (mutant === undefined || !failed.some(({ isJudged }) => isJudged));
      at++
    ) {
      if (mutant?.fits(writeScript(at)) === false) continue;
      const report = await playRun({ seed: at, server, trace, withFio, patches });
      played++;
      addCounts(counts, report.counts);
      if (report.violation !== null) {
        const command = `npm run faults -- journal --seed ${at} --runs 1 --trace${mutant === undefined ? '' : ` --mutant ${mutant.name}`}`;
        failed.push({ seed: at, violation: report.violation, isJudged: report.isJudged, command });
        say(`seed ${at} FAILED: ${report.violation}\n  ${command}`);
      }
      if (played % EVERY === 0) say(`${played} of ${runs} runs, ${(tookSeconds() / played).toFixed(1)} s each, ${failed.length} failed`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { runs: played, seconds: tookSeconds(), counts, failed };
}

export function journalTable({ runs, seconds, counts, failed }: JournalReport): string {
  return [
    ...(Object.keys(COUNTED) as Counted[]).map((name) => `${String(counts[name]).padStart(8)}  ${COUNTED[name]}`),
    `${runs} runs, ${seconds.toFixed(0)} s, ${(seconds / Math.max(1, runs)).toFixed(1)} s each`,
    failed.length === 0 ? 'all passed\n' : `${failed.length} FAILED\n${failed.map(({ command }) => `  ${command}\n`).join('')}`,
  ].join('\n');
}

/** Every mutant until it fails, within so many runs. The names of those that do not. */
export async function playMutants(options: JournalCampaignOptions): Promise<readonly string[]> {
  const survivors: string[] = [];
  for (const mutant of MUTANTS) {
    const { failed, runs } = await runJournalCampaign({ ...options, mutant, say: () => undefined });
    const seen = failed.find(({ isJudged }) => isJudged);
    options.say(`${mutant.name}: ${seen?.violation ?? `survives ${runs} runs`}`);
    if (seen === undefined) survivors.push(mutant.name);
  }
  return survivors;
}
