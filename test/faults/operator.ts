/**
 * An operator: a process of its own that performs one operation and is killed on the way, if its order says so.
 *
 *     node test/faults/operator.ts '<order as JSON>'
 *
 * One line of JSON for each thing that its starter has to know: the point that it reached, what it sent, how it ended. They are
 * written synchronously, for the next instruction may be a SIGKILL to itself.
 */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../src/domain/errors.ts';
import type { StoreName } from '../../src/domain/ids.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { environmentOf, openHomeIn } from '../systems/installation.ts';
import type { Line, Order } from './operator-process.ts';
import { perform } from './operations.ts';
import { kindOf, setTrap } from './points.ts';

const tell = (line: Line): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

// The starter is this very repository: trusted inside.
const order = JSON.parse(process.argv[2] ?? '') as Order;
const { folder, task, attempt, kill } = order;

const sent = new Map<string, { begunBytes: number; doneBytes: number; begunPacks: number; donePacks: number }>();
const tellSent = (): void => tell({ kind: 'sent', stores: Object.fromEntries(sent) });

const trap = setTrap({
  kill,
  sleep: (ms) => sleep(ms),
  spring(at) {
    tell({ kind: 'reached', point: at.point, victim: at.victim });
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

try {
  const environment = environmentOf(`operator/${process.pid}`, (message) => tell({ kind: 'alarm', message }));
  await using home = await openHomeIn(folder, process.env, environment, {
    cacheDir: path.join(folder, `cache.${task.machine}`),
    decorate: (store, name) => trap.decorate(store, name),
    retry: { attempts: 3, baseDelayMs: 20 },
  });
  await using threads = new Threads({ count: order.threads, bufferBytes: order.threads * 48 * 1024 * 1024 });
  const outcome = await perform(task.operation, {
    ...{ home, threads, by: { owner: task.id, attempt } },
    target: path.join(folder, `restored.${task.id}`),
    secretOf: (store: StoreName) => path.join(folder, `secret.${store}`),
  });
  tellSent();
  tell({ kind: 'done', outcome });
} catch (error) {
  tellSent();
  if (isHoldfastError(error)) tell({ kind: 'failed', code: error.code, message: error.message, stack: error.stack ?? '' });
  else tell({ kind: 'failed', code: 'INTERNAL', message: String(error), stack: error instanceof Error ? (error.stack ?? '') : '' });
}
process.exit(0);
