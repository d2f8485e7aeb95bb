/** Peers of a replica that do wrong, over real sockets: each is refused with a code or cut off within its bound, nothing of it is kept, and others go on. */
import { expect, test } from '@jest/globals';
import { blake3 } from '@napi-rs/blake-hash';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { HEADERS, OBJECT_BYTES_MAX } from '../../../../src/ground/stores/replica-wire.ts';
import { addToken } from '../../../../src/systems/regions/replica/tokens.ts';
import { clientOf, eventually, makePlace, startReplica, type Changes, type Place, type TestReplica } from './a-replica.ts';

const BRISK: Changes = {
  limits: { bodyMs: 1500, roomMs: 2000 },
  transport: { headerMs: 1500, unknownMs: 3000, answerMs: 5000, connections: 12, connectionsUnknown: 6, connectionsOfToken: 8 },
};
const digest = (bytes: Buffer): string => blake3(bytes).toString('hex');

/** What comes back of these bytes, until it is cut off or 20 s have passed. */
async function say(
  { serving }: TestReplica,
  ...pieces: readonly (string | Buffer)[]
): Promise<{ readonly text: string; readonly closed: boolean }> {
  const socket = connect(serving.ear.address.port, '127.0.0.1');
  let text = '';
  socket.on('data', (piece) => (text += piece.toString('latin1'))).on('error', () => undefined);
  const closed = new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)));
  for (const piece of pieces) socket.write(piece);
  const isClosed = await Promise.race([closed, pause(20_000, false, { ref: false })]);
  socket.destroy();
  return { text, closed: isClosed };
}

const put = (name: string, headers: readonly string[]): string =>
  `PUT /v1/objects/${name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${headers.join('\r\n')}\r\n\r\n`;
const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);

async function withReplica(work: (replica: TestReplica, place: Place) => Promise<void>, changes: Changes = BRISK): Promise<void> {
  await using place = await makePlace();
  await using replica = await startReplica(place.folder, place.behind, changes);
  await work(replica, place);
  // Whatever was done to it, it serves who means well, and has kept nothing of the others.
  const bytes = randomBytes(100);
  await expect(replica.client.put('fine', bytes, { ifAbsent: true })).resolves.toBe('created');
  expect((await replica.client.get('fine'))?.equals(bytes)).toBe(true);
  expect((await replica.client.list('')).map(({ name }) => name)).toEqual(['fine']);
}

const body = randomBytes(1000);
const good = [`content-length: ${body.length}`, `${HEADERS.blake3}: ${digest(body)}`];
const WRONG: readonly (readonly [what: string, status: number, pieces: readonly (string | Buffer)[]])[] = [
  ['another digest', 422, [put('a', [`content-length: ${body.length}`, `${HEADERS.blake3}: ${digest(randomBytes(3))}`]), body]],
  ['no digest', 400, [put('a', [`content-length: ${body.length}`]), body]],
  ['a digest that is none', 400, [put('a', [`content-length: ${body.length}`, `${HEADERS.blake3}: zz`]), body]],
  ['no length', 411, [put('a', [`${HEADERS.blake3}: ${digest(body)}`])]],
  ['chunks', 411, [put('a', ['transfer-encoding: chunked', `${HEADERS.blake3}: ${digest(body)}`]), '3\r\nabc\r\n0\r\n\r\n']],
  ['an encoding', 411, [put('a', [...good, 'content-encoding: gzip']), body]],
  ['too much', 413, [put('a', [`content-length: ${OBJECT_BYTES_MAX + 1}`, `${HEADERS.blake3}: ${digest(body)}`])]],
  ['another condition', 400, [put('a', [...good, 'if-none-match: "x"']), body]],
  ['a name above', 400, [put('../etc/passwd', good), body]],
  ['a name with escapes', 400, [put('a%2fb', good), body]],
  ['no name', 400, [put('', good), body]],
  ['a long name', 400, [put('x'.repeat(513), good), body]],
  ['another method', 405, ['PATCH /v1/objects/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n']],
  ['another path', 404, ['GET /etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n']],
  ['a limit that is none', 400, ['GET /v1/list?limit=1001 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n']],
  ['a range that is none', 400, ['GET /v1/objects/a?offset=-1&length=x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n']],
  [
    'names that are none',
    400,
    ['POST /v1/delete HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 19\r\n\r\n{"names":["../up"]}'],
  ],
  ['no JSON', 400, ['POST /v1/delete HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{{{']],
  ['a document that is too long', 413, ['POST /v1/delete HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n']],
  ['headers that are too long', 431, [put('a', [`x: ${'x'.repeat(20_000)}`])]],
  ['no HTTP', 400, [randomBytes(50), '\r\n\r\n']],
];

test.each(WRONG)('%s is refused', async (_what, status, pieces) => {
  await withReplica(async (replica) => {
    const { text, closed } = await say(replica, ...pieces);
    expect([statusOf(text), closed]).toEqual([status, true]);
  });
});

test.each([
  ['comes no further', [put('a', good), body.subarray(0, 500)]],
  ['has a head that comes no further', ['PUT /v1/objects/a HTTP/1.1\r\nhost: x']],
  ['says nothing', []],
])('a peer whose request %s is cut off', async (_what, pieces) => {
  await withReplica(async (replica) => {
    expect((await say(replica, ...pieces)).closed).toBe(true);
  });
});

test('strangers that stay on their connections keep nobody out', async () => {
  await using place = await makePlace();
  const { token } = await addToken(place.folder.tokens, { untilMs: null, certificate: null });
  await using replica = await startReplica(place.folder, place.behind, BRISK);
  await using known = clientOf(replica.serving.ear.url, token);
  await known.put('first', randomBytes(10));
  const strangers = Array.from({ length: 40 }, () => connect(replica.serving.ear.address.port, '127.0.0.1').on('error', () => undefined));
  await pause(200);
  // On the connection that it has it goes on; more of them it gets when the strangers' time is over.
  for (let i = 0; i < 20; i++) await expect(known.put(`n/${i}`, randomBytes(10))).resolves.toBe('created');
  await using another = clientOf(replica.serving.ear.url, token);
  await eventually(
    () => another.put('last', randomBytes(10)).catch(String),
    (told) => told === 'created',
    'another client is let in',
  );
  for (const stranger of strangers) stranger.destroy();
});

test('bodies in memory are bounded: the next ones wait, and are told so', async () => {
  await withReplica(
    async (replica) => {
      const stalled = Array.from({ length: 2 }, () => {
        const socket = connect(replica.serving.ear.address.port, '127.0.0.1').on('error', () => undefined);
        socket.write(put('large', ['content-length: 40000', `${HEADERS.blake3}: ${digest(body)}`]));
        return socket;
      });
      const putSmall = async (): Promise<string> => {
        const told = await replica.client.put('small', randomBytes(50_000)).catch(({ message }: Error) => message);
        if (told === 'created') await replica.client.delete(['small']);
        return told;
      };
      await eventually(putSmall, (told) => told.includes('back-pressure'), 'there is no room for it');
      for (const socket of stalled) socket.destroy();
    },
    { ...BRISK, limits: { memoryBytes: 100_000, bodyMs: 20_000, roomMs: 2000 } },
  );
});

test.each([
  ['a 404 of something else', 404, {}, ''],
  ['bytes that are not those of their digest', 200, { [HEADERS.replica]: '1', [HEADERS.blake3]: digest(Buffer.from('other')) }, 'bytes'],
  ['a redirect', 302, { location: 'http://127.0.0.1:1/' }, ''],
  ['an answer without an end', 200, { [HEADERS.replica]: '1', 'content-length': '99999999999' }, 'x'],
  ['a refusal that is none', 400, {}, '<html>'],
])('a client takes %s for no answer', async (_what, status, headers, said) => {
  const server = createServer((_request, response) => void response.writeHead(status, headers).end(said)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  await using client = clientOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, null, 3000);
  await expect(client.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await expect(client.put('a', Buffer.from('a'))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await expect(client.list('')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  server.closeAllConnections();
  server.close();
});

test('a client takes no answer that comes too late', async () => {
  const server = createServer((_request, response) => {
    setTimeout(() => response.writeHead(201, { [HEADERS.replica]: '1' }).end(), 2000).unref();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  await using client = clientOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, null, 500);
  await expect(client.put('a', Buffer.from('a'))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  server.closeAllConnections();
  server.close();
});
