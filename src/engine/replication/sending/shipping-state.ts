/** What a call knows while it ships: what is being made ready, what is on its way, what was answered. It is the loop's, and the reducer's beside it. */
import type { SessionFrame, SessionMessageFrame } from '../frames.ts';
import type { Message, Reference } from '../messages.ts';
import type { Sender } from '../sender.ts';
import type { Against } from './content.ts';
import type { ExchangeDeps } from './exchange.ts';
import { frameBytes } from './frame-bytes.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import { createPatience, type Pace, type Patience } from './patience.ts';
import type { OpenedSession, SessionParts } from './session-parts.ts';
import { createWindow, type Window } from './window.ts';

/** Exchanges of data under way at the least: one is heard while the next one comes. */
const EXCHANGES_LEAST = 2;

/** A quarter of an hour: a receiver that is started anew, a link that is away. */
const PATIENCE_MS_DEFAULT = 900_000;
export const patienceMsOf = ({ patienceMs = PATIENCE_MS_DEFAULT }: SessionParts): number => patienceMs;

export interface ShipPlan {
  readonly opened: OpenedSession;
  readonly against: Against;
  readonly subtrees: readonly number[];
  /** Nothing of them is known at the receiver, so all pages are given at once. */
  readonly fresh: boolean;
  readonly afterRound: number;
  /** To the end: COMMIT when all is closed. Else a subtree is left when something is listed that this call has sent. */
  readonly toTheEnd: boolean;
}

/** A subtree that a round has left open. */
export interface OpenSubtree {
  readonly subtree: number;
  readonly outstanding: number;
  readonly names: readonly Reference[];
}

export interface ShipDeps extends ExchangeDeps {
  readonly parts: SessionParts;
  readonly pace: Pace;
}

export interface Shipping extends ShipDeps {
  readonly plan: ShipPlan;
  readonly sender: Sender;
  readonly first: SessionFrame;
  readonly outbox: Outbox;
  readonly window: Window;
  /** For what the receiver refuses for reasons that pass. */
  readonly refusals: Patience;
  /** Keys of messages that are being made ready or are on their way; of data that was read, with its extent. */
  readonly held: Map<string, number | null>;
  /** By subtree, a bit for each extent whose value was sent. */
  readonly sent: Map<number, Uint8Array>;
  /** Pages that the receiver has noted. */
  readonly noted: Set<string>;
  readonly left: OpenSubtree[];
  readonly running: Set<Promise<void>>;
  readonly stop: AbortController;
  readonly signal: AbortSignal;
  /** Tells the loop that something has changed. */
  wake: () => void;
  begun: number;
  isBeginning: boolean;
  isReading: boolean;
  shortUnderWay: number;
  dataUnderWay: number;
  refusedInARow: number;
  falseInARow: number;
  /** The receiver has said that a value was false. */
  isDoubted: boolean;
  emptyInARow: number;
  withheld: number;
}

export function newShipping(deps: ShipDeps, sender: Sender, plan: ShipPlan): Shipping {
  const { parts, pace } = deps;
  const { epoch, exchangeBytes, exchanges } = plan.opened;
  const stop = new AbortController();
  const first: SessionFrame = { kind: 'SESSION', epoch, snapshot: parts.snapshot, lineage: parts.lineage };
  return {
    ...deps,
    plan,
    sender,
    first,
    outbox: createOutbox(exchangeBytes - frameBytes(first)),
    window: createWindow({ exchangeBytes, least: EXCHANGES_LEAST, most: exchanges }, pace.nowMs),
    refusals: createPatience(patienceMsOf(parts), pace),
    held: new Map(),
    sent: new Map(),
    noted: new Set(),
    left: [],
    running: new Set(),
    stop,
    signal: parts.signal === undefined ? stop.signal : AbortSignal.any([parts.signal, stop.signal]),
    wake: () => undefined,
    ...{
      begun: 0,
      isBeginning: false,
      isReading: false,
      shortUnderWay: 0,
      dataUnderWay: 0,
      refusedInARow: 0,
      falseInARow: 0,
      isDoubted: false,
      emptyInARow: 0,
      withheld: 0,
    },
  };
}

/** Runs beside the loop; what fails ends the call. */
export function run(shipping: Shipping, work: () => Promise<void>): void {
  const running = work()
    .catch((error: unknown) => shipping.stop.abort(error))
    .finally(() => {
      shipping.running.delete(running);
      shipping.wake();
    });
  shipping.running.add(running);
}

export const isBegun = ({ begun, plan, isBeginning }: Shipping): boolean => begun >= plan.subtrees.length && !isBeginning;

export function keyOf(message: Message | SessionMessageFrame): string {
  switch (message.kind) {
    case 'REFERENCES':
      return `page ${message.subtree} ${message.page}`;
    case 'DATA':
      return message.name;
    case 'PUSH_INQUIRY':
      return `inquiry ${message.subtree}`;
    case 'OPEN':
    case 'COMMIT':
    case 'NAME_GONE':
    case 'ABORT':
      return message.kind;
  }
}
