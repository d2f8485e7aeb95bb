import { describe, expect, test } from '@jest/globals';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';
import { stamp } from '../../systems/protection/write-history.ts';
import { journalTable, runJournalCampaign } from './campaign.ts';
import { BLOCK, blockKey, type Change, type History } from './history.ts';
import { MUTANTS } from './mutants.ts';
import { ANYTHING, prefixOf, type Expected } from './prefix.ts';
import { writeScript } from './script.ts';

/** About half a minute. `npm run faults -- journal --seed S --runs M` goes on from here. */
const RUNS = 3;
const SEED = 11;

test('a script is a function of its seed', () => {
  expect(writeScript(7)).toEqual(writeScript(7));
  expect(writeScript(7)).not.toEqual(writeScript(8));
});

describe('the checker of prefixes', () => {
  const change = (id: number, blocks: readonly number[], asked: number, answered: number, isZero = false): Change => ({
    ...{ id, disk: 0, isZero, asked, answered, blocks },
  });
  const historyOf = (...changes: readonly Change[]): History => {
    const blocks = new Map<string, Change[]>();
    for (const one of changes)
      for (const block of one.blocks) blocks.set(blockKey(0, block), [...(blocks.get(blockKey(0, block)) ?? []), one]);
    const all = new Map(changes.map((one) => [one.id, one]));
    return { changes: all, blocks, durable: new Set(), promises: [], refusals: [] };
  };
  const imageOf = (...ids: readonly number[]): readonly Buffer[] => [Buffer.concat(ids.map((id, block) => stamp(block, id)))];
  const judge = (history: History, ids: readonly number[], expected: Partial<Expected> = {}): number[] =>
    [...prefixOf(history, imageOf(...ids), { ...ANYTHING, ...expected }, 'it')].sort((a, b) => a - b);

  test('takes any of two that were under way at once, and none that lacks what came before', () => {
    const history = historyOf(change(1, [0], 0, 10), change(2, [1], 5, 15), change(3, [2], 11, 20));
    expect(judge(history, [0, 0, 0])).toEqual([]);
    expect(judge(history, [0, 2, 0])).toEqual([2]);
    expect(judge(history, [1, 0, 3])).toEqual([1, 3]);
    expect(() => judge(history, [0, 2, 3])).toThrow('lacks');
    expect(() => judge(history, [0, 2, 0], { answeredBefore: 11 })).toThrow('lacks');
    expect(() => judge(history, [1, 2, 3], { askedBefore: 7 })).toThrow('asked for at 11');
    expect(() => judge(history, [0, 0, 0], { holds: new Set([2]) })).toThrow('lacks');
    expect(() => judge(history, [2, 0, 0])).toThrow('nobody');
    expect(() => judge(historyOf(change(1, [0], 0, 1)), [1, 1])).toThrow('nobody');
  });

  test('has changes of several blocks whole', () => {
    const history = historyOf(change(1, [0, 1], 0, 10), change(2, [1], 12, 15));
    expect(judge(history, [1, 2])).toEqual([1, 2]);
    expect(() => judge(history, [1, 0])).toThrow('lacks');
    expect(() => judge(history, [0, 2])).toThrow('lacks');
    const torn = Buffer.from(imageOf(1, 1)[0] ?? Buffer.alloc(0));
    torn.fill(7, BLOCK - 16, BLOCK);
    expect(() => prefixOf(history, [torn], ANYTHING, 'it')).toThrow('no whole change');
  });

  test('finds out which zeros these are', () => {
    const history = historyOf(change(1, [0], 0, 10), change(2, [0], 11, 20, true), change(3, [1], 21, 30));
    expect(judge(history, [0, 0])).toEqual([]);
    expect(judge(history, [0, 3])).toEqual([1, 2, 3]);
    expect(() => judge(history, [1, 3])).toThrow('lacks');
  });
});

const describeS3 = await describeWith('s3');
describeS3('protected disks', () => {
  const quiet = { finder, say: () => undefined, trace: () => undefined };

  test('whatever becomes of servers, stores, machines, owners and clocks: what was promised is there, in order', async () => {
    const report = await runJournalCampaign({ ...quiet, seed: SEED, runs: RUNS });
    expect(report.failed).toEqual([]);
    // How often it kills is the script's; what is under way then, the machine's.
    expect(report.counts.kills).toBeGreaterThan(0);
    expect(report.counts.recovered).toBeGreaterThan(RUNS);
    process.stderr.write(journalTable(report));
  }, 900_000);

  test('without a safeguard that is seen', async () => {
    const mutant = MUTANTS.find(({ name }) => name === 'places_forgotten');
    if (mutant === undefined) throw new Error('no such mutant');
    const { failed } = await runJournalCampaign({ ...quiet, seed: 1, runs: 4, mutant });
    expect(failed.find(({ isJudged }) => isJudged)?.violation).toMatch(/is not what the volumes hold|lacks/);
  }, 900_000);
});
