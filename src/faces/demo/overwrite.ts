/**
 * Changes to the volume, the same for the same seed: which extents are chosen, and the bytes that they get. The bytes look
 * random and so neither compress nor repeat: what is sent for them is what was changed.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { Overwritable } from './overwritable.ts';

/** 31 bits from a seed and a number: enough to shuffle with. */
const draw = (seed: number, text: string): number => createHash('sha256').update(`${seed} ${text}`).digest().readUInt32BE(0);

/** Some of the candidates, `extents` at the most, in the order of their numbers. */
export function choose(candidates: readonly Overwritable[], extents: number, seed: number): readonly Overwritable[] {
  const drawn = candidates.map((one) => ({ one, lot: draw(seed, `extent ${one.extent}`) }));
  return drawn
    .sort((a, b) => a.lot - b.lot || a.one.extent - b.one.extent)
    .slice(0, extents)
    .map(({ one }) => one)
    .sort((a, b) => a.extent - b.extent);
}

const keystream = (seed: number, round: number, offset: number, length: number): Buffer => {
  const key = createHash('sha256').update(`${seed} bytes ${round} ${offset}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
};

/** Overwrites the chosen extents in place; the round makes the bytes others than last time's. Answers how many bytes. */
export async function overwrite(file: string, chosen: readonly Overwritable[], seed: number, round: number): Promise<number> {
  await using handle = await open(file, 'r+');
  let bytes = 0;
  for (const { ranges } of chosen)
    for (const { offset, length } of ranges) {
      await handle.write(keystream(seed, round, offset, length), 0, length, offset);
      bytes += length;
    }
  await handle.sync();
  return bytes;
}
