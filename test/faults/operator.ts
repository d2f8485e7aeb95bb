/**
 * An operator: a process of its own that performs operations, and is killed in the middle of one if its order says so.
 *
 *     node test/faults/operator.ts FOLDER MACHINE THREADS     orders on stdin, a line of JSON each
 *
 * Like a worker it lives as long as it may, with its home open and its caches warm. One line of JSON for each thing that its
 * starter has to know: the point that it reached, what it sent, how it ended. They are written synchronously, for the next
 * instruction may be a SIGKILL to itself.
 */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../src/domain/errors.ts';
import type { StoreName } from '../../src/domain/ids.ts';
import type { Home } from '../../src/engine/catalog/home.ts';
import { interceptStore } from '../../src/ground/stores/intercept.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { environmentOf, openHomeIn } from '../systems/installation.ts';
import type { Line, Order, Sent } from './operator-process.ts';
import { perform } from './operations.ts';
import { kindOf, setTrap, type Trap } from './points.ts';

const tell = (line: Line): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

const [folder = '', machine = '', count = '1'] = process.argv.slice(2);
const BUFFER_BYTES_PER_THREAD = 48 * 1024 * 1024;

let sent = new Map<string, { -readonly [Key in keyof Sent]: Sent[Key] }>();
const tellSent = (): void => tell({ kind: 'sent', stores: Object.fromEntries(sent) });

/** The trap of the order under way; stores are opened once and ask for it at each call. */
let trap: Trap | null = null;

const armed = (kill: Order['kill']): Trap =>
  setTrap({
    kill,
    sleep: (ms) => sleep(ms),
    spring(at, met) {
      tell({ kind: 'reached', point: met, victim: at.victim });
      if (at.victim === 'server') return;
      tellSent();
      process.kill(process.pid, 'SIGKILL');
    },
    watch(store, call, phase) {
      if (call.operation !== 'put' || kindOf(call.name) !== 'pack') return;
      const so = sent.get(store) ?? { begunBytes: 0, doneBytes: 0, begunPacks: 0, donePacks: 0 };
      sent.set(store, so);
      so[phase === 'begun' ? 'begunBytes' : 'doneBytes'] += call.sentBytes;
      so[phase === 'begun' ? 'begunPacks' : 'donePacks'] += 1;
    },
  });

const environment = environmentOf(`operator/${process.pid}`, (message) => tell({ kind: 'alarm', message }));
const threads = new Threads({ count: Number(count), bufferBytes: Number(count) * BUFFER_BYTES_PER_THREAD });
let home: Home | null = null;

async function obey({ task, attempt, kill }: Order): Promise<void> {
  sent = new Map();
  trap = armed(kill);
  try {
    home ??= await openHomeIn(folder, process.env, environment, {
      cacheDir: path.join(folder, `cache.${machine}`),
      decorate: (store, name) => ({
        ...store,
        ...interceptStore(store, (call, run) => (trap === null ? run() : trap.around(name, call, run))),
      }),
      retry: { attempts: 3, baseDelayMs: 20 },
    });
    const outcome = await perform(task.operation, {
      ...{ home, threads, by: { owner: task.id, attempt } },
      target: path.join(folder, `restored.${task.id}`),
      secretOf: (store: StoreName) => path.join(folder, `secret.${store}`),
    });
    tellSent();
    tell({ kind: 'done', outcome });
  } catch (error) {
    tellSent();
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    if (isHoldfastError(error)) tell({ kind: 'failed', code: error.code, message: error.message, stack });
    else tell({ kind: 'failed', code: 'INTERNAL', message: String(error), stack });
  }
}

// The starter is this very repository: its orders are trusted.
for await (const line of createInterface({ input: process.stdin })) await obey(JSON.parse(line) as Order);
process.exit(0);
