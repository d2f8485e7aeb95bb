/**
 * Drives the reducer over some subtrees: what is due becomes frames, frames become exchanges, answers go back to the reducer.
 *
 *     says(short) ──pages are read──▶ outbox ──▶ exchange ──answers──▶ hear
 *     says(data) ──values are read──▶   │
 *
 * At most two subtrees are under way, so that the next one's pages are answered while the last one's data flows. What is
 * due and is being made ready, or is on its way, is `held` until its exchange has ended; then the reducer says whether it
 * still is due. So nothing is remembered of a message beside the reducer, and a part of an exchange that was not heard is
 * made anew. Memory: the outbox, the window of exchanges, and the slots of what is being read.
 *
 * However it ends, nothing of it is running when the call returns.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { DataFrame, SessionMessageFrame } from '../frames.ts';
import { beginSubtree, dataDue, type Sender } from '../sender.ts';
import type { ReadValue } from './content.ts';
import { sayExchange } from './exchange.ts';
import { hearAnswers } from './hearing.ts';
import { makeShortReady, makeDataReady } from './ready.ts';
import { newShipping, run, isBegun, keyOf, type ShipPlan, type OpenSubtree, type ShipDeps, type Shipping } from './shipping-state.ts';

const SUBTREES_AT_ONCE = 2;
/** Exchanges of short messages under way: pages and an inquiry of two subtrees. */
const SHORT_AT_ONCE = 4;

/** Ships until the sender has ended, or all subtrees are closed or left. `sender` is open and has none of them yet. */
export async function shipSubtrees(deps: ShipDeps, sender: Sender, plan: ShipPlan): Promise<readonly OpenSubtree[]> {
  const shipping = newShipping(deps, sender, plan);
  const { signal, stop, outbox, running } = shipping;
  const onAbort = (): void => shipping.wake();
  signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      const changed = new Promise<void>((resolve) => (shipping.wake = resolve));
      signal.throwIfAborted();
      if (isOver(shipping)) return shipping.left;
      beginNext(shipping);
      makeShortReady(shipping);
      makeDataReady(shipping);
      sayWhatIsReady(shipping);
      await changed;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    outbox.close();
    stop.abort(new HoldfastError('JOB_CANCELLED', 'the call has ended'));
    await Promise.all(running);
  }
}

function isOver(shipping: Shipping): boolean {
  const { sender, plan, running } = shipping;
  if (sender.end !== null) return true;
  if (plan.toTheEnd || sender.giving !== null || !isBegun(shipping) || running.size > 0) return false;
  return [...sender.subtrees.values()].every(({ closed }) => closed);
}

/** Takes up the next subtree before the last one ends. */
function beginNext(shipping: Shipping): void {
  const { sender, plan, parts } = shipping;
  const subtree = plan.subtrees[shipping.begun];
  if (subtree === undefined || shipping.isBeginning || sender.giving !== null) return;
  let open = 0;
  for (const { closed } of sender.subtrees.values()) if (!closed) open++;
  if (open >= SUBTREES_AT_ONCE) return;
  shipping.isBeginning = true;
  run(shipping, async () => {
    const pages = await parts.content.pages(subtree, plan.against);
    beginSubtree(sender, subtree, { pages, fresh: plan.fresh, afterRound: plan.afterRound });
    shipping.begun++;
    shipping.isBeginning = false;
  });
}

function sayWhatIsReady(shipping: Shipping): void {
  const { outbox, window, plan } = shipping;
  const hasRoom = (): boolean => shipping.shortUnderWay + shipping.dataUnderWay < plan.opened.exchanges;
  while (outbox.hasShort && shipping.shortUnderWay < SHORT_AT_ONCE && hasRoom()) say(shipping, 'short', outbox.takeShort());
  const isReady = (): boolean =>
    outbox.dataBytes >= outbox.exchangeBytes || (outbox.dataBytes > 0 && (!shipping.isReading || shipping.dataUnderWay === 0));
  while (isReady() && shipping.dataUnderWay < window.size() && hasRoom()) {
    const { frames, release } = takeData(shipping);
    if (frames.length > 0) say(shipping, 'data', frames, release);
  }
}

/** Frames of what is due still. `release`: nobody needs their bodies any more; what is to be said again is read again. */
function takeData(shipping: Shipping): { readonly frames: readonly DataFrame[]; readonly release: () => void } {
  const taken: ReadValue[] = [];
  const frames = shipping.outbox.takeData((value) => {
    const frame = dataFrame(shipping, value);
    if (frame === null) value.release?.();
    else taken.push(value);
    return frame;
  });
  return {
    frames,
    release() {
      for (const value of taken) value.release?.();
    },
  };
}

function dataFrame({ sender, held }: Shipping, { name, codec, body }: ReadValue): DataFrame | null {
  const due = dataDue(sender, name);
  if (due === null) held.delete(name);
  return due && { kind: 'DATA', asked: due.asked, turn: due.turn, name, codec, body };
}

function say(shipping: Shipping, kind: 'short' | 'data', frames: readonly SessionMessageFrame[], release?: () => void): void {
  const { window, first, signal, held, parts, tally } = shipping;
  const count = kind === 'short' ? 'shortUnderWay' : 'dataUnderWay';
  shipping[count]++;
  run(shipping, async () => {
    const flight = window.began();
    const said = await sayExchange(shipping, first, frames, signal);
    if (kind === 'data' && said.repeats === 0) window.answered(flight, said.bytes);
    await hearAnswers(shipping, said.pairs);
    for (const frame of frames) held.delete(keyOf(frame));
    release?.();
    shipping[count]--;
    parts.onProgress?.({ ...tally });
  });
}
