/** What a recovery is held against: exact bases of the point, in whatever region, and no others. */
import { expect, test } from '@jest/globals';
import type { BaseEntry } from '../../../../src/engine/journal/entries.ts';
import { exactBasesAt } from '../../../../src/engine/journal/recovery/proof.ts';
import { EMPTY_JOURNAL } from '../../../../src/engine/journal/state.ts';

const base = (region: string, epoch: number, from: number, to: number): BaseEntry => ({
  ...{ kind: 'BASE', region, from, to, snapshots: [{ volume: 0, id: `${region}${from}` }] },
  at: { epoch, index: 0, seq: from, digest: '' },
});

test('only a base that is exact, and of that epoch, is the point', () => {
  const bases = new Map([
    ['a', [base('a', 1, 4, 4), base('a', 1, 5, 9)]],
    ['b', [base('b', 2, 9, 9)]],
  ]);
  const at = (epoch: number, seq: number) => exactBasesAt({ ...EMPTY_JOURNAL, bases }, { epoch, seq }).map(({ region }) => region);
  expect([at(1, 4), at(1, 9), at(2, 9), at(1, 5)]).toEqual([['a'], [], ['b'], []]);
});
