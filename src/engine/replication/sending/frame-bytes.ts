/** What frames come to on the wire: for packing exchanges, and for what is told of them. */
import type { AnswerFrame, RequestFrame } from '../frames.ts';
import { encodeAnswer } from '../wire/answers.ts';
import { DATA_HEAD_BYTES, HEAD_BYTES } from '../wire/bounds.ts';
import { encodeRequest } from '../wire/requests.ts';

export const dataBytes = (bodyBytes: number): number => HEAD_BYTES + DATA_HEAD_BYTES + bodyBytes;

export const frameBytes = (frame: RequestFrame): number =>
  frame.kind === 'DATA' ? dataBytes(frame.body.length) : encodeRequest(frame).reduce((sum, { length }) => sum + length, 0);

export const answerBytes = (answer: AnswerFrame): number => encodeAnswer(answer).length;
