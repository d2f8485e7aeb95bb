/**
 * The processes of a run: one receiver, which is started again when it dies of its point, and senders, which their next attempt
 * starts again. Whoever ends otherwise is a violation.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dice } from '../volumes/dice.ts';
import { Violation } from '../volumes/violation.ts';
import { Child } from './child.ts';
import type { ReceiverLine, ReceiverOrder, SenderLine, SendOrder } from './lines.ts';
import type { Kill } from './points.ts';
import type { Proxy } from './proxy.ts';
import type { World } from './world.ts';

export interface ProcessOptions {
  readonly world: World;
  readonly proxy: Proxy;
  readonly dice: Dice;
  readonly onKilled: (point: string) => void;
  readonly onViolation: (error: unknown) => void;
  readonly note: (line: string) => void;
}

/** A start takes half a second; on a machine that does much else, some. */
const SERVES_WITHIN_MS = 60_000;
/** A session of these sizes takes a second; what takes this long beyond an outage hangs. */
const HANGS_AFTER_MS = 60_000;
const RESTARTS_AFTER_MS_MOST = 300;

export interface ReceiverProcess {
  arm(kill: Kill | null): void;
  /** Serves, and has done what its hourly round does. */
  tended(): Promise<void>;
  /** Ends it, politely; the most that it, or one before it, had in memory. */
  stop(): Promise<number>;
  kill(): Promise<void>;
}

export function startReceiver({ world, proxy, dice, onKilled, onViolation, note }: ProcessOptions): ReceiverProcess {
  let number = 0;
  let isWanted = true;
  let residentBytesMax = 0;
  let child: Child<ReceiverOrder, ReceiverLine>;
  let serving = Promise.withResolvers<void>();
  let tended = (): void => undefined;
  let closed = 'nothing';

  const begin = (): void => {
    let reached: string | null = null;
    const one = new Child<ReceiverOrder, ReceiverLine>({
      entry: path.join(import.meta.dirname, 'receiver.ts'),
      args: [world.receiver, String(number++), world.token.record],
      variables: world.variables,
      onLine(line) {
        if (line.kind === 'reached') {
          reached = line.point;
          proxy.target = null;
        } else if (line.kind === 'serves') {
          proxy.target = line.port;
          serving.resolve();
        } else if (line.kind === 'tended') tended();
        else if (line.kind === 'closed') closed = line.what;
        else note(`the receiver says: ${line.message}`);
      },
    });
    child = one;
    const sampling = setInterval(() => (residentBytesMax = Math.max(residentBytesMax, one.residentBytesMax)), 200);
    void one.ended.then(async (how) => {
      clearInterval(sampling);
      proxy.target = null;
      if (!isWanted) return;
      if (reached === null) return onViolation(new Violation(`the receiver ended by itself: ${how}`));
      note(`the receiver died ${reached.replace('receiver: ', '')}`);
      onKilled(reached);
      serving = Promise.withResolvers<void>();
      await sleep(dice.between(0, RESTARTS_AFTER_MS_MOST));
      if (isWanted) begin();
    });
  };
  begin();

  const serves = async (): Promise<void> => {
    const late = new AbortController();
    await Promise.race([
      serving.promise,
      sleep(SERVES_WITHIN_MS, undefined, { signal: late.signal }).then(() => {
        throw new Violation(`the receiver does not serve within ${SERVES_WITHIN_MS} ms`);
      }),
    ]);
    late.abort();
  };

  return {
    arm: (kill) => child.order({ kind: 'arm', kill }),
    async tended() {
      await serves();
      child.order({ kind: 'arm', kill: null });
      const done = new Promise<void>((resolve) => (tended = resolve));
      child.order({ kind: 'tend' });
      await Promise.race([done, child.ended]);
    },
    async stop() {
      isWanted = false;
      residentBytesMax = Math.max(residentBytesMax, child.residentBytesMax);
      const how = await child.dismiss();
      if (!/^0\b/.test(how)) throw new Violation(`the receiver did not stop, but ended with ${how} after it had closed ${closed}`);
      return residentBytesMax;
    },
    async kill() {
      isWanted = false;
      child.kill();
      await child.ended;
    },
  };
}

export type SendEnd =
  | Extract<SenderLine, { kind: 'committed' | 'failed' }>
  /** It met the point of its order. */
  | { readonly kind: 'killed' };

/** A sender's machine: one process at a time, kept from order to order while it lives. */
export interface SenderProcess {
  send(order: SendOrder, extraMs?: number): Promise<SendEnd>;
  kill(): Promise<void>;
}

export function createSender({ world, proxy, onKilled, note }: ProcessOptions, name: string): SenderProcess {
  let number = 0;
  let child: Child<SendOrder, SenderLine> | null = null;
  let heard: (line: SenderLine) => void = () => undefined;

  const living = (): Child<SendOrder, SenderLine> => {
    if (child?.isAlive === true) return child;
    child = new Child<SendOrder, SenderLine>({
      entry: path.join(import.meta.dirname, 'sender.ts'),
      args: [world.sender, `${name}.${number++}`, proxy.url],
      variables: { ...world.variables, HOLDFAST_TOKEN: world.token.secret },
      onLine: (line) => heard(line),
    });
    return child;
  };

  return {
    async send(order, extraMs = 0) {
      const one = living();
      let reached: string | null = null;
      const told = new Promise<SendEnd>((resolve) => {
        heard = (line) => {
          if (line.kind === 'reached') reached = line.point;
          else resolve(line);
        };
      });
      const hangs = setTimeout(() => one.kill(), HANGS_AFTER_MS + extraMs);
      one.order(order);
      const end = await Promise.race([told, one.ended]);
      clearTimeout(hangs);
      if (typeof end !== 'string') return end;
      if (reached === null) throw new Violation(`sender ${name} with ${order.snapshot} hung, or ended by itself: ${end}`);
      note(`sender ${name} died ${String(reached).replace('sender: ', '')}`);
      onKilled(reached);
      return { kind: 'killed' };
    },
    async kill() {
      child?.kill();
      await child?.ended;
    },
  };
}
