/** An operator seen from its starter: what it is ordered, what it tells, how it ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Outcome } from './operations.ts';
import type { Kill } from './points.ts';
import type { Task } from './script.ts';

export interface Order {
  /** Of the installation. */
  readonly folder: string;
  readonly task: Task;
  readonly attempt: number;
  readonly kill: Kill | null;
  readonly threads: number;
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

const ENTRY = path.join(import.meta.dirname, 'operator.ts');
/** A run's operations take a second; what takes this long hangs. */
const HANGS_AFTER_MS = 60_000;

/** Runs one operator to its end. `strike` is what happens to the server when the trap is set for it. */
export async function operate(order: Order, variables: NodeJS.ProcessEnv, strike: () => Promise<void>): Promise<Attended> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ENTRY, JSON.stringify(order)], {
    env: variables,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const hangs = setTimeout(() => child.kill('SIGABRT'), HANGS_AFTER_MS);
  const exit = once(child, 'close');
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  let ending: Ending | null = null;
  let reached: string | null = null;
  let sent: Attended['sent'] = {};
  let striking: Promise<void> = Promise.resolve();
  const alarms: string[] = [];
  for await (const text of createInterface({ input: child.stdout })) {
    // Its own lines: trusted inside.
    const line = JSON.parse(text) as Line;
    if (line.kind === 'reached') {
      reached = line.victim === 'server' ? 'the server dies' : line.point;
      if (line.victim === 'server') striking = strike();
    } else if (line.kind === 'sent') sent = line.stores;
    else if (line.kind === 'alarm') alarms.push(line.message);
    else ending = line;
  }
  const [, signal] = (await exit) as [number | null, NodeJS.Signals | null];
  clearTimeout(hangs);
  await striking;
  if (signal === 'SIGKILL') ending = { kind: 'killed' };
  if (ending === null)
    ending = { kind: 'failed', code: 'INTERNAL', message: `the operator ended with ${signal ?? 'no word'}`, stack: errors };
  return { ending, reached, sent, alarms };
}
