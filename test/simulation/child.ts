/** A simulation in a process of its own, as tests start it: source patches stand before the first production module is loaded. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Simulated {
  readonly ok: boolean;
  readonly output: string;
}

export const simulate = (...args: readonly string[]): Promise<Simulated> =>
  new Promise((resolve) => {
    const main = fileURLToPath(new URL('main.ts', import.meta.url));
    execFile(process.execPath, [main, ...args], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve({ ok: error === null, output: `${stdout}${error === null ? '' : stderr}` }),
    );
  });

/** What a run traced, without the sums at its end. */
export const tracedIn = ({ output }: Simulated): string[] =>
  output.split('\n').filter((line) => /^ {2,}\d* /.test(line) && !/^ {2}\S/.test(line));
