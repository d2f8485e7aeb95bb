/** Capturers seen from their starter: what they are ordered, what they tell, how an order ends; killed on the way if it says so. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { ErrorCode } from '../../../src/domain/errors.ts';
import type { SnapshotId, StoreName, VolumeName } from '../../../src/domain/ids.ts';

export interface CaptureOrder {
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  readonly owner: string;
  readonly attempt: number;
}

export interface OpenedLine {
  readonly kind: 'opened';
  readonly identity: string;
  readonly momentKind: string;
  readonly stamp: string;
  readonly failed: readonly { readonly store: StoreName; readonly code: string }[];
}

export type CaptureLine =
  | OpenedLine
  | { readonly kind: 'shipped'; readonly readBytes: number; readonly changedBytes: number | null }
  | { readonly kind: 'store failed'; readonly store: StoreName; readonly code: ErrorCode }
  | { readonly kind: 'committed'; readonly store: StoreName }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly stack: string };

/** After the moment was frozen. */
export interface Word {
  readonly kind: 'go' | 'give up';
}

export type CaptureEnding = Extract<CaptureLine, { kind: 'done' | 'failed' }> | { readonly kind: 'killed' };

const ENTRY = path.join(import.meta.dirname, 'capturer.ts');
/** A capture of these sizes takes a second; what takes this long hangs. */
const HANGS_AFTER_MS = 90_000;

export class Capturer implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #closed: Promise<unknown>;
  #onLine: (line: CaptureLine) => void = () => undefined;
  #errors = '';

  constructor(folder: string, number: number, variables: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ENTRY, folder, String(number)], {
      env: variables,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#closed = once(this.#child, 'close');
    this.#child.stdin.on('error', () => undefined);
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-10_000);
    });
    createInterface({ input: this.#child.stdout }).on('line', (text) => this.#onLine(JSON.parse(text) as CaptureLine));
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** `onOpened` answers what to do with the moment; lines come in their order. */
  async carryOut(order: CaptureOrder, onLine: (line: CaptureLine) => void, onOpened: (line: OpenedLine) => Word): Promise<CaptureEnding> {
    const told = new Promise<CaptureEnding>((resolve) => {
      this.#onLine = (line) => {
        onLine(line);
        if (line.kind === 'opened') this.#send(onOpened(line));
        if (line.kind === 'done' || line.kind === 'failed') resolve(line);
      };
    });
    const hangs = setTimeout(() => this.#child.kill('SIGABRT'), HANGS_AFTER_MS);
    this.#send(order);
    const ending = await Promise.race([told, this.#closed.then(() => this.#fate())]);
    clearTimeout(hangs);
    return ending;
  }

  #send(what: CaptureOrder | Word): void {
    this.#child.stdin.write(`${JSON.stringify(what)}\n`);
  }

  #fate(): CaptureEnding {
    const { signalCode, exitCode } = this.#child;
    if (signalCode === 'SIGKILL') return { kind: 'killed' };
    return { kind: 'failed', code: 'INTERNAL', message: `the capturer ended with ${signalCode ?? exitCode}`, stack: this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isAlive) this.kill();
    await this.#closed;
  }
}
