/**
 * The way from a sender to a receiver in the same process, and what may go wrong on it: whole exchanges, and whole answers, are
 * lost, said twice, or late, so that they overtake each other. Seeded.
 */
import { HoldfastError } from '../../../../src/domain/errors.ts';
import type { AnswerFrame, FirstFrame, Hearing, Link, Peer, SessionMessageFrame } from '../../../../src/engine/replication/frames.ts';
import { seededRandom } from '../../../../src/ground/stores/faulty.ts';
import { sleep } from '../../../../src/ground/stores/sleep.ts';
import { collect, framesOf } from '../receiving/tiny-sender.ts';

export const unreachable = (): HoldfastError => new HoldfastError('RECEIVER_UNREACHABLE', 'nobody answers');

/** `hearing` is asked anew for each exchange, for the receiver may have been started again. */
export const inProcess = (hearing: () => Hearing, peer: Peer): Link => ({
  exchange: (first, rest, signal) => collect(hearing().exchange(peer, first, framesOf(rest), signal)),
});

export interface Troubles {
  /** Shares of the exchanges. */
  readonly lost: number;
  readonly answersLost: number;
  readonly twice: number;
  readonly delayMsMost: number;
}

export function troubled(link: Link, seed: number, { lost, answersLost, twice, delayMsMost }: Troubles): Link {
  const random = seededRandom(seed);
  return {
    async exchange(first, rest, signal) {
      const [isLost, isAnswerLost, isTwice, ms, laterMs] = [
        random() < lost,
        random() < answersLost,
        random() < twice,
        random() * delayMsMost,
        random() * delayMsMost,
      ];
      await sleep(ms, signal);
      if (isLost) throw unreachable();
      // The copy comes late, and nobody hears what is answered to it.
      const copy = isTwice ? sleep(laterMs).then(() => link.exchange(first, rest, new AbortController().signal)) : null;
      void copy?.catch(() => undefined);
      const answers = await link.exchange(first, rest, signal);
      if (isAnswerLost) throw unreachable();
      return answers;
    },
  };
}

export interface SaidExchange {
  readonly first: FirstFrame;
  readonly rest: readonly SessionMessageFrame[];
  readonly answers: readonly AnswerFrame[];
}

/** Calls `before` with the number of the exchange, and remembers what was said. */
export function watched(link: Link, before: (n: number, rest: readonly SessionMessageFrame[]) => Promise<void> | void = () => undefined) {
  const said: SaidExchange[] = [];
  let n = 0;
  const watching: Link = {
    async exchange(first, rest, signal) {
      await before(n++, rest);
      const answers = await link.exchange(first, rest, signal);
      said.push({ first, rest, answers });
      return answers;
    },
  };
  return {
    link: watching,
    said,
    namesSent: (): string[] => said.flatMap(({ rest }) => rest.flatMap((frame) => (frame.kind === 'DATA' ? [frame.name] : []))),
  };
}
