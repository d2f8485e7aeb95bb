/**
 * What moments cost a volume's user: how long a freeze holds up writes, and what a capture that reads a view takes from them.
 *
 * A freeze is looked at from the writers' side: of fio's log the longest write of each window, one freeze a window, so the pause
 * of a freeze is at most the longest write of its window. The same windows without freezes show what the machine does by itself.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNbd } from '../src/engine/volumes/nbd/client.ts';
import { fio, type Load, type RunningServer } from './volumes-nbd-servers.ts';

const LOAD: Load = { name: '4 KiB randwrite, depth 16', rw: 'randwrite', blockBytes: 4096, depth: 16 };
const WINDOW_MS = 250;
const READ_BYTES = 1024 * 1024;
const READS = 4;

export interface PauseFigures {
  readonly freezes: number;
  /** What a freeze took, until it was durable. */
  readonly freezeMsP99: number;
  /** The longest write of a window with a freeze in it. */
  readonly writeMsP99: number;
  /** The same without freezes. */
  readonly quietWriteMsP99: number;
}

export interface CaptureFigures {
  readonly quietIops: number;
  /** Shares of the load's operations that it loses; 0.2 is the target for a capture. */
  readonly cost: {
    /** To captures back to back, each as fast as it can read. */
    readonly captures: number;
    /** To the copies for one view alone, which nobody reads. */
    readonly copies: number;
    /** To the same reading, of the volume itself: no copies. */
    readonly reading: number;
  };
  readonly readMibPerSecond: number;
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

/** Reads an export from front to back, some reads at a time, as a capture does; the bytes read. */
async function readWhole(socket: string, name: string): Promise<number> {
  await using client = await connectNbd({ at: { path: socket }, export: name, tls: null }, { contexts: [] });
  let next = 0;
  const work = async (): Promise<void> => {
    const into = Buffer.alloc(READ_BYTES);
    for (let at = next; at < client.sizeBytes; at = next) {
      next = at + READ_BYTES;
      await client.read(into.subarray(0, Math.min(READ_BYTES, client.sizeBytes - at)), at);
    }
  };
  await Promise.all(Array.from({ length: READS }, work));
  return client.sizeBytes;
}

/** The load's operations a second while something goes on beside it, again and again until it is over. */
async function iopsBeside(server: RunningServer, seconds: number, folder: string, once: (i: number) => Promise<void>): Promise<number> {
  let over = false;
  const load = fio(server.uri, LOAD, seconds, folder).finally(() => (over = true));
  for (let i = 0; !over; i++) await once(i);
  return load;
}

export async function measureCapture(server: RunningServer, seconds: number, folder: string): Promise<CaptureFigures> {
  const { socket } = server;
  const quietIops = await fio(server.uri, LOAD, seconds, folder);
  const costOf = async (once: (i: number) => Promise<void>): Promise<number> =>
    1 - (await iopsBeside(server, seconds, folder, once)) / quietIops;
  let [readBytes, readMs] = [0, 0];
  const captures = await costOf(async (i) => {
    const snapshot = `capture-${i}`;
    await server.order({ kind: 'freeze', snapshot });
    const began = performance.now();
    readBytes += await readWhole(socket, `disk@${snapshot}`);
    readMs += performance.now() - began;
    await server.order({ kind: 'close', snapshot });
  });
  await server.order({ kind: 'freeze', snapshot: 'unread' });
  const copies = await costOf(() => sleep(WINDOW_MS));
  await server.order({ kind: 'close', snapshot: 'unread' });
  const reading = await costOf(async () => void (await readWhole(socket, 'disk')));
  return { quietIops, cost: { captures, copies, reading }, readMibPerSecond: readBytes / 2 ** 20 / (readMs / 1000) };
}
