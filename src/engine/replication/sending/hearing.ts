/** Hears what an exchange was answered: tells the reducer, counts, and notices a receiver that asks in circles. */
import { HoldfastError } from '../../../domain/errors.ts';
import { SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import type { MissingFrame, RefusedFrame } from '../frames.ts';
import { hear } from '../sender.ts';
import { ZEROS } from '../wire/content-reader.ts';
import { hearCommitted, hearRefused } from './answers.ts';
import type { Paired } from './pairing.ts';
import { keyOf, type Shipping } from './shipping-state.ts';

/** Values in a row that were not what they were when they left. */
const FALSE_MAX = 8;
/** COMMITs that were withheld: each follows a restart of the receiver, or values that were reclaimed. */
const WITHHELD_MAX = 16;
/** Answers in a row that list nothing, nothing being under way, and do not close their subtree. */
const EMPTY_MAX = 16;

export async function hearAnswers(shipping: Shipping, pairs: readonly Paired[]): Promise<void> {
  const { tally } = shipping;
  for (const answer of new Set(pairs.map((pair) => pair.answer))) if (answer.kind === 'KEPT') tally.dropped += answer.dropped;
  for (const pair of pairs) {
    if (pair.answer.kind === 'REFUSED') return waitRefused(shipping, pair.answer);
    shipping.refusals.answered();
    shipping.refusedInARow = 0;
    hearPair(shipping, pair);
  }
}

function hearPair(shipping: Shipping, { said, answer }: Paired): void {
  const { sender, parts } = shipping;
  switch (answer.kind) {
    case 'NOTED':
      if (said?.kind === 'REFERENCES') noteGiven(shipping, keyOf(said), said.rows.filter(({ name }) => name !== ZEROS).length);
      return hear(sender, answer);
    case 'KEPT':
      if (said?.kind !== 'DATA') return;
      shipping.falseInARow = 0;
      noteSent(shipping, said.name);
      return hear(sender, { kind: 'KEPT', name: said.name, turn: answer.turn, accepted: true });
    case 'MISSING':
      return hearMissing(shipping, answer);
    case 'COMMITTED':
      return hearCommitted(sender, answer, parts);
    case 'WITHHELD':
      if (++shipping.withheld > WITHHELD_MAX)
        throw new HoldfastError('MISSING_EXTENTS', `the receiver has withheld the snapshot ${WITHHELD_MAX} times`, {
          subtrees: answer.subtrees.length,
        });
      return hear(sender, answer);
    case 'ENDED':
      return hear(sender, answer);
    case 'OPENED':
    case 'TAKEN':
    case 'REFUSED':
      throw new HoldfastError('INTERNAL', `${answer.kind} is no answer of an open session`);
  }
}

function noteGiven({ tally, noted, parts }: Shipping, key: string, names: number): void {
  tally.referenced += names;
  if (!noted.has(key)) tally.logicalBytes += names * parts.content.extentBytes;
  noted.add(key);
}

function noteSent({ tally, held, sent, parts }: Shipping, name: string): void {
  tally.sent++;
  const extent = held.get(name);
  if (typeof extent !== 'number') return;
  const subtree = Math.floor(extent / SUBTREE_EXTENTS);
  const bits = sent.get(subtree) ?? new Uint8Array(SUBTREE_EXTENTS / 8);
  sent.set(subtree, bits);
  if (!isSent(bits, extent)) tally.uniqueBytes += parts.content.extentBytes;
  const at = extent % SUBTREE_EXTENTS;
  bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
}

const isSent = (bits: Uint8Array | undefined, extent: number): boolean => {
  const at = extent % SUBTREE_EXTENTS;
  return ((bits?.[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
};

function hearMissing(shipping: Shipping, answer: MissingFrame): void {
  const { sender, sent, noted, tally, plan, left } = shipping;
  const { subtree, outstanding, names, pages } = answer;
  const wasUnderWay = sender.subtrees.get(subtree)?.inquiry?.underWay === true;
  const again = names.filter(({ at }) => isSent(sent.get(subtree), at)).length;
  tally.rounds++;
  tally.askedAgain += again;
  hear(sender, answer);
  const isEmpty = names.length + pages.length === 0;
  shipping.emptyInARow = isEmpty && outstanding > 0 && !wasUnderWay ? shipping.emptyInARow + 1 : 0;
  if (shipping.emptyInARow > EMPTY_MAX)
    throw new HoldfastError('MISSING_EXTENTS', `the receiver lacks ${outstanding} values and does not say which`, { subtree, outstanding });
  if (plan.toTheEnd || wasUnderWay || outstanding === 0) return;
  const isNew = again === 0 && !pages.some((page) => noted.has(`page ${subtree} ${page}`));
  if (isNew && !isEmpty) return;
  // What this call has sent has not arrived, or has not stayed: the next round's business.
  left.push({ subtree, outstanding, names });
  sender.subtrees.delete(subtree);
}

async function waitRefused(shipping: Shipping, refused: RefusedFrame): Promise<void> {
  const { sender, refusals, signal } = shipping;
  const error = hearRefused(sender, refused);
  if (error === null) return;
  if (error.code === 'NAME_FALSE') {
    // Damaged on its way, or sealed under a name that is not its own: from now on it is looked at before it goes.
    shipping.isDoubted = true;
    if (++shipping.falseInARow >= FALSE_MAX) throw error;
  }
  await refusals.again(error, shipping.refusedInARow++, signal);
}
