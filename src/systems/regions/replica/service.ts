/**
 * What a replica hears over HTTP: the six calls (docs/replica.md, section 3), behind the bounds of every ear.
 *
 * Invariants. Nothing of a body is read before there is room for it, among what waits and in memory. A body that does not have its digest is refused
 * and leaves nothing. What a request comes after is noted before it waits for anything.
 */
import { blake3 } from '@napi-rs/blake-hash';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import type { Answerer, Caller, EarLine } from '../../../engine/replication/transport/ear.ts';
import type { Refusal } from '../../../engine/replication/transport/refusals.ts';
import { checkNames } from '../../../ground/stores/object-name.ts';
import { deleteSchema, HEADERS, toldOf } from '../../../ground/stores/replica-wire.ts';
import { parseAsk, type Ask } from './asks.ts';
import type { Replica } from './replica.ts';
import { Room, type Held } from './room.ts';

export type ServiceEvent =
  | {
      readonly kind: 'answered';
      readonly operation: Ask['kind'];
      readonly seconds: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
    }
  /** No room came free in time. */
  | { readonly kind: 'back-pressure' };

export interface ServiceOptions {
  readonly replica: Replica;
  readonly onEvent: (event: ServiceEvent) => void;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Buffer;
}

interface Hearing extends ServiceOptions {
  readonly memory: Room;
  /** What this request has of it. */
  readonly inMemory: Held[];
  readonly request: IncomingMessage;
  /** The peer has left, or the server ends. */
  readonly signal: AbortSignal;
  readonly headerMs: number;
}

export function createReplicaAnswerer(options: ServiceOptions): Answerer<Caller> {
  const { replica, onEvent } = options;
  const memory = new Room({ things: Infinity, bytes: replica.limits.memoryBytes }, () => performance.now());
  const ownHeader = { [HEADERS.replica]: String(replica.epoch) };
  const refusalOf = (error: HoldfastError, headers: Readonly<Record<string, string>> = {}): Refusal => {
    const { status, code, message } = toldOf(error);
    return { status, code, message, headers: { ...ownHeader, ...headers, [HEADERS.code]: code } };
  };

  return {
    judge(request) {
      const ask = parseAsk(request);
      return 'refusal' in ask ? ask.refusal : null;
    },
    allows: () => true,
    async answer(request, response, peer, line) {
      const begun = performance.now();
      const ask = parseAsk(request);
      if ('refusal' in ask) return await line.refuse(ask.refusal);
      const gone = new AbortController();
      const leave = (): void => gone.abort();
      response.once('close', leave);
      const signal = AbortSignal.any([gone.signal, line.closing]);
      // Until the answer is out, too: a peer may take its time to take it.
      const inMemory: Held[] = [];
      let bytesOut = 0;
      try {
        const answer = await answerTo(ask, { ...options, memory, inMemory, request, signal, headerMs: line.limits.headerMs });
        bytesOut = answer.body?.byteLength ?? 0;
        await say(response, line, { ...answer, headers: { ...ownHeader, ...answer.headers } }, ask.bytesIn);
      } catch (error) {
        if (gone.signal.aborted) return line.gone(ask.bytesIn);
        if (error instanceof BackPressure) {
          onEvent({ kind: 'back-pressure' });
          return await line.refuse(refusalOf(error.told, { 'retry-after': '1' }));
        }
        if (!isHoldfastError(error)) throw error;
        if (error.code === 'ARGUMENT_INVALID') line.refusals.take(peer.id);
        return await line.refuse(error instanceof DigestDiffers ? { ...refusalOf(error), status: 422 } : refusalOf(error));
      } finally {
        response.off('close', leave);
        for (const held of inMemory) memory.give(held);
      }
      onEvent({ kind: 'answered', operation: ask.kind, seconds: (performance.now() - begun) / 1000, bytesIn: ask.bytesIn, bytesOut });
    },
  };
}

class DigestDiffers extends HoldfastError {}

/** No room came free in time. */
class BackPressure extends Error {
  readonly told: HoldfastError;

  constructor(what: string) {
    super(what);
    this.told = new HoldfastError('STORE_UNREACHABLE', `back-pressure: ${what}`);
  }
}

async function answerTo(ask: Ask, hearing: Hearing): Promise<Answer> {
  const { replica, signal } = hearing;
  switch (ask.kind) {
    case 'put':
      return await hearPut(ask, hearing);
    case 'get': {
      const found = replica.find(ask.name);
      if (found === null) return { status: 404 };
      const { range } = ask;
      const bytesMax = range === undefined ? found.sizeBytes : Math.min(found.sizeBytes, range.length);
      await takeMemory(hearing, bytesMax);
      const body = await replica.get(ask.name, range, signal);
      return body === null ? { status: 404 } : { status: 200, headers: { [HEADERS.blake3]: blake3(body).toString('hex') }, body };
    }
    case 'head': {
      const found = replica.find(ask.name);
      return found === null ? { status: 404 } : { status: 200, headers: { [HEADERS.size]: found.sizeBytes } };
    }
    case 'list': {
      const objects = replica.list(ask.prefix, ask).map(({ name, sizeBytes }) => ({ name, sizeBytes }));
      return { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify({ objects })) };
    }
    case 'delete':
      return await hearDelete(ask, hearing);
  }
}

async function hearPut({ name, ifAbsent, digest, bytesIn }: Extract<Ask, { kind: 'put' }>, hearing: Hearing): Promise<Answer> {
  const { replica, request, signal } = hearing;
  const { cause } = replica;
  // Nothing of what is taken already needs to come.
  if (ifAbsent && replica.find(name) !== null) return { status: 412 };
  await takeMemory(hearing, bytesIn);
  const bytes = await inReserved(hearing, { things: 1, bytes: bytesIn }, async () => {
    const body = await readBody(request, bytesIn, replica.limits.bodyMs, signal);
    if (blake3(body).equals(digest)) return body;
    throw new DigestDiffers('STORE_UNREACHABLE', `the bytes of ${name} that came do not have their digest`, { name });
  });
  return { status: (await replica.put({ name, bytes, digest, ifAbsent, cause })) === 'created' ? 201 : 412 };
}

async function hearDelete({ bytesIn }: Extract<Ask, { kind: 'delete' }>, hearing: Hearing): Promise<Answer> {
  const { replica, request, signal, headerMs } = hearing;
  const { cause } = replica;
  await takeMemory(hearing, bytesIn);
  const { names } = parseNames(await readBody(request, bytesIn, headerMs, signal));
  if (names.length > 0) {
    await inReserved(hearing, { things: names.length, bytes: 0 }, () => Promise.resolve());
    await replica.delete(names, cause);
  }
  return { status: 204 };
}

function parseNames(bytes: Buffer): { readonly names: readonly string[] } {
  const wrong = (cause?: unknown): HoldfastError =>
    new HoldfastError('ARGUMENT_INVALID', 'what is to be deleted is not named', { field: 'names', expected: '{ "names": [...] }' }, cause);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (error) {
    throw wrong(error);
  }
  const parsed = deleteSchema.safeParse(value);
  if (!parsed.success) throw wrong();
  checkNames(parsed.data.names);
  return parsed.data;
}

/** Room among what waits, which is given back if what is done with it first fails. */
async function inReserved<T>({ replica, signal }: Hearing, held: Held, work: () => Promise<T>): Promise<T> {
  if (!(await replica.reserve(held, signal))) throw new BackPressure('too much waits for the store behind');
  try {
    return await work();
  } catch (error) {
    replica.giveBack(held);
    throw error;
  }
}

/** Room for a body, as long as the request lasts. */
async function takeMemory({ memory, inMemory, replica, signal }: Hearing, bytes: number): Promise<void> {
  const held = { things: 1, bytes };
  if (!(await memory.take(held, replica.limits.roomMs, signal))) throw new BackPressure('too many bodies are on their way');
  inMemory.push(held);
}

/** The body, whose length was announced and judged. */
async function readBody(request: IncomingMessage, length: number, withinMs: number, signal: AbortSignal): Promise<Buffer> {
  const late = setTimeout(() => request.destroy(new Error('the body comes too slowly')), withinMs);
  const leave = (): void => void request.destroy();
  signal.addEventListener('abort', leave, { once: true });
  const body = Buffer.allocUnsafeSlow(length);
  let got = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      body.set(piece, got);
      got += piece.length;
    }
  } catch (error) {
    throw new HoldfastError('STORE_UNREACHABLE', 'the body did not come to its end', {}, error);
  } finally {
    clearTimeout(late);
    signal.removeEventListener('abort', leave);
  }
  if (got === length) return body;
  throw new HoldfastError('STORE_UNREACHABLE', 'the body did not come to its end');
}

async function say(response: ServerResponse, line: EarLine, { status, headers, body }: Answer, bytesIn: number): Promise<void> {
  // HEAD and 204 have no body; others say how long theirs is.
  const length = status === 204 ? {} : { 'content-length': body?.byteLength ?? 0 };
  response.writeHead(status, { ...headers, ...length });
  if (body !== undefined) response.write(body);
  line.drain();
  if (!(await line.finish())) line.gone(bytesIn);
}
