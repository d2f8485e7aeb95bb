/** The ring of places: what it tells after a kill, and when it says that it does not know. */
import { mkdtempDisposableSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PLACES_MAX } from '../../../src/domain/limits.ts';
import { Places } from '../../../src/systems/protection/places.ts';

const folder = mkdtempDisposableSync(path.join(tmpdir(), 'hf-places-'));
afterAll(() => folder.remove());
let file = 0;
const open = (): Places => Places.open(path.join(folder.path, `${file++}`));

test('what was changed under the numbers that are gone is told, each byte once', () => {
  const place = fc.record({ volume: fc.nat(2), offset: fc.nat(100), length: fc.nat(30) });
  fc.assert(
    fc.property(fc.array(place, { maxLength: 40 }), fc.nat(40), fc.integer({ min: 1, max: 2 ** 50 }), (given, gone, first) => {
      using places = open();
      const kept = Math.min(gone, given.length);
      for (const [i, one] of given.entries()) places.note({ seq: first + i, ...one });
      const truth = new Set<string>();
      for (const { volume, offset, length } of given.slice(kept))
        for (let at = offset; at < offset + length; at++) truth.add(`${volume}/${at}`);
      const told: string[] = [];
      for (const { volume, offset, length } of places.above(first + kept - 1) ?? [])
        for (let at = offset; at < offset + length; at++) told.push(`${volume}/${at}`);
      expect(told.length).toBe(truth.size);
      expect(new Set(told)).toEqual(truth);
    }),
    { numRuns: 60 },
  );
});

test('it is read by the next process, and a number that was given again has its newer place', () => {
  const name = path.join(folder.path, 'again');
  {
    using places = Places.open(name);
    places.note({ seq: 7, volume: 0, offset: 2 ** 45 + 4096, length: 2 ** 32 - 1 });
    places.note({ seq: 8, volume: 3, offset: 0, length: 5 });
    places.note({ seq: 8, volume: 1, offset: 9, length: 5 });
  }
  using places = Places.open(name);
  expect(places.above(6)).toEqual([
    { volume: 0, offset: 2 ** 45 + 4096, length: 2 ** 32 - 1 },
    { volume: 1, offset: 9, length: 5 },
  ]);
  places.clear();
  expect(places.above(0)).toEqual([]);
});

test('more numbers than it has places for are not known', () => {
  using places = open();
  for (let seq = 1; seq <= PLACES_MAX + 10; seq++) places.note({ seq, volume: 0, offset: seq, length: 1 });
  expect(places.above(9)).toBeNull();
  expect(places.above(10)).toEqual([{ volume: 0, offset: 11, length: PLACES_MAX }]);
});
