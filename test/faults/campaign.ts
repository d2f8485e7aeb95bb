/** A campaign: runs of successive seeds, one after the other, with one S3 server and one pool of threads for all of them. */
import type { FinderOptions } from '../../src/faces/stack/component.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { playRun } from './run.ts';
import { writeScript } from './script.ts';
import { startFaultServer, type FaultServer } from './server.ts';

export interface CampaignOptions {
  readonly seed: number;
  readonly runs: number;
  readonly point?: string;
  readonly store?: 'file' | 's3';
  readonly folder: string;
  readonly finder: FinderOptions;
  readonly say: (line: string) => void;
  readonly trace?: (line: string) => void;
  /** Stop after the first run that fails. */
  readonly bail?: boolean;
}

export interface CampaignReport {
  readonly runs: number;
  readonly seconds: number;
  readonly operations: number;
  readonly processes: number;
  readonly restores: number;
  readonly kills: ReadonlyMap<string, number>;
  readonly failed: readonly { readonly seed: number; readonly error: string; readonly command: string }[];
}

const EVERY = 20;

export async function runCampaign({
  seed,
  runs,
  point,
  store,
  folder,
  finder,
  say,
  trace,
  bail = false,
}: CampaignOptions): Promise<CampaignReport> {
  await using threads = new Threads({ count: 2 });
  let server: FaultServer | null = null;
  const kills = new Map<string, number>();
  const failed: { seed: number; error: string; command: string }[] = [];
  const sum = { operations: 0, processes: 0, restores: 0 };
  const begun = performance.now();
  let played = 0;
  try {
    for (let at = seed; at < seed + runs; at++) {
      const script = writeScript({ seed: at, ...(point === undefined ? {} : { point }), ...(store === undefined ? {} : { store }) });
      if (script.stores.some(({ kind }) => kind === 's3')) server ??= await startFaultServer(folder, finder);
      try {
        const report = await playRun(script, { server, threads, ...(trace ? { trace } : {}) });
        for (const [name, count] of report.kills) kills.set(name, (kills.get(name) ?? 0) + count);
        sum.operations += report.operations;
        sum.processes += report.processes;
        sum.restores += report.restores;
      } catch (error) {
        const flags = [point === undefined ? '' : ` --point '${point}'`, store === undefined ? '' : ` --store ${store}`].join('');
        const command = `npm run faults -- --seed ${at} --runs 1${flags} --trace`;
        failed.push({ seed: at, error: error instanceof Error ? (error.stack ?? error.message) : String(error), command });
        say(`seed ${at} FAILED: ${failed.at(-1)?.error ?? ''}\n  ${command}`);
        if (bail) break;
      }
      played++;
      const seconds = (performance.now() - begun) / 1000;
      if (played % EVERY === 0) say(`${played} of ${runs} runs, ${(played / seconds).toFixed(2)} a second, ${failed.length} failed`);
    }
  } finally {
    await server?.[Symbol.asyncDispose]();
  }
  return { runs: played, seconds: (performance.now() - begun) / 1000, kills, failed, ...sum };
}

/** The summary as a person reads it: kills by point, figures, and the command of each failed run. */
export function tableOf({ runs, seconds, operations, processes, restores, kills, failed }: CampaignReport): string {
  const rows = [...kills].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => `${String(count).padStart(6)}  ${name}\n`);
  const total = [...kills.values()].reduce((all, count) => all + count, 0);
  return [
    ` kills  point\n`,
    ...rows,
    `${String(total).padStart(6)}  in ${runs} runs: ${operations} operations by ${processes} processes, ${restores} restores compared, `,
    `${seconds.toFixed(0)} s, ${(runs / seconds).toFixed(2)} runs a second\n`,
    failed.length === 0 ? 'all passed\n' : `${failed.length} FAILED\n${failed.map(({ command }) => `  ${command}\n`).join('')}`,
  ].join('');
}
