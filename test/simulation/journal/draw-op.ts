/** What clients of the simulated volumes write next: one block or two, each with a number that was never written before, or zeros. */
import type { JournalOp } from '../../../src/engine/journal/owning/owner.ts';
import { BLOCK_BYTES, BLOCKS, bytesOf } from './histories.ts';
import type { World } from './world.ts';

export function drawOp({ random, temper, serial }: World): JournalOp {
  const volume = random.below(temper.volumes);
  const blocks = random.pick([1, 1, 2]);
  const offset = random.below(BLOCKS - blocks + 1) * BLOCK_BYTES;
  if (random.chance(0.1)) return { kind: 'zero', volume, offset, length: blocks * BLOCK_BYTES };
  return { kind: 'write', volume, offset, data: bytesOf(Array.from({ length: blocks }, serial)) };
}
