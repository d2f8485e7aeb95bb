/**
 * A planned end of an owner: nothing is written any more, all members hold everything and say so, then it ends. Whoever comes next begins
 * right behind it, with no file and nobody's consent.
 */
import { Violation } from '../violation.ts';
import type { World } from './world.ts';
import type { Writer } from './writer.ts';

export interface Drained {
  readonly epoch: number;
  /** Its last number. */
  readonly seq: number;
}

export const mayHandOver = ({ calm, random, temper, handOverWanted }: World): boolean =>
  handOverWanted || (!calm && random.chance(temper.handsOver));

/** Errors as of `drain`. */
export async function handOver({ world, owner, moments }: Writer): Promise<void> {
  const last = owner.next - 1;
  const seq = await owner.drain();
  const { epoch } = owner;
  const moment = moments.get(seq);
  if (seq !== last || moment === undefined) throw new Violation(`an owner that wrote up to ${last} is drained at ${seq}`);
  world.oracle.drained(epoch, seq, moment);
  world.drained = { epoch, seq };
  world.handOverWanted = false;
  world.count('owners drained');
}
