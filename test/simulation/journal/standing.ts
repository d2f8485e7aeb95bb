/**
 * What is left of a node on its machine: its volumes, what they hold, and which places the newest numbers went to.
 *
 * A process that is killed leaves its volumes as they were, and the places of what it wrote, whatever became of the records. When
 * somebody else goes on with the journal, the volumes are those of the end of its last epoch but for these places: from that a failback
 * makes them what the journal says by now, without reading all of it again.
 */
import type { JournalOp } from '../../../src/engine/journal/owning/owner.ts';
import type { Process } from '../scheduler.ts';
import { BLOCK_BYTES, BLOCKS, type Content } from './histories.ts';

export interface Standing {
  /** The owner's name. */
  readonly name: string;
  readonly process: Process;
  /** The process has come to its end by itself. */
  ended: boolean;
  content: Content;
  /** Blocks that each number went to, counted over all volumes. */
  readonly places: Map<number, readonly number[]>;
  /** Writes without a number are below this one: below it the journal does not say what the volumes hold. */
  orderSince: number;
}

export const isUsable = ({ ended, process, orderSince }: Standing): boolean => (ended || !process.alive()) && orderSince < Infinity;

/** Blocks that a change covers. */
export function blocksOf(op: JournalOp): readonly number[] {
  if (op.kind !== 'write' && op.kind !== 'zero') return [];
  return blocksIn(op.volume, op.offset, op.kind === 'write' ? op.data.length : op.length);
}

export const blocksIn = (volume: number, offset: number, length: number): readonly number[] =>
  Array.from({ length: length / BLOCK_BYTES }, (_, i) => volume * BLOCKS + offset / BLOCK_BYTES + i);
