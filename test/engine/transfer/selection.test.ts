import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HINT_SAMPLE_MAX, HINT_SAMPLE_SHARE, SUBTREE_EXTENTS } from '../../../src/domain/limits.ts';
import { ROLE_COMPARE, ROLE_SAMPLE, rolesOf } from '../../../src/engine/transfer/selection.ts';

const extentBytes = 256 * 1024;
const subtree = (n: number) => ({ firstExtent: n * SUBTREE_EXTENTS, extentCount: SUBTREE_EXTENTS });
const rolesIn = (roles: Uint8Array, role: number): number[] => [...roles.entries()].filter(([, r]) => r === role).map(([i]) => i);

describe('which extents a capture with a hint looks at', () => {
  test('every extent that a range touches', () => {
    const ranges = [{ offset: 10 * extentBytes - 1, length: 2 }];
    const sizeBytes = 100 * extentBytes;
    const roles = rolesOf({ kind: 'changed', ranges, baseSizeBytes: sizeBytes, seed: 1 }, subtree(0), { sizeBytes, extentBytes });
    expect(rolesIn(roles, ROLE_COMPARE)).toEqual([9, 10]);
  });

  test('what grew and what was cut off, with the extent in which the smaller size ends', () => {
    for (const [baseSizeBytes, sizeBytes] of [
      [3.5 * extentBytes, 6 * extentBytes],
      [6 * extentBytes, 3.5 * extentBytes],
    ] as const) {
      const roles = rolesOf({ kind: 'changed', ranges: [], baseSizeBytes, seed: 1 }, subtree(0), { sizeBytes, extentBytes });
      expect(rolesIn(roles, ROLE_COMPARE)).toEqual([3, 4, 5]);
    }
  });

  test('a sample of exact size, however the volume is cut', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 * SUBTREE_EXTENTS }), fc.nat(), (extents, seed) => {
        const sizeBytes = extents * extentBytes;
        let sampled = 0;
        for (let n = 0; n * SUBTREE_EXTENTS < extents; n++)
          sampled += rolesIn(
            rolesOf({ kind: 'changed', ranges: [], baseSizeBytes: sizeBytes, seed }, subtree(n), { sizeBytes, extentBytes }),
            ROLE_SAMPLE,
          ).length;
        expect(sampled).toBe(Math.min(HINT_SAMPLE_MAX, Math.ceil(extents * HINT_SAMPLE_SHARE)));
      }),
      { numRuns: 50 },
    );
  });
});
