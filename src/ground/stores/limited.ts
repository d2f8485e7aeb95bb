/**
 * Bounds what is asked of a store at a time: calls in flight, and bytes a second in each direction.
 *
 * What a get will bring is not known before it is there; it is booked afterwards, and delays the next one (line.ts).
 */
import { HoldfastError } from '../../domain/errors.ts';
import { Permits } from '../threads/permits.ts';
import { interceptStore, receivedBytes } from './intercept.ts';
import type { ObjectStore } from './object-store.ts';
import { createLine, type Line } from './line.ts';
import { sleep, type Sleep } from './sleep.ts';

export interface LimitOptions {
  readonly concurrency?: number;
  readonly uploadBytesPerSecond?: number;
  readonly downloadBytesPerSecond?: number;
  /** Milliseconds that only go forward. */
  readonly now?: () => number;
  readonly sleep?: Sleep;
}

export function withLimits(store: ObjectStore, options: LimitOptions): ObjectStore {
  const { concurrency, now = () => performance.now(), sleep: pause = sleep } = options;
  const slots = concurrency === undefined ? undefined : new Permits(wholeNumber('concurrency', concurrency));
  const line = (field: 'uploadBytesPerSecond' | 'downloadBytesPerSecond'): Line | undefined => {
    const bytesPerSecond = options[field];
    return bytesPerSecond === undefined ? undefined : createLine(wholeNumber(field, bytesPerSecond), now, pause);
  };
  const upload = line('uploadBytesPerSecond');
  const download = line('downloadBytesPerSecond');

  return interceptStore(store, async ({ operation, sentBytes, signal }, run) => {
    signal?.throwIfAborted();
    await slots?.take(signal);
    try {
      if (operation === 'put') await upload?.book(sentBytes, signal);
      if (operation !== 'get') return await run();
      await download?.book(0, signal);
      const answer = await run();
      download?.charge(receivedBytes(answer));
      return answer;
    } finally {
      slots?.give();
    }
  });
}

function wholeNumber(field: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new HoldfastError('ARGUMENT_INVALID', `${field} of a store is ${value}`, { field, expected: 'a whole number above 0' });
}
