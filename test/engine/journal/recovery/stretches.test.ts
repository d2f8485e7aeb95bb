/** The last writer of every byte, against a byte by byte reckoning; and the bound. HOLDFAST_SEED is the whole case. */
import { expect, test } from '@jest/globals';
import { createStretchMap, firstAfter, ZEROS, type Stretches } from '../../../../src/engine/journal/recovery/stretches.ts';
import { createRandom } from '../../../simulation/random.ts';

const BYTES = 200;
const one = process.env['HOLDFAST_SEED'];
const seeds = one === undefined ? Array.from({ length: 300 }, (_, i) => i + 1) : [Number(one)];

/** Who wrote each byte, as `batch:place`; stretches that overlap or are out of order are told. */
function told({ count, volumes, offsets, lengths, batches, places }: Stretches): readonly string[][] {
  const bytes = [0, 1, 2].map(() => Array.from({ length: BYTES }, () => ''));
  let [volume, at] = [0, 0];
  for (let i = 0; i < count; i++) {
    if (volumes[i]! < volume || (volumes[i] === volume && offsets[i]! < at)) throw new Error('out of order, or overlapping');
    [volume, at] = [volumes[i]!, offsets[i]! + lengths[i]!];
    for (let n = 0; n < lengths[i]!; n++)
      bytes[volume]![offsets[i]! + n] = places[i] === ZEROS ? `${batches[i]}:0` : `${batches[i]}:${places[i]! + n}`;
  }
  return bytes;
}

test('every byte is of its last writer, whatever waits and is merged', () => {
  for (const seed of seeds) {
    const random = createRandom(seed);
    const map = createStretchMap({ most: 10_000, waiting: random.between(1, 40) });
    const expected = [0, 1, 2].map(() => Array.from({ length: BYTES }, () => ''));
    const written: [number, number, number][] = [];
    // From 1 on, for zeros are told as 0.
    let place = 1;
    for (let i = 0, batch = 0; i < 150; i++) {
      if (random.chance(0.2)) [batch, place] = [batch + 1, 1];
      const volume = random.below(3);
      const last = written.at(-1);
      const follows = last !== undefined && random.chance(0.3) && last[0] === volume && last[1] + last[2] < BYTES;
      const offset = follows ? last[1] + last[2] : random.below(BYTES);
      const length = random.between(1, Math.min(60, BYTES - offset) + 1);
      const zero = random.chance(0.3);
      map.add(volume, offset, length, batch, zero ? ZEROS : place);
      for (let n = 0; n < length; n++) expected[volume]![offset + n] = zero ? `${batch}:0` : `${batch}:${place + n}`;
      place += zero ? 0 : length;
      written.push([volume, offset, length]);
    }
    const stretches = map.finish();
    expect([`HOLDFAST_SEED=${seed}`, told(stretches)]).toEqual([`HOLDFAST_SEED=${seed}`, expected]);
    for (let n = 0; n < 20; n++) {
      const [volume, offset] = [random.below(3), random.below(BYTES)];
      const brute = Array.from({ length: stretches.count }, (_, i) => i).find(
        (i) =>
          stretches.volumes[i]! > volume || (stretches.volumes[i] === volume && stretches.offsets[i]! + stretches.lengths[i]! > offset),
      );
      expect(firstAfter(stretches, volume, offset)).toBe(brute ?? stretches.count);
    }
  }
});

test('what goes on in place and in data is one stretch', () => {
  const map = createStretchMap({ most: 10, waiting: 3 });
  for (let i = 0; i < 100; i++) map.add(0, 4096 * i, 4096, 0, 4096 * i);
  expect(map.finish()).toMatchObject({ count: 1, lengths: new Uint32Array([409_600]) });
});

test('more places than the bound are refused, and as often as one likes in one place are not', () => {
  const map = createStretchMap({ most: 50, waiting: 7 });
  for (let i = 0; i < 1000; i++) map.add(0, 10 * (i % 50), 5, i, 0);
  expect(map.finish().count).toBe(50);
  const over = createStretchMap({ most: 50, waiting: 7 });
  expect(() => {
    for (let i = 0; i < 60; i++) over.add(0, 10 * i, 5, i, 0);
    over.finish();
  }).toThrow(expect.objectContaining({ code: 'RECOVERY_TOO_LARGE' }));
});

test('places all over volumes of any size come in order', () => {
  const random = createRandom(9);
  for (const largest of [200, 70_000, 2 ** 33, 2 ** 52]) {
    const map = createStretchMap({ most: 10_000, waiting: 300 });
    const places = Array.from({ length: 700 }, (_, i) => ({
      volume: random.pick([0, 3, 70, 65_534]),
      offset: Math.floor(random.next() * largest),
      i,
    }));
    for (const { volume, offset, i } of places) map.add(volume, 2 * offset, 1, i, 0);
    // Of those at one place the last one is left.
    const last = new Map(places.map((place) => [`${place.volume} ${place.offset}`, place]));
    const expected = [...last.values()].sort((a, b) => a.volume - b.volume || a.offset - b.offset);
    const { count, volumes, offsets, batches } = map.finish();
    const is = Array.from({ length: count }, (_, at) => ({ volume: volumes[at], offset: offsets[at]! / 2, i: batches[at] }));
    expect(is).toEqual(expected);
  }
});
