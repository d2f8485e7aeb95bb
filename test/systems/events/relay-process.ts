/**
 * A relay in a process of its own over an installation, which kills itself with -9 at the n-th passing of a named point:
 *
 *     node relay-process.ts <folder of the installation> <point> <n>
 *
 * `none`: at no point. Points stand where the service hands something to the brokers or to the store, and where that has been taken.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEvents } from '../../../src/systems/events/events-service.ts';
import { isGoneFrom } from '../../../workers/events.ts';
import { environmentOf, HOST, openHomeIn } from '../installation.ts';

export const POINTS = ['before send', 'long before send', 'within send', 'after send', 'before position', 'after position'] as const;
export type Point = (typeof POINTS)[number] | 'none';

if (process.argv[1] === import.meta.filename) {
  const [folder = '', at = 'none', nth = '1'] = process.argv.slice(2);
  let left = Number(nth);
  const pass = (point: Point): void => {
    if (point === at && --left === 0) process.kill(process.pid, 'SIGKILL');
  };
  const environment = environmentOf(`${HOST}/${process.pid}`, () => undefined);
  await using home = await openHomeIn(folder, process.env, environment, { cacheDir: path.join(folder, `cache-${process.pid}`) });
  await using _ = startEvents({
    ...{ home, start: () => Promise.resolve('started' as const), isGone: isGoneFrom(HOST) },
    decorate: {
      sender: (sender) => ({
        async send(events) {
          pass('before send');
          // What stands in the store while these wait must not count on them.
          if (at === 'long before send') await sleep(2500);
          pass('long before send');
          const sending = sender.send(events);
          // The request is with the brokers, or on its way.
          const within = setTimeout(() => pass('within send'), 2);
          await sending;
          clearTimeout(within);
          pass('after send');
        },
        [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
      }),
      registers: (registers) => ({
        ...registers,
        newest: () => registers.newest(),
        async put(k, register) {
          pass('before position');
          const put = await registers.put(k, register);
          pass('after position');
          return put;
        },
      }),
    },
  });
  await new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
}
