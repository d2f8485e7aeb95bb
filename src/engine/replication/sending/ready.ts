/**
 * Makes what is due ready to be said: pages and values are read, and go to the outbox in the order in which they are due. What is being
 * made ready is held, so that it is not made ready twice.
 */
import pLimit from 'p-limit';
import { HoldfastError } from '../../../domain/errors.ts';
import { PAGE_NAMES } from '../frames.ts';
import type { Message, References } from '../messages.ts';
import { says, sendAhead, unreadable, type Sender } from '../sender.ts';
import { ZEROS } from '../wire/content-reader.ts';
import type { DueValue } from './content.ts';
import type { ShortFrame } from './outbox.ts';
import { run, isBegun, keyOf, type Shipping } from './shipping-state.ts';

/** Leaves read at once. */
const PAGES_AT_ONCE = 8;
/** Values looked up and read together: at 256 KiB 1 GiB, in which packs are found whole. */
const READ_AT_ONCE = 4096;
/** Rows of a NAME_GONE: 14 KiB. */
const GONE_NAMES_MAX = 400;

export function makeShortReady(shipping: Shipping): void {
  const { sender, held, outbox } = shipping;
  const pages: References[] = [];
  for (const message of says(sender, 'short')) {
    const key = keyOf(message);
    if (held.has(key) || (message.kind === 'COMMIT' && !(shipping.plan.toTheEnd && isBegun(shipping)))) continue;
    held.set(key, null);
    if (message.kind === 'REFERENCES') pages.push(message);
    else outbox.addShort(shortFrame(shipping, message));
  }
  if (pages.length > 0) run(shipping, () => readPages(shipping, pages));
}

function shortFrame({ sender, parts }: Shipping, message: Message): ShortFrame {
  switch (message.kind) {
    case 'PUSH_INQUIRY':
      return { kind: 'PUSH_INQUIRY', underWay: message.underWay, subtree: message.subtree, round: message.round, pages: message.pages };
    case 'COMMIT':
      return { kind: 'COMMIT', root: parts.content.root };
    case 'NAME_GONE': {
      const gone = new Set(message.names);
      const names = [...sender.subtrees].flatMap(([subtree, { push }]) =>
        [...push].flatMap(([name, { at }]) => (gone.has(name) ? [{ subtree, at, name }] : [])),
      );
      return { kind: 'NAME_GONE', names: names.slice(0, GONE_NAMES_MAX) };
    }
    case 'ABORT':
      return { kind: 'ABORT', reason: sender.giving?.code ?? '' };
    case 'OPEN':
    case 'REFERENCES':
    case 'DATA':
      throw new HoldfastError('INTERNAL', `${message.kind} is no short message of a session`);
  }
}

/** Reads pages and puts them out in their order, all of them before the loop looks again: they go in few exchanges. */
async function readPages(shipping: Shipping, pages: readonly References[]): Promise<void> {
  const { parts, plan, sender, outbox, noted, signal } = shipping;
  const limit = pLimit(PAGES_AT_ONCE);
  const reads = pages.map((message) =>
    limit(async () => {
      signal.throwIfAborted();
      // A page that was noted and is asked for again is asked for because the base's is lost.
      return parts.content.rows(message.subtree, message.page, plan.against, !noted.has(keyOf(message)));
    }),
  );
  try {
    for (const [i, { subtree, page, turn }] of pages.entries()) {
      const { whole, rows } = (await reads[i]) ?? { whole: true, rows: [] };
      const names = rows.map(({ name }) => name).filter((name) => name !== ZEROS);
      if (plan.fresh && plan.opened.countsNothing && !noted.has(`page ${subtree} ${page}`)) sendAhead(sender, subtree, page, names);
      outbox.addShort({ kind: 'REFERENCES', whole, turn, subtree, page, rows });
    }
  } finally {
    await Promise.allSettled(reads);
  }
}

/** Reads what is due of data, a good deal at once: one more read is not begun before that has been sent. */
export function makeDataReady(shipping: Shipping): void {
  const { sender, held, outbox, parts, signal } = shipping;
  if (shipping.isReading) return;
  const due: DueValue[] = [];
  for (const message of says(sender, 'data')) {
    if (message.kind !== 'DATA' || held.has(message.name)) continue;
    const place = placeOf(sender, message.name);
    if (place === null) continue;
    due.push(place);
    held.set(message.name, null);
    if (due.length === READ_AT_ONCE) break;
  }
  if (due.length === 0) return;
  shipping.isReading = true;
  run(shipping, async () => {
    const gone = await parts.content.read(
      due,
      async (values) => {
        for (const { name, extent } of values) held.set(name, extent);
        const added = outbox.addData(values);
        shipping.wake();
        await added;
      },
      signal,
      shipping.isDoubted,
    );
    for (const name of gone) held.delete(name);
    unreadable(sender, gone);
    shipping.isReading = false;
  });
}

function placeOf({ subtrees }: Sender, name: string): DueValue | null {
  for (const [subtree, { push, ahead }] of subtrees) {
    const at = push.get(name)?.at;
    if (at !== undefined) return { name, subtree, page: Math.floor(at / PAGE_NAMES), at };
    const page = ahead.get(name);
    if (page !== undefined) return { name, subtree, page, at: null };
  }
  return null;
}
