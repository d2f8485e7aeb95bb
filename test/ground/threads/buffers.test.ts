import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BufferPool } from '../../../src/ground/threads/buffers.ts';
import { Permits } from '../../../src/ground/threads/permits.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the buffer pool', () => {
  test('never admits more than its capacity, except one reservation alone', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1, maxLength: 30 }),
        fc.scheduler(),
        async (sizes, scheduler) => {
          const pool = new BufferPool(10);
          let [held, holders, order] = [0, 0, [] as number[]];
          const jobs = sizes.map(async (size, i) => {
            using reservation = await pool.reserve(size);
            order = [...order, i];
            held += size;
            holders++;
            expect(held <= 10 || holders === 1).toBe(true);
            reservation.take(size);
            await scheduler.schedule(Promise.resolve());
            held -= size;
            holders--;
          });
          await scheduler.waitFor(Promise.all(jobs));
          expect(order).toEqual(sizes.map((_, i) => i));
          expect(pool.reservedBytes).toBe(0);
        },
      ),
    );
  });

  test('hands buffers out again, to later jobs, too', async () => {
    const pool = new BufferPool(100);
    let kept: SharedArrayBuffer;
    {
      using first = await pool.reserve(100);
      kept = first.take(50);
      first.give(kept);
      expect(first.take(50)).toBe(kept);
    }
    using second = await pool.reserve(100);
    expect(second.take(50)).toBe(kept);
    expect(pool.allocatedBytes).toBe(kept.byteLength);
  });

  test('a waiting job that is aborted makes way', async () => {
    const pool = new BufferPool(10);
    const first = await pool.reserve(8);
    const abort = new AbortController();
    const second = pool.reserve(9, abort.signal);
    const third = pool.reserve(2);
    abort.abort(new Error('given up'));
    await expect(second).rejects.toThrow('given up');
    (await third)[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(pool.reservedBytes).toBe(0);
  });
});

describe('permits', () => {
  test('are given in order, and an aborted wait loses none', async () => {
    const permits = new Permits(1);
    await permits.take();
    const abort = new AbortController();
    const got: string[] = [];
    const waits = ['a', 'b', 'c'].map((name) =>
      permits.take(name === 'b' ? abort.signal : undefined).then(
        () => got.push(name),
        () => got.push(`${name} gave up`),
      ),
    );
    abort.abort();
    await tick();
    permits.give();
    await tick();
    permits.give();
    await Promise.all(waits);
    expect(got).toEqual(['b gave up', 'a', 'c']);
  });
});
