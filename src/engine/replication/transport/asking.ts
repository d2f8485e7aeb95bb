/**
 * What a sender asks a receiver beside exchanges: a request each, on a connection that ends with it.
 *
 * What comes back is believed as little as an answer of an exchange: it has a bound and a time, is judged by a schema, and of what the receiver
 * says in words only printable text is passed on. Nothing is said twice by itself: RECEIVER_UNREACHABLE leaves open whether it was heard.
 */
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { z } from 'zod';
import { HoldfastError, isHoldfastError, type ErrorCode } from '../../../domain/errors.ts';
import { lineageSchema, snapshotSchema } from '../../../domain/id-schemas.ts';
import { KIB } from '../../../domain/limits.ts';
import type { Lineage, SnapshotId } from '../../../domain/ids.ts';
import { parseToken } from '../tokens.ts';
import { printable, responseTo } from '../../../ground/http/response.ts';
import { refusalOf, unreachable } from './answered.ts';
import { parseReceiverUrl, type LinkOptions } from './client.ts';
import { QUESTION_STATUS } from './questions.ts';
import { createWireAgent } from '../../../ground/http/wire-agent.ts';

/** The receiver tells of 32 sessions, of less than 1 KiB each. */
const ANSWER_BYTES_MAX = 64 * KIB;
const SESSIONS_MAX = 64;
const WORDS_MAX = 300;
const WITHIN_MS = 30_000;
/** What a receiver may refuse a question with, in its own words; else its status speaks. */
const OWN_CODES = [
  'SNAPSHOT_NOT_FOUND',
  'RETENTION_FLOOR',
  'VISIBILITY_CHANGED',
  'RECEIVER_DENIED',
] as const satisfies readonly ErrorCode[];

const count = z.int().min(0);
const sessionSchema = z.object({
  lineage: lineageSchema,
  snapshot: snapshotSchema,
  epoch: count,
  status: z.enum(['open', 'committed', 'ended']),
  sizeBytes: count,
  heardMs: count.max(8.64e15),
  figures: z.object({
    ...{ named: count, held: count, asked: count, accepted: count, dropped: count },
    ...{ false: count, healed: count, wireBytes: count, proofs: count, storedBytes: count },
  }),
});
const sessionsSchema = z.object({ sessions: z.array(sessionSchema).max(SESSIONS_MAX) });
const visibilitySchema = z.object({ snapshot: snapshotSchema, hidden: z.boolean(), version: count });
const hiddenSchema = z.object({ hidden: snapshotSchema });
const refusalSchema = z.object({ code: z.enum(OWN_CODES), message: z.string() });

/** A session as the receiver sees it. */
export type ToldSession = z.infer<typeof sessionSchema>;
export type ToldVisibility = z.infer<typeof visibilitySchema>;

export interface AskedSnapshot {
  /** As the sender has it. */
  readonly lineage: Lineage;
  readonly snapshot: SnapshotId;
}

export interface Asking {
  /** Of the token: the open ones and the last that have ended, since the receiver was started. */
  sessions(): Promise<readonly ToldSession[]>;
  /** SNAPSHOT_NOT_FOUND, RECEIVER_DENIED. */
  look(of: AskedSnapshot): Promise<ToldVisibility>;
  /** `seen`: the version that was looked at. And RETENTION_FLOOR, VISIBILITY_CHANGED. */
  hide(of: AskedSnapshot, seen: number): Promise<void>;
}

export type AskingOptions = Pick<LinkOptions, 'url' | 'token' | 'tls' | 'requestTimeoutMs'>;

export function createAsking(options: AskingOptions): Asking {
  parseToken(options.token);
  parseReceiverUrl(options.url);
  return {
    sessions: async () => (await ask(options, 'GET', '/v1/session', null, sessionsSchema)).sessions,
    async look(of) {
      const told = await ask(options, 'POST', '/v1/snapshot', of, visibilitySchema);
      if (told.snapshot !== of.snapshot) throw nonsense();
      return told;
    },
    async hide(of, seen) {
      const { hidden } = await ask(options, 'POST', '/v1/hide', { ...of, seen }, hiddenSchema);
      if (hidden !== of.snapshot) throw nonsense();
    },
  };
}

const nonsense = (): HoldfastError => new HoldfastError('FRAME_INVALID', 'the receiver answers something else than it was asked');

async function ask<T>(options: AskingOptions, method: 'GET' | 'POST', at: string, input: object | null, schema: z.ZodType<T>): Promise<T> {
  const url = parseReceiverUrl(options.url, at);
  const withinMs = options.requestTimeoutMs ?? WITHIN_MS;
  const { agent } = createWireAgent({ url, tls: options.tls ?? null, connections: 1, connectMs: withinMs });
  const body = input === null ? null : JSON.stringify(input);
  const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
    ...{ agent, method },
    headers: {
      authorization: `Bearer ${options.token}`,
      ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    },
  });
  const late = setTimeout(() => request.destroy(new Error('no answer came within the time')), withinMs);
  // Wherever an error is waited for, it is heard there; that it is not thrown elsewhere, here.
  request.on('error', () => undefined);
  try {
    return await hear(request, body, schema);
  } catch (error) {
    throw isHoldfastError(error) ? error : unreachable(error);
  } finally {
    clearTimeout(late);
    request.destroy();
    agent.destroy();
  }
}

async function hear<T>(request: ClientRequest, body: string | null, schema: z.ZodType<T>): Promise<T> {
  const answered = responseTo(request);
  request.end(body ?? undefined);
  const response = await answered;
  const told = await read(response);
  if (response.statusCode !== 200) throw ownRefusal(response, told) ?? refusalOf(response);
  const parsed = schema.safeParse(told);
  if (!parsed.success) throw nonsense();
  return parsed.data;
}

/** Undefined: it is no JSON. */
async function read(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new HoldfastError('FRAME_INVALID', 'the receiver answers too much');
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    // What that means its status says, or the schema.
    return undefined;
  }
}

/** Null: it is none of the refusals that a question has, or has another status. */
function ownRefusal({ statusCode }: IncomingMessage, told: unknown): HoldfastError | null {
  const refusal = refusalSchema.safeParse(told);
  if (!refusal.success || QUESTION_STATUS[refusal.data.code] !== statusCode) return null;
  const words = printable(refusal.data.message.slice(0, WORDS_MAX));
  return new HoldfastError(refusal.data.code, `the receiver refuses: ${words}`, { status: statusCode ?? 0 });
}
