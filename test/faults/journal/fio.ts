/** fio as the client of a disk: a load that knows nothing of this campaign. When it is cut off it begins again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPrograms } from '../../../src/faces/demo/programs.ts';

export interface Fio {
  load(): void;
  /** Its server is gone: it would ask for ever. */
  cut(): void;
  /** What it has asked for is answered. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const RETRY_MS = 300;
const ENDS_WITHIN_MS = 5000;

export const hasFio = async (): Promise<boolean> =>
  (await createPrograms(process.env['PATH'] ?? '', new AbortController().signal).find('fio')) !== null;

export function createFio(uri: string, seed: number, folder: string): Fio {
  const what = ['--name=load', '--ioengine=nbd', `--uri=${uri}`, '--rw=randrw', '--rwmixread=20', '--bsrange=512-32k', '--iodepth=8'];
  const how = ['--fsync=24', '--rate_iops=150', '--thread', '--time_based', '--runtime=600', '--size=1m', `--randseed=${seed}`];
  let isWanted = true;
  let child: ChildProcess | null = null;
  const cut = (): void => void child?.kill('SIGKILL');
  process.once('exit', cut);
  let running = Promise.resolve();
  const run = async (): Promise<void> => {
    while (isWanted) {
      child = spawn('fio', [...what, ...how], { stdio: 'ignore', cwd: folder });
      const ended = Promise.withResolvers<unknown>();
      child.once('exit', ended.resolve).once('error', ended.resolve);
      await ended.promise;
      await sleep(RETRY_MS);
    }
  };
  return {
    load() {
      running = run();
    },
    cut,
    async stop() {
      isWanted = false;
      child?.kill('SIGINT');
      const late = setTimeout(cut, ENDS_WITHIN_MS);
      await running;
      clearTimeout(late);
      process.off('exit', cut);
    },
    async kill() {
      isWanted = false;
      cut();
      await running;
      process.off('exit', cut);
    },
  };
}
