import { expect, test } from '@jest/globals';
import { PART_ROWS_MAX } from '../../../src/engine/repository/change.ts';
import { choosePacks } from '../../../src/engine/repository/rewrite.ts';

const pack = (liveBytes: number, liveBlobs: number) => ({
  ...{ id: Buffer.alloc(16), kind: 'extent' as const, blobs: 2 * liveBlobs, bytes: 4 * liveBytes },
  ...{ liveBytes, liveBlobs },
});

test('a run of rewriting is bounded by bytes, and by the values that one part of a change holds', () => {
  const large = [pack(60, 1), pack(60, 1), pack(40, 1)];
  expect(choosePacks(large, 100)).toEqual([large[0], large[2]]);
  const many = Array.from({ length: 4 }, () => pack(1, PART_ROWS_MAX / 2));
  expect(choosePacks(many, 100)).toHaveLength(2);
});
