/**
 * The losses of a run: the receiver's packs are harmed after names were answered, and before a sender hears of it.
 *
 * What is answered while a loss is due waits for it, so that nothing is pushed that a loss test takes away at once. A subtree that
 * the receiver may have closed before the loss is told to the promises: what it lost is found by the next session, as after COMMIT.
 */
import type { AnswerFrame } from '../../../src/engine/replication/frames.ts';
import { diceOf } from '../volumes/dice.ts';
import type { Scene } from './run.ts';
import type { Loss } from './script.ts';
import type { Said } from './wire-watch.ts';

export interface Strikes {
  /** To be called with all that the receiver has answered; the sender hears it when this is over. */
  answered(said: Said, answers: readonly AnswerFrame[]): Promise<void>;
}

export function createStrikes(scene: Scene): Strikes {
  const { script, promises } = scene;
  const heard = new Map<Loss, number>();
  /** When each loss was over; what was said before may have been answered by what was there before. */
  const overMs = new Map<Loss, number>();
  let due: Promise<void> = Promise.resolve();

  const noteClosed = (loss: Loss, { first, atMs }: Said, answers: readonly AnswerFrame[]): void => {
    if (atMs > (overMs.get(loss) ?? Infinity)) return;
    for (const one of answers) if (one.kind === 'MISSING' && one.outstanding === 0) promises.closedBeforeLoss(first.snapshot, one.subtree);
  };

  return {
    async answered(said, answers) {
      if (scene.isCalm) return;
      for (const loss of script.losses) {
        if (promises.snapshotOf('a', loss.snapshot) !== said.first.snapshot) continue;
        noteClosed(loss, said, answers);
        // In the loss test while something is outstanding, so that what is lost is lost before it is proven.
        const isAnswered = answers.some((one) => one.kind === 'MISSING' && (script.kind === 'storm' || one.outstanding > 0));
        if (!isAnswered) continue;
        const nth = (heard.get(loss) ?? 0) + 1;
        heard.set(loss, nth);
        if (nth === loss.nth) due = strike(scene, loss, said.first.snapshot).finally(() => overMs.set(loss, performance.now()));
      }
      await due;
    },
  };
}

async function strike({ script, world, promises, collecting, counts, note }: Scene, loss: Loss, snapshot: string): Promise<void> {
  await collecting.meanwhile(async () => {
    const struck = promises.known(snapshot)?.names ?? new Set();
    const packs = await world.harm(loss.damage, loss.percent, struck, diceOf(script.seed, `loss ${script.losses.indexOf(loss)}`));
    if (packs.length === 0) return;
    promises.harm(snapshot);
    counts.packsHarmed += packs.length;
    const names = await world.lostNames();
    note(`${loss.damage} of ${packs.length} packs; ${names.size} values lie in them`);
  });
}
