/**
 * What a node does when order is lost: writes go to its volumes without a number; then a gap, a reading of the volumes while they are
 * written, and a base from the gap to the number at which the reading ended, in each member that has the chain so far.
 */
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { recordFuzzyBase } from '../../../src/engine/journal/keeping/fuzzy-base.ts';
import type { JournalOp } from '../../../src/engine/journal/owning/owner.ts';
import type { VolumeExtent } from '../../../src/engine/journal/recovery/replay.ts';
import { applied, BLOCK_BYTES, BLOCKS, bytesOf } from './histories.ts';
import { readingIn } from './recovering.ts';
import { appendAll, type Writer } from './writer.ts';

export interface Resync {
  /** Whether these writes get no number, because order is lost. */
  takes(ops: readonly JournalOp[]): boolean;
  isOrderLost(): boolean;
  /** Whether no gap waits for its base. */
  isWhole(): boolean;
  step(): Promise<void>;
}

type Phase =
  | { readonly kind: 'whole' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'reading'; readonly epoch: number; readonly gap: number; readonly read: readonly number[] }
  | { readonly kind: 'read'; readonly epoch: number; readonly gap: number; readonly to: number; readonly read: readonly number[] };

export function createResync(writer: Writer, isLost: boolean): Resync {
  const { world, machine, owner, standing } = writer;
  const { random, temper } = world;
  let phase: Phase = { kind: isLost ? 'lost' : 'whole' };

  const step = async (): Promise<Phase> => {
    switch (phase.kind) {
      case 'whole':
        return world.mode === 'local' && !world.calm && random.chance(temper.losesOrder) ? { kind: 'lost' } : phase;
      case 'lost': {
        if (!random.chance(0.3)) return phase;
        const gap = owner.next;
        const appended = appendAll(writer, [{ kind: 'gap' }]);
        standing.orderSince = gap;
        await appended;
        world.count('gaps');
        return { kind: 'reading', epoch: owner.epoch, gap, read: [] };
      }
      case 'reading': {
        const read = [...phase.read, ...standing.content.slice(phase.read.length, phase.read.length + random.between(1, 4))];
        return read.length < standing.content.length ? { ...phase, read } : { ...phase, kind: 'read', to: owner.next - 1, read };
      }
      case 'read':
        return phase.to <= owner.status().closed ? finish(phase) : phase;
    }
  };

  const finish = async (read: Extract<Phase, { kind: 'read' }>): Promise<Phase> => {
    const outcomes: string[] = [];
    for (const { region, confirmed } of owner.status().members)
      if (confirmed >= read.to) outcomes.push(await recordIn(writer, region, read));
    for (const outcome of outcomes) world.count(`fuzzy base: ${outcome}`);
    if (outcomes.includes('recorded')) return { kind: 'whole' };
    return outcomes.includes('waits') || outcomes.length === 0 ? read : { kind: 'lost' };
  };

  return {
    isOrderLost: () => phase.kind === 'lost',
    isWhole: () => phase.kind === 'whole',
    takes(ops) {
      if (phase.kind !== 'lost') return false;
      for (const op of ops) standing.content = applied(standing.content, op);
      standing.orderSince = Infinity;
      world.count('writes without a number');
      return true;
    },
    async step() {
      phase = await step();
      // What a restart would find on the volumes, for as long as no base has closed the gap.
      machine.dirty = phase.kind === 'whole' ? null : standing.content;
    },
  };
}

async function recordIn(
  { world, process, journal }: Writer,
  region: string,
  { epoch, gap, to, read }: Extract<Phase, { kind: 'read' }>,
): Promise<string> {
  try {
    const notes = { epoch, from: gap, takenMs: journal.environment.nowMs(), consistency: 'fuzzy' as const };
    const snapshots = await world.basesOf(process, region).write([], extentsOf(read), notes);
    return (await recordFuzzyBase(readingIn(world, journal), { region, snapshots, epoch, from: gap, to })).kind;
  } catch (error) {
    if (!isHoldfastError(error, 'STORE_UNREACHABLE', 'CONTENTION')) throw error;
    return error.code;
  }
}

async function* extentsOf(read: readonly number[]): AsyncGenerator<VolumeExtent> {
  for (let volume = 0; volume * BLOCKS < read.length; volume++)
    yield { volume, offset: 0, length: BLOCKS * BLOCK_BYTES, data: bytesOf(read.slice(volume * BLOCKS, (volume + 1) * BLOCKS)) };
}
