/**
 * The collector at the receiver, in a process of its own, all the while: old snapshots are hidden, reclaimed, packs rewritten,
 * litter swept. What was harmed may stand in its way, and nothing else.
 */
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { newestOf } from '../../../src/engine/repository/ledger.ts';
import { collectGarbage, hide } from '../../../src/systems/lifecycle/deletion.ts';
import type { Dice } from '../volumes/dice.ts';
import type { Counts } from './counts.ts';
import type { World } from './world.ts';

export interface Collecting {
  /** Does something to the receiver's packs while nobody collects. */
  meanwhile<T>(work: () => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export interface CollectingOptions {
  readonly world: World;
  readonly dice: Dice;
  readonly counts: Counts;
  readonly isHarmed: () => boolean;
  /** From here on a snapshot may be gone. */
  readonly onHidden: (snapshot: string) => void;
  readonly onViolation: (error: unknown) => void;
  /** After each collection: what is visible is looked at. */
  readonly onCollected: () => Promise<void>;
}

const HIDE_CHANCE = 0.25;

export function startCollecting(options: CollectingOptions): Collecting {
  const { dice, counts, isHarmed, onViolation, onCollected } = options;
  let busy: Promise<unknown> = Promise.resolve();
  let isOver = false;
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const run = busy.then(work);
    busy = run.catch(() => undefined);
    return run;
  };
  const running = (async () => {
    while (!isOver) {
      await dice.pause(20, 250);
      if (isOver) return;
      try {
        await inTurn(() => collectOnce(options));
        counts.collections++;
        await onCollected();
      } catch (error) {
        if (isHoldfastError(error, 'CONTENTION', 'CLAIM_LOST', 'PARENT_MOVED', 'VISIBILITY_CHANGED')) continue;
        if (isHarmed() && isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING')) continue;
        onViolation(error);
        return;
      }
    }
  })();
  return {
    meanwhile: inTurn,
    async stop() {
      isOver = true;
      await running;
    },
  };
}

async function collectOnce({ world, dice, counts, onHidden }: CollectingOptions): Promise<void> {
  const vault = await world.vault();
  const ledger = vault.ledger();
  const old = [...ledger.snapshots.values()].filter(({ id, lineage, hidden }) => !hidden && newestOf(ledger, lineage) !== id);
  if (old.length > 0 && dice.chance(HIDE_CHANCE)) {
    const { id, version } = dice.pick(old);
    onHidden(id);
    await hide(vault, { snapshot: id, version }, false);
  }
  const { reclaimed, packsRewritten } = await collectGarbage(vault, 'collector');
  counts.reclaimed += reclaimed.length;
  counts.rewritten += packsRewritten;
}
