/**
 * One exchange, said until it is answered. It is said again as it was, byte for byte: every message is idempotent, and what
 * it says of the moment (its turn) is when it was first said.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import type { FirstFrame, Link, SessionMessageFrame } from '../frames.ts';
import type { Tally } from './figures.ts';
import { answerBytes, frameBytes } from './frame-bytes.ts';
import { pairAnswers, type Paired } from './pairing.ts';
import type { Patience } from './patience.ts';

export interface Said {
  readonly pairs: readonly Paired[];
  /** Of the exchange, once. */
  readonly bytes: number;
  /** Times that it had no answer. */
  readonly repeats: number;
}

export interface ExchangeDeps {
  readonly link: Link;
  readonly patience: Patience;
  readonly tally: Tally;
}

export async function sayExchange(
  { link, patience, tally }: ExchangeDeps,
  first: FirstFrame,
  rest: readonly SessionMessageFrame[],
  signal: AbortSignal,
): Promise<Said> {
  const bytes = rest.reduce((sum, frame) => sum + frameBytes(frame), frameBytes(first));
  for (let repeats = 0; ; repeats++) {
    tally.wireBytes += bytes;
    try {
      const answers = await link.exchange(first, rest, signal);
      patience.answered();
      for (const answer of answers) tally.answerBytes += answerBytes(answer);
      return { pairs: pairAnswers(first, rest, answers), bytes, repeats };
    } catch (error) {
      signal.throwIfAborted();
      if (!isHoldfastError(error, 'RECEIVER_UNREACHABLE')) throw error;
      tally.saidAgain++;
      await patience.again(error, repeats, signal);
    }
  }
}
