/** Runs of successive seeds, one after the other, with one pool of threads for all of them; the summary as a person reads it. */
import { Threads } from '../../../src/ground/threads/threads.ts';
import { addCounts } from '../counting.ts';
import { COUNTED, noCounts, type Counted, type Counts } from './counts.ts';
import { playRun } from './run.ts';

export interface ReplicationCampaignOptions {
  readonly seed: number;
  readonly runs: number;
  /** No run is begun after so many seconds. */
  readonly seconds?: number;
  readonly point?: string;
  readonly say: (line: string) => void;
  readonly trace: (line: string) => void;
}

export interface ReplicationReport {
  readonly runs: number;
  readonly seconds: number;
  readonly counts: Counts;
  readonly kills: ReadonlyMap<string, number>;
  readonly failures: ReadonlyMap<string, number>;
  readonly residentBytesMax: number;
  readonly failed: readonly { readonly seed: number; readonly violation: string; readonly command: string }[];
}

const EVERY = 20;
const BUFFER_BYTES = 48 * 1024 * 1024;

const addTo = (sum: Map<string, number>, more: ReadonlyMap<string, number>): void => {
  for (const [name, count] of more) sum.set(name, (sum.get(name) ?? 0) + count);
};

export async function runReplicationCampaign(options: ReplicationCampaignOptions): Promise<ReplicationReport> {
  const { seed, runs, seconds = Infinity, point = null, say, trace } = options;
  await using threads = new Threads({ count: 1, bufferBytes: BUFFER_BYTES });
  const counts = noCounts();
  const [kills, failures] = [new Map<string, number>(), new Map<string, number>()];
  const failed: ReplicationReport['failed'][number][] = [];
  const begunMs = performance.now();
  const tookSeconds = (): number => (performance.now() - begunMs) / 1000;
  let residentBytesMax = 0;
  let played = 0;
  for (let at = seed; at < seed + runs && tookSeconds() < seconds; at++) {
    const report = await playRun({ seed: at, threads, trace, point });
    played++;
    addCounts(counts, report.counts);
    addTo(kills, report.kills);
    addTo(failures, report.failures);
    residentBytesMax = Math.max(residentBytesMax, report.residentBytesMax);
    if (report.violation !== null) {
      const command = `npm run faults -- replication --seed ${at} --runs 1${point === null ? '' : ` --point '${point}'`} --trace`;
      failed.push({ seed: at, violation: report.violation, command });
      say(`seed ${at} FAILED: ${report.violation}\n  ${command}`);
    }
    if (played % EVERY === 0) say(`${played} of ${runs} runs, ${(tookSeconds() / played).toFixed(1)} s each, ${failed.length} failed`);
  }
  return { runs: played, seconds: tookSeconds(), counts, kills, failures, residentBytesMax, failed };
}

const rowsOf = (counts: ReadonlyMap<string, number>): string[] =>
  [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => `${String(count).padStart(8)}  ${name}`);

export function replicationTable({ runs, seconds, counts, kills, failures, residentBytesMax, failed }: ReplicationReport): string {
  return [
    '   kills  point',
    ...rowsOf(kills),
    'attempts  ended with',
    ...rowsOf(failures),
    ...(Object.keys(COUNTED) as Counted[]).map((name) => `${String(counts[name]).padStart(8)}  ${COUNTED[name]}`),
    `${String(Math.ceil(residentBytesMax / 2 ** 20)).padStart(8)}  MiB that a receiver had in memory at the most`,
    `${runs} runs, ${seconds.toFixed(0)} s, ${(seconds / Math.max(1, runs)).toFixed(1)} s each`,
    failed.length === 0 ? 'all passed\n' : `${failed.length} FAILED\n${failed.map(({ command }) => `  ${command}\n`).join('')}`,
  ].join('\n');
}
