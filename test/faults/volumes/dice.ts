/** Decisions of a run: each actor has dice of its own, so that what one decides does not hang on when another one does. */
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../../src/ground/stores/faulty.ts';

export interface Dice {
  readonly random: () => number;
  below(n: number): number;
  /** From `low` to `high`, both included. */
  between(low: number, high: number): number;
  chance(p: number): boolean;
  pick<T>(items: readonly T[]): T;
  /** Sleeps so long. */
  pause(lowMs: number, highMs: number): Promise<void>;
}

/** `actor`: the same name gives the same dice. */
export function diceOf(seed: number, actor: string): Dice {
  let mixed = seed;
  for (const letter of actor) mixed = (Math.imul(mixed, 31) + letter.charCodeAt(0)) | 0;
  const random = seededRandom(mixed);
  const below = (n: number): number => Math.floor(random() * n);
  const between = (low: number, high: number): number => low + below(high - low + 1);
  return {
    ...{ random, below, between },
    chance: (p) => random() < p,
    pick(items) {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
    pause: (lowMs, highMs) => sleep(between(lowMs, highMs)),
  };
}
