/** Questions of a sender: to the real transport, and to peers that answer what no receiver would. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { lineage, snapshotId, storeName } from '../../../../src/domain/ids.ts';
import { authorise, mintToken, tokenRecord } from '../../../../src/engine/replication/tokens.ts';
import { createAsking } from '../../../../src/engine/replication/transport/asking.ts';
import type { Questions } from '../../../../src/engine/replication/transport/questions.ts';
import { serveReceiver } from '../../../../src/engine/replication/transport/server.ts';

const OF = { lineage: lineage('db@1'), snapshot: snapshotId('0'.repeat(26)) };
const OTHER = '1'.repeat(26);
const { token, id, digest } = mintToken(randomBytes);
const SECRET = token.split('.')[2] ?? '';
const FIGURES = {
  ...{ named: 1, held: 2, asked: 3, accepted: 4, dropped: 5, false: 6 },
  ...{ healed: 7, wireBytes: 8, proofs: 9, storedBytes: 10 },
};
const SESSION = { ...OF, epoch: 3, status: 'open', sizeBytes: 4096, heardMs: 1_700_000_000_000, figures: FIGURES };

async function serve(questions: Questions, rights: readonly ('add' | 'hide')[]) {
  const record = tokenRecord.parse({
    ...{ id, digest, store: storeName('cloud'), repository: null, prefix: '', rights },
    ...{ quotaBytes: null, retentionFloorMs: null, proof: 'listed', untilMs: null, certificate: null },
  });
  const server = await serveReceiver({
    ...{ listen: { host: '127.0.0.1', port: 0 }, tls: null, questions },
    hearing: {
      async *exchange() {
        // Nothing is said here.
      },
    },
    authorise: (header, certificate) => authorise(new Map([[id, record]]), header, certificate, Date.now()),
  });
  return { asking: createAsking({ url: server.url, token }), [Symbol.asyncDispose]: () => server.close(200) };
}

/** A peer that answers as it likes. */
async function peer(answer: (request: IncomingMessage, response: ServerResponse) => void, requestTimeoutMs = 5000) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    asking: createAsking({ url: `http://127.0.0.1:${port}/behind/a/proxy/`, token, requestTimeoutMs }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const says = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  peer((request, response) => {
    request.resume();
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });

const failed = async (work: Promise<unknown>): Promise<HoldfastError> => {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(JSON.stringify([error, String(error)])).not.toContain(SECRET);
  return error as HoldfastError;
};

test('what a receiver tells comes through, and so does why it refuses', async () => {
  const heard: unknown[] = [];
  const refusing = (code: 'SNAPSHOT_NOT_FOUND' | 'RETENTION_FLOOR' | 'VISIBILITY_CHANGED') => () =>
    Promise.reject(new HoldfastError(code, `for ${code}`));
  let hide: (input: unknown) => Promise<unknown> = (input) => Promise.resolve(heard.push(input)).then(() => ({ hidden: OF.snapshot }));
  const questions: Questions = new Map([
    [
      '/v1/session',
      { method: 'GET' as const, right: null, answer: () => Promise.resolve({ sessions: [SESSION], more: 'of a newer version' }) },
    ],
    [
      '/v1/snapshot',
      {
        method: 'POST' as const,
        right: 'hide' as const,
        answer: () => Promise.resolve({ snapshot: OF.snapshot, hidden: true, version: 4 }),
      },
    ],
    ['/v1/hide', { method: 'POST' as const, right: 'hide' as const, answer: (_: unknown, input: unknown) => hide(input) }],
  ]);
  {
    await using served = await serve(questions, ['hide']);
    expect(await served.asking.sessions()).toEqual([SESSION]);
    expect(await served.asking.look(OF)).toEqual({ snapshot: OF.snapshot, hidden: true, version: 4 });
    await served.asking.hide(OF, 4);
    expect(heard).toEqual([{ ...OF, seen: 4 }]);
    for (const code of ['SNAPSHOT_NOT_FOUND', 'RETENTION_FLOOR', 'VISIBILITY_CHANGED'] as const) {
      hide = refusing(code);
      expect(await failed(served.asking.hide(OF, 4))).toMatchObject({ code, message: `the receiver refuses: for ${code}` });
    }
  }
  await using adding = await serve(questions, ['add']);
  expect((await failed(adding.asking.hide(OF, 4))).code).toBe('RECEIVER_DENIED');
  await using older = await serve(new Map(), ['hide']);
  expect((await failed(older.asking.sessions())).code).toBe('FRAME_INVALID');
});

test.each([
  ['no JSON', 'FRAME_INVALID', 200, '<html>'],
  ['no list', 'FRAME_INVALID', 200, { sessions: 7 }],
  ['a lineage that is none', 'FRAME_INVALID', 200, { sessions: [{ ...SESSION, lineage: '\u001b[2J' }] }],
  ['a figure that is none', 'FRAME_INVALID', 200, { sessions: [{ ...SESSION, figures: { ...FIGURES, held: -1 } }] }],
  ['a time that no calendar has', 'FRAME_INVALID', 200, { sessions: [{ ...SESSION, heardMs: 9e15 }] }],
  ['too many', 'FRAME_INVALID', 200, { sessions: Array.from({ length: 65 }, () => SESSION) }],
  ['too much', 'FRAME_INVALID', 200, JSON.stringify('x'.repeat(70_000))],
  ['elsewhere', 'FRAME_INVALID', 302, {}],
  ['a code with the status of another', 'FRAME_INVALID', 404, { code: 'RETENTION_FLOOR', message: '' }],
  ['a code that is none of a question', 'FRAME_INVALID', 409, { code: 'DAMAGED', message: '' }],
  ['that the token is not taken', 'RECEIVER_DENIED', 401, {}],
  ['a mistake', 'RECEIVER_UNREACHABLE', 500, 'x'],
])('who answers %s is refused: %s', async (_, code, status, body) => {
  await using one = await says(status, body, { location: 'http://127.0.0.1:1/' });
  expect((await failed(one.asking.sessions())).code).toBe(code);
});

test('an answer that is another snapshot is none; words of a peer are printable and short', async () => {
  await using look = await says(200, { snapshot: OTHER, hidden: false, version: 0, sessions: [] });
  expect((await failed(look.asking.look(OF))).code).toBe('FRAME_INVALID');
  await using hide = await says(200, { hidden: OTHER });
  expect((await failed(hide.asking.hide(OF, 0))).code).toBe('FRAME_INVALID');
  await using loud = await says(409, { code: 'RETENTION_FLOOR', message: `\u001b[2J\n${'y'.repeat(5000)}` });
  const { message, code } = await failed(loud.asking.hide(OF, 0));
  expect([code, message.length <= 330, /\p{C}/u.test(message)]).toEqual(['RETENTION_FLOOR', true, false]);
});

test('a peer that waits, drips or is not there is left; one that says when to come back is heard', async () => {
  await using silent = await peer(() => undefined, 200);
  expect((await failed(silent.asking.sessions())).code).toBe('RECEIVER_UNREACHABLE');
  await using dripping = await peer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const drops = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(drops));
  }, 300);
  expect((await failed(dripping.asking.sessions())).code).toBe('RECEIVER_UNREACHABLE');
  await using busy = await says(429, {}, { 'retry-after': '7' });
  expect(await failed(busy.asking.sessions())).toMatchObject({ code: 'RECEIVER_UNREACHABLE', details: { retryAfterMs: 7000 } });
  expect((await failed(createAsking({ url: 'http://127.0.0.1:1', token }).sessions())).code).toBe('RECEIVER_UNREACHABLE');
  expect(() => createAsking({ url: 'http://far.example', token })).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }));
});
