/** Runs of successive seeds, one after another, until the time is up or one of them fails. */
import { addCounts } from '../counting.ts';
import { COUNTED, noCounts, type Counted, type Counts } from './counts.ts';
import { playRun } from './run.ts';

export interface VolumesCampaignOptions {
  readonly seed: number;
  /** For all runs; a run lasts RUN_SECONDS at the most, then what it does to compare everything. */
  readonly seconds: number;
  /** So many at the most. */
  readonly runs: number;
  readonly say: (line: string) => void;
  readonly trace: (line: string) => void;
}

const RUN_SECONDS = 60;

/** True: all passed. */
export async function runVolumesCampaign({ seed, seconds, runs, say, trace }: VolumesCampaignOptions): Promise<boolean> {
  const begun = performance.now();
  const left = (): number => seconds - (performance.now() - begun) / 1000;
  const sum = noCounts();
  let played = 0;
  for (let at = seed; played < runs && (played === 0 || left() > RUN_SECONDS / 3); at++) {
    const runSeconds = Math.max(5, Math.min(RUN_SECONDS, Math.floor(left())));
    say(`seed ${at}: ${runSeconds} s`);
    const { counts, violation } = await playRun({ seed: at, seconds: runSeconds, trace });
    played++;
    addCounts(sum, counts);
    say(summaryOf(counts));
    if (violation === null) continue;
    const command = `npm run faults -- volumes --seconds ${runSeconds} --runs 1 --seed ${at} --trace`;
    say(`seed ${at} FAILED: ${violation}\n  ${command}`);
    return false;
  }
  say(tableOf(sum, played, (performance.now() - begun) / 1000));
  return true;
}

const summaryOf = ({ kills, stops, changes, snapshots, incremental, alone, groups }: Counts): string =>
  `  ${kills} kills, ${stops} stops, ${changes} changes, ${snapshots} snapshots compared, ${incremental} incremental, ` +
  `${alone} instant restores, ${groups} groups`;

function tableOf(counts: Counts, runs: number, seconds: number): string {
  const rows = (Object.keys(COUNTED) as Counted[]).map((name) => `${String(counts[name]).padStart(9)}  ${COUNTED[name]}`);
  return [...rows, `all held in ${runs} runs, ${seconds.toFixed(0)} s`].join('\n');
}
