/**
 * What a peer may ask beside exchanges: a path each, a small JSON document at the most there, one back.
 *
 * They are judged, bounded and counted like exchanges; what is refused has the code of the table of errors and a status of HTTP.
 */
import type { IncomingMessage } from 'node:http';
import { HoldfastError, type ErrorCode } from '../../../domain/errors.ts';
import { KIB } from '../../../domain/limits.ts';
import type { Peer } from '../frames.ts';
import { refusals, type Refusal } from './refusals.ts';

export interface Question {
  readonly method: 'GET' | 'POST';
  /** What the token has to allow; null: any that is taken. */
  readonly right: Peer['rights'][number] | null;
  /** `input`: of a POST, JSON that nobody has judged yet; of a GET null. */
  answer(peer: Peer, input: unknown): Promise<unknown>;
}

/** By path. */
export type Questions = ReadonlyMap<string, Question>;

const INPUT_BYTES_MAX = 4 * KIB;

/** What a question can be refused with, and the status that goes with it. */
export const QUESTION_STATUS: Partial<Record<ErrorCode, number>> = {
  ...{
    ARGUMENT_INVALID: 400,
    FRAME_INVALID: 400,
    RECEIVER_DENIED: 403,
    SNAPSHOT_NOT_FOUND: 404,
    RETENTION_FLOOR: 409,
    VISIBILITY_CHANGED: 409,
  },
};

/** What stands against a question, whoever it is from. */
export function judgeQuestion({ method, headers }: IncomingMessage, question: Question): Refusal | null {
  if (method !== question.method)
    return { ...refusals.otherMethod, message: `this is a ${question.method}`, headers: { allow: question.method } };
  return Number(headers['content-length'] ?? 0) > INPUT_BYTES_MAX ? refusals.tooLong : null;
}

/** Null: a mistake of ours, or something that passes. */
export function refusalOfQuestion({ code, message }: HoldfastError): Refusal | null {
  const status = QUESTION_STATUS[code];
  return status === undefined ? null : { status, code, message };
}

/** Reads the document of a POST; of anything that is too long or too late, nothing. */
export async function readInput(request: IncomingMessage, withinMs: number): Promise<unknown> {
  const late = setTimeout(() => request.destroy(), withinMs);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > INPUT_BYTES_MAX) throw new HoldfastError('FRAME_INVALID', `more than ${INPUT_BYTES_MAX} bytes were said`);
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('FRAME_INVALID', 'what was said is not JSON, or did not come to its end', {}, error);
  } finally {
    clearTimeout(late);
  }
}
