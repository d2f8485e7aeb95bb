import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { afterRound, groupsOf, isStuck, NOT_BEGUN, type Shrinking } from '../../src/domain/replication.ts';

const after = (missing: readonly number[]): Shrinking => missing.reduce(afterRound, NOT_BEGUN);

test('two rounds in a row that brought nothing end a session, one does not', () => {
  expect(isStuck(after([5]))).toBe(false);
  expect(isStuck(after([5, 5]))).toBe(false);
  expect(isStuck(after([5, 5, 5]))).toBe(true);
  expect(isStuck(after([5, 5, 4]))).toBe(false);
  expect(isStuck(after([5, 6, 4, 4, 9]))).toBe(true);
});

test('whatever a receiver answers, a session that lacked so many names ends after at most twice as many rounds and three', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 60, maxLength: 60 }), (missing) => {
      const [first = 0] = missing;
      let shrinking = NOT_BEGUN;
      let rounds = 0;
      for (const one of missing) {
        rounds++;
        shrinking = afterRound(shrinking, one);
        if (one === 0 || isStuck(shrinking)) break;
      }
      expect(rounds).toBeLessThanOrEqual(2 * first + 3);
    }),
  );
});

test('groups have every subtree once, in order, and are at most 256', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 66_000 }), (count) => {
      const subtrees = Array.from({ length: count }, (_, i) => i);
      const groups = groupsOf(subtrees);
      expect(groups.flat().length).toBe(count);
      expect(groups.flat().every((subtree, i) => subtree === i)).toBe(true);
      expect(groups.length).toBeLessThanOrEqual(256);
      expect(groups.every((group) => group.length > 0)).toBe(true);
    }),
    { numRuns: 30 },
  );
});
