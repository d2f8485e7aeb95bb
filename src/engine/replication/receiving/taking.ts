/**
 * Taking data: what a placeholder waits for is checked against its name and sealed in one task; the rest is dropped unread.
 *
 * The same name may come in several exchanges at once. Only one of them is checked at a time, for each that is would lie in a
 * pack; the others wait for what comes of it, and are dropped if it was true.
 */
import type { DataFrame } from '../frames.ts';
import type { Committed, Kept, Name, Refused } from '../messages.ts';
import { hearData, type Receiver } from '../receiver.ts';
import type { CarriedBody } from './packing.ts';
import type { SessionState } from './state.ts';

export type DataAnswer = Kept | Committed | Refused;

/** The subtree that waits for a name first; null: nobody does, or its data is here. */
function wantedBy(receiver: Receiver, name: Name): number | null {
  for (const [subtree, { waiting }] of receiver.subtrees) if (waiting.get(name)?.accepted === false) return subtree;
  return null;
}

/** The answer to each frame, in their order. What is checked is moved: its frame has no body any more. */
export async function takeData(
  state: SessionState,
  inHand: Map<Name, Promise<void>>,
  epoch: number,
  frames: readonly DataFrame[],
): Promise<readonly DataAnswer[]> {
  const answers = new Map<DataFrame, DataAnswer>();
  const hear = (frame: DataFrame, isTrue: boolean): void => {
    const { name, asked, turn } = frame;
    answers.set(frame, hearData(state.receiver, { kind: 'DATA', epoch, asked, name, turn }, isTrue));
  };
  for (let rest = frames; rest.length > 0;) {
    const { chosen, later, others } = choose(state, inHand, rest, hear);
    if (chosen.length > 0) await checked(state, inHand, chosen, hear);
    await Promise.all(others);
    rest = later;
  }
  return frames.flatMap((frame) => answers.get(frame) ?? []);
}

interface Choice {
  readonly frame: DataFrame;
  readonly subtree: number;
}

/** What is to be checked now, and what has to wait for the same name in another hand. */
function choose(
  { receiver, opening }: SessionState,
  inHand: ReadonlyMap<Name, Promise<void>>,
  frames: readonly DataFrame[],
  hear: (frame: DataFrame, isTrue: boolean) => void,
): { readonly chosen: readonly Choice[]; readonly later: readonly DataFrame[]; readonly others: readonly Promise<void>[] } {
  const chosen = new Map<Name, Choice>();
  const later: DataFrame[] = [];
  const others: Promise<void>[] = [];
  for (const frame of frames) {
    const other = inHand.get(frame.name);
    const subtree = wantedBy(receiver, frame.name);
    if (other !== undefined) {
      others.push(other);
      later.push(frame);
    } else if (chosen.has(frame.name)) later.push(frame);
    else if (subtree === null) hear(frame, true);
    // What zstd cannot make smaller is raw.
    else if (frame.body.length > opening.extentBytes) hear(frame, false);
    else chosen.set(frame.name, { frame, subtree });
  }
  return { chosen: [...chosen.values()], later, others };
}

async function checked(
  state: SessionState,
  inHand: Map<Name, Promise<void>>,
  chosen: readonly Choice[],
  hear: (frame: DataFrame, isTrue: boolean) => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const { frame } of chosen) inHand.set(frame.name, promise);
  try {
    let heard = 0;
    await state.claimed.packing.carry(chosen.map(carried), (part, refused) => {
      part.forEach((_, i) => {
        const choice = chosen[heard++];
        if (choice !== undefined) hear(choice.frame, !refused.has(i));
      });
    });
  } finally {
    for (const { frame } of chosen) inHand.delete(frame.name);
    resolve();
  }
}

const carried = ({ frame: { name, codec, body, isAlone }, subtree }: Choice): CarriedBody => ({
  bytes:
    isAlone === true && body.buffer instanceof ArrayBuffer
      ? new Uint8Array(body.buffer, body.byteOffset, body.length)
      : new Uint8Array(body),
  ...{ codec, name: Buffer.from(name, 'hex'), subtree },
});
