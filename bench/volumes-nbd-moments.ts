/**
 * What moments cost a volume's user: how long a freeze holds up writes. (What captures take from them is in served.ts.)
 *
 * A freeze is looked at from the writers' side: of fio's log the longest write of each window, one freeze a window, so the pause
 * of a freeze is at most the longest write of its window. The same windows without freezes show what the machine does by itself.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fio, type Load, type RunningServer } from './volumes-nbd-servers.ts';

const LOAD: Load = { name: '4 KiB randwrite, depth 16', rw: 'randwrite', blockBytes: 4096, depth: 16 };
const WINDOW_MS = 250;

export interface PauseFigures {
  readonly freezes: number;
  /** What a freeze took, until it was durable. */
  readonly freezeMsP99: number;
  /** The longest write of a window with a freeze in it. */
  readonly writeMsP99: number;
  /** The same without freezes. */
  readonly quietWriteMsP99: number;
}

const percentile99 = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(numbers.length * 0.99) - 1)] ?? NaN;

/** The longest write of each window, in milliseconds; the first has fio's start in it. */
async function longestWrites(server: RunningServer, seconds: number, folder: string, name: string): Promise<readonly number[]> {
  const log = path.join(folder, name);
  await fio(server.uri, LOAD, seconds, folder, [`--write_lat_log=${log}`, `--log_avg_msec=${WINDOW_MS}`, '--log_max_value=1']);
  const lines = readFileSync(`${log}_clat.1.log`, 'utf8').trim().split('\n').slice(1);
  return lines.map((line) => Number(line.split(',')[1]) / 1e6);
}

export async function measurePause(server: RunningServer, seconds: number, folder: string): Promise<PauseFigures> {
  const quiet = await longestWrites(server, seconds, folder, 'quiet');
  let over = false;
  const writing = longestWrites(server, seconds, folder, 'frozen').finally(() => (over = true));
  const freezes: number[] = [];
  await sleep(2 * WINDOW_MS);
  while (!over) {
    const snapshot = `pause-${freezes.length}`;
    freezes.push(await server.order({ kind: 'freeze', snapshot }));
    await sleep(WINDOW_MS / 2);
    await server.order({ kind: 'close', snapshot });
    await sleep(WINDOW_MS / 2);
  }
  const [freezeMsP99, writeMsP99, quietWriteMsP99] = [freezes, await writing, quiet].map(percentile99) as [number, number, number];
  return { freezes: freezes.length, freezeMsP99, writeMsP99, quietWriteMsP99 };
}
