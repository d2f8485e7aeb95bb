/**
 * The way between senders and the receiver, over real sockets: a relay that takes an exchange, and does to it what its fate says.
 *
 *     cut        half of it arrives, and the connection ends
 *     delayed    it arrives later, so that others overtake it
 *     doubled    it arrives once more, later, on a connection of its own; nobody hears what is answered
 *     lost       it is heard, and the answer does not come back; or half of the answer does
 *     away       for a while nothing passes, and whatever is under way ends
 *
 * In calm weather all passes as it is. The receiver may be another process each time: exchanges go where it listens now.
 */
import { createServer, request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AnswerFrame } from '../../../src/engine/replication/frames.ts';
import type { Dice } from '../volumes/dice.ts';
import type { Said, WireWatch } from './wire-watch.ts';

export interface Weather {
  /** Shares of the exchanges. */
  readonly cut: number;
  readonly delayed: number;
  readonly doubled: number;
  readonly lost: number;
  readonly delayMsMost: number;
}

export const CALM: Weather = { cut: 0, delayed: 0, doubled: 0, lost: 0, delayMsMost: 0 };

export type Mishap = 'cut' | 'delayed' | 'doubled' | 'lost' | 'half lost' | 'away';

export interface ProxyOptions {
  readonly watch: WireWatch;
  readonly dice: Dice;
  readonly onMishap: (mishap: Mishap) => void;
  /** After the receiver has answered and before the sender hears of it. */
  readonly onAnswers: (said: Said, answers: readonly AnswerFrame[]) => Promise<void>;
  /** What must not be, on the wire. */
  readonly onViolation: (error: unknown) => void;
}

export interface Proxy extends AsyncDisposable {
  readonly url: string;
  /** Where the receiver listens; null: nowhere. */
  target: number | null;
  weather: Weather;
  /** Nothing passes for so long. */
  away(ms: number): Promise<void>;
  /** Whatever was to come late has come. */
  settled(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

const bytesOf = async (message: IncomingMessage): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
};

export async function startProxy({ watch, dice, onMishap, onAnswers, onViolation }: ProxyOptions): Promise<Proxy> {
  const late = new Set<Promise<unknown>>();
  const sockets = new Set<Socket>();
  let isAway = false;

  /** To the receiver on a connection of its own; null: there was no answer. `part`: of the body, then the connection ends. */
  const forward = async (headers: IncomingMessage['headers'], body: Buffer, part = 1): Promise<Answer | null> => {
    const { target } = proxy;
    if (target === null || isAway) return null;
    const request = requestHttp({
      ...{ host: '127.0.0.1', port: target, path: '/v1/exchange', method: 'POST', agent: false },
      headers: { ...headers, host: `127.0.0.1:${target}`, connection: 'close' },
    });
    request.on('socket', (socket) => track(sockets, socket));
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('error', reject);
      request.once('close', () => reject(new Error('closed')));
    });
    try {
      if (part < 1) {
        request.write(body.subarray(0, Math.floor(body.length * part)), () => setImmediate(() => request.destroy()));
        await answered;
        return null;
      }
      request.end(body);
      const response = await answered;
      return { status: response.statusCode ?? 0, headers: response.headers, body: await bytesOf(response) };
    } catch {
      // Whatever it was, the sender hears that there is no answer.
      return null;
    }
  };

  const exchange = async (headers: IncomingMessage['headers'], body: Buffer): Promise<Answer | null> => {
    const said = watch.said(body);
    const answer = await forward(headers, body);
    if (answer?.status !== 200 || said === null) return answer;
    await onAnswers(said, watch.answered(said, answer.body));
    return answer;
  };

  const again = async (headers: IncomingMessage['headers'], body: Buffer, ms: number): Promise<void> => {
    await sleep(ms);
    await exchange(headers, body);
  };

  const relay = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await bytesOf(request);
    const { headers } = request;
    const { cut, delayed, doubled, lost, delayMsMost } = proxy.weather;
    const [isCut, isDelayed, isDoubled, isLost] = [dice.chance(cut), dice.chance(delayed), dice.chance(doubled), dice.chance(lost)];
    if (isDoubled) {
      onMishap('doubled');
      const copy = again(headers, body, dice.between(0, 4 * delayMsMost)).catch(onViolation);
      late.add(copy);
      void copy.finally(() => late.delete(copy));
    }
    if (isDelayed) {
      onMishap('delayed');
      await dice.pause(1, delayMsMost);
    }
    if (isCut) {
      onMishap('cut');
      await forward(headers, body, dice.random());
      return void request.socket.destroy();
    }
    const answer = await exchange(headers, body);
    if (answer === null || isAway) return void request.socket.destroy();
    if (isLost && dice.chance(0.6)) {
      onMishap('lost');
      return void request.socket.destroy();
    }
    response.writeHead(answer.status, { ...answer.headers, connection: 'keep-alive' });
    if (!isLost) return void response.end(answer.body);
    onMishap('half lost');
    response.write(answer.body.subarray(0, Math.floor(answer.body.length * dice.random())), () => request.socket.destroy());
  };

  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, (request, response) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    relay(request, response).catch((error: unknown) => {
      request.socket.destroy();
      // A sender that is cut off in the middle of its request is no violation.
      if (!(error instanceof Error && 'code' in error && error.code === 'ECONNRESET')) onViolation(error);
    });
  });
  server.on('connection', (socket) => {
    track(sockets, socket);
    if (isAway) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy: Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target: null,
    weather: CALM,
    async away(ms) {
      onMishap('away');
      isAway = true;
      for (const socket of sockets) socket.destroy();
      await sleep(ms);
      isAway = false;
    },
    async settled() {
      while (late.size > 0) await Promise.all(late);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

function track(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket);
  socket.on('error', () => undefined);
  socket.once('close', () => sockets.delete(socket));
}
