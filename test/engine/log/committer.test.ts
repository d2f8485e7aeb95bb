/** The committer on a toy log of additions: what is batched, what is told when, and what is tried again. */
import { expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { APPEND_ROUNDS_MAX } from '../../../src/domain/limits.ts';
import { createCommitter, type CommitterPort } from '../../../src/engine/log/committer.ts';

interface Sum {
  readonly n: number;
  readonly total: number;
}

/** A log of numbers; entries below zero are refused when the sum would be. `foreign`: records that others put first. */
function toyLog(foreign: (number | null)[] = []) {
  const records: number[][] = [];
  let backOffs = 0;
  const fold = (): Sum => ({ n: records.length, total: records.flat().reduce((a, b) => a + b, 0) });
  const port: CommitterPort<Sum, number> = {
    sync: async () => fold(),
    judge(state, entry) {
      if (state.total + entry < 0) throw new HoldfastError('RECORD_REFUSED', 'below zero');
    },
    advance: (state, entry) => ({ ...state, total: state.total + entry }),
    compatible: (batch, next) => next !== 100 || !batch.includes(100),
    async put(entries, judgedOn) {
      const other = foreign.shift();
      if (other !== undefined && other !== null) records.push([other]);
      if (judgedOn.n !== records.length) return null;
      records.push([...entries]);
      return { seq: records.length, previous: '', writer: '', attempt: '', timeMs: 0, entries };
    },
    backOff: async () => void backOffs++,
  };
  return { port, records, backOffs: () => backOffs, committer: createCommitter(port) };
}

const outcomes = async (appends: readonly Promise<number | null>[]): Promise<(number | string | null)[]> =>
  (await Promise.allSettled(appends)).map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as Error).message));

test('appends that wait at the same time share a record', async () => {
  const { committer, records } = toyLog();
  expect(await outcomes([1, 2, 3].map((entry) => committer.append(() => entry)))).toEqual([1, 2, 2]);
  expect(records).toEqual([[1], [2, 3]]);
});

test('a refused entry is dropped before the put, its neighbours stand', async () => {
  const { committer, records } = toyLog();
  expect(await outcomes([1, -5, 3].map((entry) => committer.append(() => entry)))).toEqual([1, 'below zero', 2]);
  expect(records).toEqual([[1], [3]]);
});

test('entries that may not share a record take one each', async () => {
  const { committer, records } = toyLog();
  expect(await outcomes([1, 100, 100, 2].map((entry) => committer.append(() => entry)))).toEqual([1, 2, 3, 2]);
  expect(records).toEqual([[1], [100, 2], [100]]);
});

test('"nothing to do" that rests on a batch-mate is told only once that one is in the log', async () => {
  // The race for record 2 is lost to -1, and then there is something to do after all.
  const { committer, records } = toyLog([null, -1]);
  const seen: number[] = [];
  const told = [
    committer.append(() => 0),
    committer.append(({ total }) => (total >= 10 ? null : 10)),
    committer.append(({ total }) => {
      seen.push(total);
      return total >= 10 ? null : 7;
    }),
  ];
  expect(await outcomes(told)).toEqual([1, 3, 3]);
  expect(seen).toEqual([10, 9]);
  expect(records).toEqual([[0], [-1], [10, 7]]);
});

test('a refusal that rests on a batch-mate is told only once that one is in the log', async () => {
  const { committer, records } = toyLog([null, 5]);
  const take: Promise<number | null>[] = [
    committer.append(() => 1),
    committer.append(({ total }) => (total >= 5 ? null : -1)),
    committer.append(() => -1),
  ];
  // -1 twice from 1 is refused; but the race is lost to 5, and then it may stand.
  expect(await outcomes(take)).toEqual([1, null, 3]);
  expect(records).toEqual([[1], [5], [-1]]);
});

test('what was judged on a state that is past is not put', async () => {
  const { committer, records, backOffs } = toyLog([4]);
  const judgedOn: number[] = [];
  expect(
    await committer.append(({ n }) => {
      judgedOn.push(n);
      return 1;
    }),
  ).toBe(2);
  expect(judgedOn).toEqual([0, 1]);
  expect(records).toEqual([[4], [1]]);
  expect(backOffs()).toBe(1);
});

test('a plan that finds the world moved on is asked again, and in the end told CONTENTION', async () => {
  const { committer } = toyLog();
  let asked = 0;
  const moved = (until: number) => () => {
    if (++asked <= until) throw new HoldfastError('CONTENTION', 'moved');
    return 1;
  };
  expect(await committer.append(moved(3))).toBe(1);
  asked = 0;
  await expect(committer.append(moved(Infinity))).rejects.toMatchObject({ code: 'CONTENTION' });
  expect(asked).toBe(APPEND_ROUNDS_MAX + 1);
});

test('an unclear put is told to all who shared it; asked again, each finds what became of its own', async () => {
  const log = toyLog();
  let fail = true;
  const { put } = log.port;
  const committer = createCommitter({
    ...log.port,
    async put(entries, judgedOn) {
      const record = await put(entries, judgedOn);
      if (!fail) return record;
      fail = false;
      throw new HoldfastError('STORE_UNREACHABLE', 'no answer');
    },
  });
  const plan = ({ total }: Sum): number | null => (total > 0 ? null : 8);
  await expect(committer.append(plan)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  expect(await committer.append(plan)).toBe(null);
  expect(log.records).toEqual([[8]]);
});
