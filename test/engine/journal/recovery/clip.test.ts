/** What of a plan lies in places, byte by byte, and what of the places no stretch has. HOLDFAST_SEED is the whole case. */
import { expect, test } from '@jest/globals';
import { clip } from '../../../../src/engine/journal/recovery/clip.ts';
import { createStretchMap, ZEROS, type Stretches } from '../../../../src/engine/journal/recovery/stretches.ts';
import { createRandom } from '../../../simulation/random.ts';

const BYTES = 120;
const one = process.env['HOLDFAST_SEED'];
const seeds = one === undefined ? Array.from({ length: 300 }, (_, i) => i + 1) : [Number(one)];

function told({ count, volumes, offsets, lengths, batches, places }: Stretches): string[][] {
  const bytes = [0, 1].map(() => Array.from({ length: BYTES }, () => ''));
  for (let i = 0; i < count; i++)
    for (let n = 0; n < lengths[i]!; n++)
      bytes[volumes[i]!]![offsets[i]! + n] += places[i] === ZEROS ? `${batches[i]}:zero` : `${batches[i]}:${places[i]! + n}`;
  return bytes;
}

test('every byte of a place is of its stretch, or bare, once', () => {
  for (const seed of seeds) {
    const random = createRandom(seed);
    const map = createStretchMap({ most: 1000, waiting: 50 });
    for (let batch = 0; batch < 20; batch++) {
      const offset = random.below(BYTES);
      const length = random.between(1, Math.min(30, BYTES - offset) + 1);
      map.add(random.below(2), offset, length, batch, random.chance(0.3) ? ZEROS : 1000 * batch);
    }
    const stretches = map.finish();
    const places = new Map<number, { offset: number; length: number }[]>();
    const isIn = [0, 1].map(() => Array.from({ length: BYTES }, () => false));
    for (const volume of [1, 0]) {
      const some: { offset: number; length: number }[] = [];
      for (let at = random.below(20); at < BYTES; at += random.between(1, 20)) {
        const length = random.between(1, Math.min(25, BYTES - at) + 1);
        some.push({ offset: at, length });
        isIn[volume]!.fill(true, at, at + length);
        at += length;
      }
      places.set(volume, some);
    }
    const { inside, bare } = clip(stretches, places);
    const whole = told(stretches);
    const expected = isIn.map((bytes, volume) => bytes.map((is, at) => (is ? whole[volume]![at] || 'bare' : '')));
    const found = told(inside);
    for (const { volume, offset, length } of bare) for (let at = offset; at < offset + length; at++) found[volume]![at] += 'bare';
    expect([`HOLDFAST_SEED=${seed}`, found]).toEqual([`HOLDFAST_SEED=${seed}`, expected]);
  }
});
