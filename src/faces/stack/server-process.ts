/**
 * A server as a child process: started, awaited, stopped, and never left behind by accident.
 *
 * Two lifetimes. `session`: the server ends with this process, also when this process is killed with -9. That takes a third
 * party: a shell that waits for the end of a pipe which only this process holds, and then ends the server; handlers for
 * signals and exit would miss kill -9 and crashes. The other one: the server stays, and its pid is noted, for `holdfast up`.
 *
 * The server writes to a log file, never to a pipe: one whose pipe is closed dies of it when its starter ends.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../domain/errors.ts';

const READY_POLL_MS = 25;
const LOG_TAIL_BYTES = 2000;
/** Temporal takes up to 3.3 s from SIGTERM to its end, Kafka 2.1 s. */
const STOP_GRACE_MS = 15_000;

const GUARD_SCRIPT = `
read -r end_of_pipe
kill -s "$2" "$1" 2>/dev/null || exit 0
for tenth in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
  sleep 0.1
  kill -s 0 "$1" 2>/dev/null || exit 0
done
kill -s KILL "$1" 2>/dev/null
`;

/** With this process, or beyond it: then somebody notes the pid before anything else can go wrong. */
export type ServerLifetime = 'session' | { readonly recordPid: (pid: number) => Promise<void> };

export interface ServerSpec {
  /** For messages: "temporal". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the server. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  readonly lifetime: ServerLifetime;
  /** True once the server can be used; false or a rejection means "not yet". */
  readonly isReady: () => Promise<boolean>;
  readonly readyWithinMs: number;
  /** Nothing on its disk is worth a graceful end: stop() kills at once. */
  readonly disposable: boolean;
  /** What asks it to end; SIGTERM where nothing is said. */
  readonly stopSignal?: 'SIGTERM' | 'SIGINT';
  /** Who it runs as; absent: whoever runs this process. */
  readonly runAs?: { readonly uid: number; readonly gid: number };
}

export class ServerProcess {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #guard: ChildProcess | null;
  readonly #disposable: boolean;
  readonly #stopSignal: 'SIGTERM' | 'SIGINT';

  private constructor(child: ChildProcess, pid: number, spec: ServerSpec) {
    this.#child = child;
    this.pid = pid;
    this.#ended = once(child, 'exit');
    this.#disposable = spec.disposable;
    this.#stopSignal = spec.stopSignal ?? 'SIGTERM';
    this.#guard = spec.lifetime === 'session' ? ServerProcess.#startGuard(pid, this.#stopSignal) : null;
    child.unref();
  }

  static #startGuard(pid: number, signal: string): ChildProcess {
    const guard = spawn('/bin/sh', ['-c', GUARD_SCRIPT, 'holdfast-guard', String(pid), signal.replace('SIG', '')], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    guard.unref();
    if (guard.stdin instanceof Socket) guard.stdin.unref();
    return guard;
  }

  /** Starts the server and waits until it is ready; on failure nothing is left running and the message ends with its log. */
  static async start(spec: ServerSpec): Promise<ServerProcess> {
    await mkdir(path.dirname(spec.logFile), { recursive: true });
    const log = await open(spec.logFile, 'a', 0o600);
    const child = spawn(spec.command, spec.args, { detached: true, stdio: ['ignore', log.fd, log.fd], env: spec.env, ...spec.runAs });
    try {
      await once(child, 'spawn');
    } catch (error) {
      throw new HoldfastError('COMPONENT_UNAVAILABLE', `${spec.name} cannot be started: ${spec.command}`, { component: spec.name }, error);
    } finally {
      await log.close();
    }
    if (child.pid === undefined) throw new HoldfastError('INTERNAL', `${spec.name} was started and has no pid`);
    const server = new ServerProcess(child, child.pid, spec);
    if (spec.lifetime !== 'session') await spec.lifetime.recordPid(child.pid);
    await server.#waitUntilReady(spec);
    return server;
  }

  async #waitUntilReady(spec: ServerSpec): Promise<void> {
    const deadlineMs = performance.now() + spec.readyWithinMs;
    while (this.isRunning && performance.now() < deadlineMs) {
      const ready = await spec.isReady().catch(() => false);
      if (ready && this.isRunning) return;
      await sleep(READY_POLL_MS);
    }
    const fate = this.isRunning ? `was not ready within ${spec.readyWithinMs / 1000} s` : 'ended while it started';
    await this.kill();
    const log = await readFile(spec.logFile, 'utf8');
    throw new HoldfastError('COMPONENT_UNAVAILABLE', `${spec.name} ${fate}: ${log.slice(-LOG_TAIL_BYTES).trim()}`, {
      component: spec.name,
      logFile: spec.logFile,
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** SIGTERM (or the server's own signal), and SIGKILL when that takes too long; at once SIGKILL where nothing is worth saving. Safe to call twice. */
  async stop(): Promise<void> {
    if (!this.#disposable && this.isRunning) {
      this.#child.kill(this.#stopSignal);
      const grace = new AbortController();
      await Promise.race([this.#ended, sleep(STOP_GRACE_MS, undefined, { signal: grace.signal }).catch(() => undefined)]);
      grace.abort();
    }
    await this.kill();
  }

  /** SIGKILL: what a fault test does to it. */
  async kill(): Promise<void> {
    if (this.isRunning) {
      this.#child.ref();
      this.#child.kill('SIGKILL');
      await this.#ended;
    }
    this.#guard?.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
