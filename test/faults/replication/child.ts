/** A process of a run, seen from its starter: orders go in, lines come out, and how it ended is known. It ends with its starter. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export interface ChildOptions<Line> {
  readonly entry: string;
  readonly args: readonly string[];
  readonly variables: NodeJS.ProcessEnv;
  readonly onLine: (line: Line) => void;
}

/** What is kept of what a process says on stderr. */
const ERRORS_KEPT = 10_000;

export class Child<Order, Line> {
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  /** How it ended: a signal or a status, and what it said last. All its lines have been heard by then. */
  readonly ended: Promise<string>;
  readonly #endWithStarter = (): void => this.kill();
  #errors = '';

  constructor({ entry, args, variables, onLine }: ChildOptions<Line>) {
    this.#process = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', entry, ...args], {
      env: variables,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process.stdin.on('error', () => undefined);
    this.#process.stderr.on('data', (piece: Buffer) => (this.#errors = (this.#errors + piece.toString()).slice(-ERRORS_KEPT)));
    const lines = createInterface({ input: this.#process.stdout });
    lines.on('line', (text) => onLine(JSON.parse(text) as Line));
    process.once('exit', this.#endWithStarter);
    this.ended = Promise.all([once(this.#process, 'close'), once(lines, 'close')]).then(() => {
      process.off('exit', this.#endWithStarter);
      const { signalCode, exitCode } = this.#process;
      return `${signalCode ?? exitCode} ${this.#errors}`.trim();
    });
  }

  get isAlive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** The most that it has had in memory, in bytes; 0: it is gone. */
  get residentBytesMax(): number {
    try {
      const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8');
      return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
    } catch {
      return 0;
    }
  }

  order(order: Order): void {
    this.#process.stdin.write(`${JSON.stringify(order)}\n`);
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** It stands still until it is thawed. */
  freeze(): void {
    this.#process.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process.kill('SIGCONT');
  }

  /** No more orders: it ends by itself. */
  async dismiss(): Promise<string> {
    this.#process.stdin.end();
    return this.ended;
  }
}
