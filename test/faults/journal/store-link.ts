/**
 * The way of one process to one store: a relay before the S3 server, which does to requests what its weather says.
 *
 *     away     nothing passes, and whatever is under way ends
 *     silent   requests are taken and not passed on before the weather changes: then they land, whoever asked may be dead by then
 *     slow     each takes longer
 *     late     whoever asked is cut off at once; the request lands later
 *     lost     it lands, and the answer does not come back
 *     doubled  it lands once more, later
 *
 * In calm weather all passes as it is. Requests pass as they were signed: their `host` is the relay's.
 */
import { Agent, createServer, request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dice } from '../volumes/dice.ts';

export interface StoreWeather {
  readonly passes: 'all' | 'away' | 'silent';
  readonly slowMs: number;
  /** Shares of the requests. */
  readonly late: number;
  readonly lost: number;
  readonly doubled: number;
}

export const CALM: StoreWeather = { passes: 'all', slowMs: 0, late: 0, lost: 0, doubled: 0 };

export type StoreMishap = 'away' | 'silent' | 'slow' | 'late' | 'lost' | 'doubled';

export interface StoreLink extends AsyncDisposable {
  readonly endpoint: string;
  turn(weather: StoreWeather): void;
  /** Whatever was to land late has landed. */
  settled(): Promise<void>;
}

const LATE_MS_MOST = 1200;

export async function startStoreLink(target: string, dice: Dice, onMishap: (mishap: StoreMishap) => void): Promise<StoreLink> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const sockets = new Set<Socket>();
  const late = new Set<Promise<unknown>>();
  let weather = CALM;
  let turned = Promise.withResolvers<void>();

  /** Null: there was no answer. */
  const forward = async ({ method, url, headers }: IncomingMessage, body: Buffer): Promise<Answer | null> => {
    try {
      const request = requestHttp({ agent, host: hostname, port, method, path: url, headers: { ...headers, connection: 'keep-alive' } });
      const answered = new Promise<IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject));
      request.end(body);
      const response = await answered;
      return { status: response.statusCode ?? 0, headers: response.headers, body: await bytesOf(response) };
    } catch {
      return null;
    }
  };
  const landLater = (request: IncomingMessage, body: Buffer): void => {
    const landing = dice.pause(20, LATE_MS_MOST).then(() => forward(request, body));
    late.add(landing);
    void landing.finally(() => late.delete(landing));
  };

  const relay = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await bytesOf(request);
    const [isLate, isLost, isDoubled] = [dice.chance(weather.late), dice.chance(weather.lost), dice.chance(weather.doubled)];
    if (weather.passes === 'away') return void request.socket.destroy();
    if (weather.passes === 'silent') {
      onMishap('silent');
      const answering = turned.promise.then(() => forward(request, body));
      late.add(answering);
      void answering.finally(() => late.delete(answering));
      return answer(response, await answering);
    }
    if (weather.slowMs > 0) {
      onMishap('slow');
      await sleep(dice.between(weather.slowMs / 2, weather.slowMs));
    }
    if (isLate || isDoubled) {
      onMishap(isLate ? 'late' : 'doubled');
      landLater(request, body);
    }
    if (isLate) return void request.socket.destroy();
    const answered = await forward(request, body);
    if (isLost) {
      onMishap('lost');
      return void request.socket.destroy();
    }
    answer(response, answered);
  };

  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, (request, response) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    // Whoever asked may be killed meanwhile.
    relay(request, response).catch(() => request.socket.destroy());
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    if (weather.passes === 'away') socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    turn(next) {
      weather = next;
      turned.resolve();
      turned = Promise.withResolvers();
      if (next.passes !== 'away') return;
      onMishap('away');
      for (const socket of sockets) socket.destroy();
    },
    async settled() {
      while (late.size > 0) await Promise.all(late);
    },
    async [Symbol.asyncDispose]() {
      turned.resolve();
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function answer(response: ServerResponse, answered: Answer | null): void {
  if (answered === null) return void response.destroy();
  response.writeHead(answered.status, { ...answered.headers, connection: 'keep-alive' });
  response.end(answered.body);
}
