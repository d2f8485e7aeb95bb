/**
 * One exchange at the receiver: its body is heard as it comes, its answers are kept until all of it was read.
 *
 * A body that is no exchange is answered within it (REFUSED, after the answers to what was heard before); only what concerns the transport
 * has a status of HTTP. Answers are bounded: who asks for more in one exchange is heard no further.
 */
import type { ServerResponse, IncomingMessage } from 'node:http';
import type { HoldfastError } from '../../../domain/errors.ts';
import type { AnswerFrame, FirstFrame, Hearing, Peer, RequestFrame, SessionMessageFrame } from '../frames.ts';
import { encodeAnswer } from '../wire/answers.ts';
import { invalid } from '../wire/content-reader.ts';
import type { Allowance } from './allowance.ts';
import { Body, type BodyEnd } from './body.ts';
import type { TransportLimits } from './limits.ts';
import { refusals, type Refusal } from './refusals.ts';

export interface ExchangeDeps {
  readonly hearing: Hearing;
  readonly limits: TransportLimits;
  readonly opens: Allowance;
  readonly refusals: Allowance;
  /** The server has waited long enough. */
  readonly closing: AbortSignal;
}

export type Outcome =
  | { readonly kind: 'answers'; readonly parts: readonly Buffer[]; readonly refused: string | null }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** There is nobody to answer to. */
  | { readonly kind: 'gone' };

export interface Heard {
  readonly outcome: Outcome;
  readonly bytesIn: number;
}

const isFirst = (frame: RequestFrame): frame is FirstFrame => frame.kind === 'OPEN' || frame.kind === 'SESSION';

/** Rejects with whatever the hearing rejects with, which is a mistake of ours. */
export async function hearExchange(request: IncomingMessage, response: ServerResponse, peer: Peer, deps: ExchangeDeps): Promise<Heard> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.once('close', leave);
  const body = new Body(request, deps.limits);
  try {
    const outcome = await hear(body, peer, deps, AbortSignal.any([gone.signal, deps.closing]));
    return { outcome, bytesIn: body.bytes };
  } finally {
    response.off('close', leave);
    body.drop();
  }
}

async function hear(body: Body, peer: Peer, deps: ExchangeDeps, signal: AbortSignal): Promise<Outcome> {
  const answers = new Answers(deps, peer);
  const first = await body.next();
  if (first === null || !isFirst(first)) answers.trouble = invalid('an exchange begins with OPEN or SESSION');
  else {
    const waitMs = first.kind === 'OPEN' ? deps.opens.waitMs(peer.id) : 0;
    if (waitMs > 0) return { kind: 'refused', refusal: refusals.tooMany(waitMs) };
    if (first.kind === 'OPEN') deps.opens.take(peer.id);
    await collect(deps.hearing.exchange(peer, first, restOf(body, answers), signal), answers);
  }
  body.drop();
  const end = await body.ended;
  if (first !== null && isFirst(first)) deps.hearing.noteWire?.(peer, first, body.bytes + answers.bytes);
  return conclude(end, answers);
}

async function* restOf(body: Body, answers: Answers): AsyncGenerator<SessionMessageFrame, void> {
  for await (const frame of body) {
    if (isFirst(frame)) answers.trouble = invalid('OPEN or SESSION in the middle of an exchange');
    else if (answers.isFull) answers.trouble = invalid('an exchange asks for too much at once');
    else yield frame;
    if (answers.trouble !== null) return;
  }
}

async function collect(heard: AsyncIterable<AnswerFrame>, answers: Answers): Promise<void> {
  for await (const answer of heard) {
    answers.add(answer);
    if (answers.refused !== null) return;
  }
}

function conclude(end: BodyEnd, answers: Answers): Outcome {
  if (end.kind === 'gone') return { kind: 'gone' };
  if (end.kind === 'too long') return { kind: 'refused', refusal: refusals.tooLong };
  if (end.kind === 'too slow') return { kind: 'refused', refusal: refusals.tooSlow };
  // What was no frame says more than that the first one is missing.
  const trouble = end.error ?? answers.trouble;
  if (trouble !== null && answers.refused === null) answers.add({ kind: 'REFUSED', code: trouble.code, message: trouble.message });
  return { kind: 'answers', parts: answers.parts, refused: answers.refused };
}

/** What is said back, encoded, in order. */
class Answers {
  readonly parts: Buffer[] = [];
  /** The code of the last answer, if it refused. */
  refused: string | null = null;
  /** Why the rest is not heard. */
  trouble: HoldfastError | null = null;
  readonly #deps: ExchangeDeps;
  readonly #peer: Peer;
  bytes = 0;

  constructor(deps: ExchangeDeps, peer: Peer) {
    this.#deps = deps;
    this.#peer = peer;
  }

  get isFull(): boolean {
    return this.bytes > this.#deps.limits.answerBytes;
  }

  add(answer: AnswerFrame): void {
    const bytes = encodeAnswer(answer);
    this.parts.push(bytes);
    this.bytes += bytes.length;
    if (answer.kind !== 'REFUSED') return;
    this.refused = answer.code;
    this.#deps.refusals.take(this.#peer.id);
  }
}
