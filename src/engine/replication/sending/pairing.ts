/**
 * Which answer belongs to which message of an exchange: frames.ts says how they follow each other.
 *
 * An answer that fits none is a peer that breaks the protocol: FRAME_INVALID. Messages after one that was refused have no
 * answer, for they were not heard; they are due again.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { AnswerFrame, DataFrame, FirstFrame, OpenFrame, SessionMessageFrame } from '../frames.ts';

export type SaidFrame = OpenFrame | SessionMessageFrame;

export interface Paired {
  /** Null: the first frame of the exchange was refused as such, and nothing followed it. */
  readonly said: SaidFrame | null;
  readonly answer: AnswerFrame;
}

const invalid = (what: string): HoldfastError => new HoldfastError('FRAME_INVALID', `the receiver ${what}`);

/** One pair for each message that was answered, in order; a KEPT is paired with each DATA that it is for. */
export function pairAnswers(first: FirstFrame, rest: readonly SessionMessageFrame[], answers: readonly AnswerFrame[]): Paired[] {
  const said: readonly SaidFrame[] = first.kind === 'OPEN' ? [first, ...rest] : rest;
  const pairs: Paired[] = [];
  let at = 0;
  for (const answer of answers) {
    if (answer.kind === 'REFUSED') {
      pairs.push({ said: said[at] ?? null, answer });
      return pairs;
    }
    if (answer.kind === 'KEPT') {
      const kept = rowOf(said, at, answer.accepted + answer.dropped, answer.turn);
      pairs.push(...kept.map((frame) => ({ said: frame, answer })));
      at += kept.length;
      continue;
    }
    const frame = said[at++];
    if (frame === undefined || !answersTo(frame, answer)) throw invalid(`answers ${answer.kind} to ${frame?.kind ?? 'nothing'}`);
    pairs.push({ said: frame, answer });
  }
  if (at < said.length && pairs.at(-1)?.answer.kind !== 'COMMITTED') throw invalid(`has answered ${at} of ${said.length} messages`);
  return pairs;
}

/** The DATA that a KEPT is for. */
function rowOf(said: readonly SaidFrame[], from: number, count: number, turn: number): DataFrame[] {
  const row = said.slice(from, from + count).filter((frame) => frame.kind === 'DATA' && frame.turn === turn);
  if (count === 0 || row.length !== count) throw invalid(`says that it has kept ${count} values of turn ${turn}, which were not sent`);
  return row as DataFrame[];
}

function answersTo(frame: SaidFrame, answer: AnswerFrame): boolean {
  switch (answer.kind) {
    case 'COMMITTED':
      return true;
    case 'OPENED':
    case 'TAKEN':
      return frame.kind === 'OPEN';
    case 'NOTED':
      return frame.kind === 'REFERENCES' && frame.subtree === answer.subtree && frame.page === answer.page && frame.turn === answer.turn;
    case 'MISSING':
      return frame.kind === 'PUSH_INQUIRY' && frame.subtree === answer.subtree && frame.round === answer.round;
    case 'WITHHELD':
      return frame.kind === 'COMMIT';
    case 'ENDED':
      return frame.kind === 'ABORT' || frame.kind === 'NAME_GONE';
    case 'KEPT':
    case 'REFUSED':
      return false;
  }
}
