/**
 * A receiver's ear: `POST /v1/exchange`, and questions beside it (docs/replication.md section 7), behind the bounds of every ear (ear.ts).
 *
 * What was under way when it closed is idempotent, and is said again by its sender to the next one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isHoldfastError } from '../../../domain/errors.ts';
import type { Hearing, Peer } from '../frames.ts';
import { CONTENT_TYPE } from '../wire/bounds.ts';
import { Allowance } from './allowance.ts';
import { listenForPeers, type Answerer, type EarEvent, type EarLine, type EarOptions, type EarTls, type ListeningEar } from './ear.ts';
import { hearExchange, type Outcome } from './exchange.ts';
import { exchangeBytesMax, TRANSPORT_LIMITS, type TransportLimits } from './limits.ts';
import { judgeQuestion, readInput, refusalOfQuestion, type Question, type Questions } from './questions.ts';
import { refusals, type Refusal } from './refusals.ts';

export type ReceiverTls = EarTls;
export type ReceiverServer = ListeningEar;

export interface ReceiverOptions extends Pick<EarOptions<Peer>, 'listen' | 'tls' | 'authorise'> {
  readonly hearing: Hearing;
  readonly limits?: Partial<TransportLimits>;
  /** What may be asked beside exchanges. */
  readonly questions?: Questions;
  readonly onEvent?: (event: ReceiverEvent) => void;
}

export type ReceiverEvent =
  /** Heard and answered. Bytes of bodies. `refused`: the code of its last answer. */
  | {
      readonly kind: 'exchange';
      readonly token: string;
      readonly bytesIn: number;
      readonly bytesOut: number;
      readonly refused: string | null;
    }
  /** A question was answered. */
  | { readonly kind: 'answered'; readonly token: string; readonly bytesIn: number; readonly bytesOut: number }
  | EarEvent;

const EXCHANGE_PATH = '/v1/exchange';

export function serveReceiver(options: ReceiverOptions): Promise<ReceiverServer> {
  const { listen, tls, authorise, onEvent } = options;
  const limits = { ...TRANSPORT_LIMITS, ...options.limits };
  const answerer = answererOf(options, limits);
  return listenForPeers({ ...{ listen, tls, limits, authorise, answerer }, ...(onEvent ? { onEvent } : {}) });
}

function answererOf({ hearing, questions, onEvent }: ReceiverOptions, limits: TransportLimits): Answerer<Peer> {
  const opens = new Allowance(limits.opensPerMinute, () => performance.now());
  const questionOf = ({ url }: IncomingMessage): Question | null => questions?.get(url ?? '') ?? null;

  const ask = async (request: IncomingMessage, response: ServerResponse, peer: Peer, question: Question, line: EarLine): Promise<void> => {
    const bytesIn = Number(request.headers['content-length'] ?? 0);
    try {
      const input = question.method === 'GET' ? null : await readInput(request, limits.headerMs);
      const body = JSON.stringify(await question.answer(peer, input));
      const bytesOut = Buffer.byteLength(body);
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytesOut });
      response.write(body);
      line.drain();
      if (await line.finish()) onEvent?.({ kind: 'answered', token: peer.id, bytesIn, bytesOut });
      else line.gone(bytesIn);
    } catch (error) {
      const refusal = isHoldfastError(error) ? refusalOfQuestion(error) : null;
      if (refusal === null) throw error;
      line.refusals.take(peer.id);
      await line.refuse(refusal, bytesIn);
    }
  };

  const exchanged = async (response: ServerResponse, peer: Peer, outcome: Outcome, bytesIn: number, line: EarLine): Promise<void> => {
    if (outcome.kind === 'refused') return await line.refuse(outcome.refusal, bytesIn);
    if (outcome.kind === 'gone' || response.destroyed) return line.gone(bytesIn);
    const { parts, refused } = outcome;
    const bytesOut = parts.reduce((sum, part) => sum + part.length, 0);
    response.writeHead(200, { 'content-type': CONTENT_TYPE, 'content-length': bytesOut });
    for (const part of parts) response.write(part);
    if (await line.finish()) onEvent?.({ kind: 'exchange', token: peer.id, bytesIn, bytesOut, refused });
    else line.gone(bytesIn);
  };

  return {
    judge(request) {
      const question = questionOf(request);
      return question === null ? judgeExchange(request, limits) : judgeQuestion(request, question);
    },
    allows(request, peer) {
      const question = questionOf(request);
      const right = question === null ? 'add' : question.right;
      return right === null || peer.rights.includes(right);
    },
    async answer(request, response, peer, line) {
      const question = questionOf(request);
      if (question !== null) return await ask(request, response, peer, question, line);
      const deps = { hearing, limits, opens, refusals: line.refusals, closing: line.closing };
      const { outcome, bytesIn } = await hearExchange(request, response, peer, deps);
      await exchanged(response, peer, outcome, bytesIn, line);
    },
  };
}

function judgeExchange({ method, url, headers }: IncomingMessage, limits: TransportLimits): Refusal | null {
  if (url !== EXCHANGE_PATH) return refusals.notFound;
  if (method !== 'POST') return refusals.otherMethod;
  if (headers['content-type'] !== CONTENT_TYPE || headers['content-encoding'] !== undefined) return refusals.otherType;
  return Number(headers['content-length'] ?? 0) > exchangeBytesMax(limits) ? refusals.tooLong : null;
}
