/** The disk server of a run: the process that `holdfast up` starts, with a life that is ended and begun again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { workerArguments } from '../../../src/faces/cli/worker-entry.ts';
import type { Host } from '../../../src/engine/volumes/host.ts';
import { Violation } from './violation.ts';

/** Long enough for a machine that does much else. */
const READY_WITHIN_MS = 60_000;
const STOPS_WITHIN_MS = 30_000;
const POLL_MS = 25;

export interface ServerOptions {
  readonly variables: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly host: Host;
  /** It ended, and nobody had asked it to. */
  readonly onUnexpectedEnd: (violation: Violation) => void;
}

export class DisksProcess implements AsyncDisposable {
  readonly #options: ServerOptions;
  #child: ChildProcess | null = null;
  #exit: Promise<readonly [number | null, NodeJS.Signals | null]> = Promise.resolve([0, null]);
  #isWanted = false;

  readonly #endWithStarter = (): void => void this.#child?.kill('SIGKILL');

  constructor(options: ServerOptions) {
    this.#options = options;
    process.once('exit', this.#endWithStarter);
  }

  /** Does not wait until it serves. */
  spawn(): void {
    const { variables, logFile, onUnexpectedEnd } = this.#options;
    const log = openSync(logFile, 'a');
    const child = spawn(process.execPath, [...workerArguments('disks')], { env: variables, stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    this.#isWanted = true;
    this.#exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    void this.#exit.then(([status, signal]) => {
      if (this.#isWanted && this.#child === child)
        onUnexpectedEnd(new Violation(`the disk server ended by itself with ${signal ?? status}\n${this.logTail()}`));
    });
  }

  async ready(): Promise<void> {
    for (const deadline = performance.now() + READY_WITHIN_MS; performance.now() < deadline; await sleep(POLL_MS)) {
      const answer = await this.#options.host.disks.list().catch((error: unknown) => error);
      if (!isHoldfastError(answer, 'DISKS_NOT_SERVED') || !this.#isWanted) return;
    }
    throw new Violation(`the disk server does not answer within ${READY_WITHIN_MS} ms\n${this.logTail()}`);
  }

  async kill(): Promise<void> {
    this.#isWanted = false;
    this.#child?.kill('SIGKILL');
    await this.#exit;
  }

  /** SIGTERM, and SIGKILL after it if it is to come that soon. How it ended. */
  async stop(killAfterMs: number | null): Promise<'stopped' | 'killed'> {
    this.#isWanted = false;
    this.#child?.kill('SIGTERM');
    const patience = killAfterMs ?? STOPS_WITHIN_MS;
    const kill = new AbortController();
    const [status, signal] = await Promise.race([
      this.#exit,
      sleep(patience, undefined, { signal: kill.signal }).then(() => {
        this.#child?.kill('SIGKILL');
        return this.#exit;
      }),
    ]);
    kill.abort();
    if (signal === 'SIGKILL' && killAfterMs === null)
      throw new Violation(`the disk server has not stopped ${STOPS_WITHIN_MS} ms after SIGTERM\n${this.logTail()}`);
    if (signal === null && status === 0) return 'stopped';
    // Before its handlers are there, SIGTERM ends it at once: as good as a kill.
    if (signal === 'SIGKILL' || signal === 'SIGTERM') return 'killed';
    throw new Violation(`the disk server ended with ${signal ?? status} after SIGTERM\n${this.logTail()}`);
  }

  logTail(): string {
    const lines = readFileSync(this.#options.logFile, 'utf8').trimEnd().split('\n');
    return lines.slice(-25).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    process.off('exit', this.#endWithStarter);
  }
}
