/** Operators seen from their starter: what they are ordered, what they tell, how an order ends; kept for the next one while they live. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { Outcome } from './operations.ts';
import type { Kill } from './points.ts';
import type { Task } from './script.ts';

export interface Order {
  readonly task: Task;
  readonly attempt: number;
  readonly kill: Kill | null;
}

export interface Sent {
  readonly begunBytes: number;
  readonly doneBytes: number;
  readonly begunPacks: number;
  readonly donePacks: number;
}

export type Line =
  | { readonly kind: 'reached'; readonly point: string; readonly victim: Kill['victim'] }
  | { readonly kind: 'sent'; readonly stores: Readonly<Record<string, Sent>> }
  | { readonly kind: 'alarm'; readonly message: string }
  | { readonly kind: 'done'; readonly outcome: Outcome }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly stack: string };

export type Ending = Extract<Line, { kind: 'done' | 'failed' }> | { readonly kind: 'killed' };

export interface Attended {
  readonly ending: Ending;
  readonly reached: string | null;
  readonly sent: Readonly<Record<string, Sent>>;
  readonly alarms: readonly string[];
}

export interface Workforce extends AsyncDisposable {
  /** Has an order carried out by an operator of that machine that is idle, or by a new one. */
  operate(order: Order): Promise<Attended>;
  /** Processes started so far. */
  started(): number;
}

export interface WorkforceOptions {
  readonly folder: string;
  readonly threads: number;
  readonly variables: NodeJS.ProcessEnv;
  /** What happens to the server when a trap is set for it. */
  readonly strike: () => Promise<void>;
}

const ENTRY = path.join(import.meta.dirname, 'operator.ts');
/** An operation takes a second; what takes this long hangs. */
const HANGS_AFTER_MS = 60_000;

export function createWorkforce({ folder, threads, variables, strike }: WorkforceOptions): Workforce {
  const idle = new Map<string, Operator[]>();
  const all: Operator[] = [];
  return {
    started: () => all.length,
    async operate(order) {
      const { machine } = order.task;
      const waiting = idle.get(machine) ?? [];
      idle.set(machine, waiting);
      let operator = waiting.pop();
      if (operator === undefined) {
        operator = new Operator([folder, machine, String(threads)], variables);
        all.push(operator);
      }
      const attended = await operator.carryOut(order, strike);
      if (operator.isAlive) waiting.push(operator);
      return attended;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(all.map((operator) => operator[Symbol.asyncDispose]()));
    },
  };
}

class Operator implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #closed: Promise<unknown>;
  #onLine: (line: Line) => void = () => undefined;
  #errors = '';

  constructor(args: readonly string[], variables: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ENTRY, ...args], {
      env: variables,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#closed = once(this.#child, 'close');
    // An order to one that was just killed: its end tells.
    this.#child.stdin.on('error', () => undefined);
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-10_000);
    });
    // Lines of this very repository: trusted inside.
    createInterface({ input: this.#child.stdout }).on('line', (text) => this.#onLine(JSON.parse(text) as Line));
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async carryOut(order: Order, strike: () => Promise<void>): Promise<Attended> {
    let reached: string | null = null;
    let sent: Attended['sent'] = {};
    let striking: Promise<void> = Promise.resolve();
    const alarms: string[] = [];
    const told = new Promise<Ending>((resolve) => {
      this.#onLine = (line) => {
        if (line.kind === 'done' || line.kind === 'failed') return resolve(line);
        if (line.kind === 'sent') sent = line.stores;
        else if (line.kind === 'alarm') alarms.push(line.message);
        else {
          reached = line.victim === 'server' ? 'the server dies' : line.point;
          if (line.victim === 'server') striking = strike();
        }
      };
    });
    const hangs = setTimeout(() => this.#child.kill('SIGABRT'), HANGS_AFTER_MS);
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    const ending = await Promise.race([told, this.#closed.then(() => this.#fate())]);
    clearTimeout(hangs);
    await striking;
    return { ending, reached, sent, alarms };
  }

  #fate(): Ending {
    const { signalCode } = this.#child;
    if (signalCode === 'SIGKILL') return { kind: 'killed' };
    const message = `the operator ended with ${signalCode ?? this.#child.exitCode ?? 'no word'}`;
    return { kind: 'failed', code: 'INTERNAL', message, stack: this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isAlive) this.#child.kill('SIGKILL');
    await this.#closed;
  }
}
