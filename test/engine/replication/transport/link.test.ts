/** A link and a receiver, over real sockets: what is said is heard in order, what is answered comes back, and what goes wrong has a code. */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { connect, createServer as createRelay, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionMessageFrame } from '../../../../src/engine/replication/frames.ts';
import { openLink, type LinkOptions } from '../../../../src/engine/replication/transport/client.ts';
import type { LinkTls } from '../../../../src/ground/http/wire-agent.ts';
import type { ReceiverTls } from '../../../../src/engine/replication/transport/server.ts';
import { encodeAnswer } from '../../../../src/engine/replication/wire/answers.ts';
import { CONTENT_TYPE } from '../../../../src/engine/replication/wire/bounds.ts';
import { createCertificates } from '../../volumes/nbd/certificates.ts';
import { data, listenAs, NAME, SESSION, type Ear, type EarOptions } from './an-ear.ts';

const never = new AbortController().signal;
const commit = { kind: 'COMMIT', root: NAME } as const;
let folder: string;
let tls: ReceiverTls;
let clientTls: LinkTls;
let fingerprint: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-link-'));
  await createCertificates(folder);
  const read = (name: string): Buffer => readFileSync(path.join(folder, name));
  tls = { certificates: { ca: read('ca-cert.pem'), cert: read('server-cert.pem'), key: read('server-key.pem') }, clients: 'optional' };
  clientTls = { ca: read('ca-cert.pem'), client: { cert: read('client-cert.pem'), key: read('client-key.pem') } };
  fingerprint = new X509Certificate(read('client-cert.pem')).fingerprint256.replaceAll(':', '').toLowerCase();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let toClose: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of toClose.splice(0).reverse()) await one[Symbol.asyncDispose]();
  toClose = [];
});

const listen = async (options: EarOptions = {}): Promise<Ear> => {
  const ear = await listenAs(options);
  toClose.push(ear);
  return ear;
};
const link = (ear: { readonly url: string }, options: Partial<LinkOptions> & { readonly token: string }) => {
  const opened = openLink({ url: ear.url, ...options });
  toClose.push(opened);
  return opened;
};
const failure = (work: Promise<unknown>): Promise<{ code: string; message: string; details: object }> =>
  work.then(
    () => ({ code: 'answered', message: '', details: {} }),
    (error: { code: string; message: string; details: object }) => error,
  );

describe.each(['http', 'https'])('over %s', (scheme) => {
  test('is heard in order, and answered in order', async () => {
    const ear = await listen({ tls: scheme === 'https' ? tls : null });
    const to = link(ear, { token: ear.token(), tls: clientTls });
    const said: SessionMessageFrame[] = [
      { kind: 'REFERENCES', whole: false, turn: 4, subtree: 1, page: 2, rows: [{ child: 3, name: NAME }] },
      data(300_000),
      { kind: 'PUSH_INQUIRY', underWay: false, subtree: 1, round: 9, pages: [2] },
      commit,
    ];
    const answers = await to.exchange(SESSION, said, never);
    expect(ear.heard.map(({ kind }) => kind)).toEqual(['SESSION', 'REFERENCES', 'DATA', 'PUSH_INQUIRY', 'COMMIT']);
    expect(answers).toEqual([
      { kind: 'NOTED', turn: 4, subtree: 1, page: 2 },
      { kind: 'KEPT', turn: 1, accepted: 1, dropped: 0 },
      { kind: 'MISSING', subtree: 1, round: 9, outstanding: 0, pages: [], names: [] },
      { kind: 'COMMITTED', root: NAME },
    ]);
    // It is over for the receiver when its answer has gone, of which the sender may know first.
    while (ear.events.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(ear.events).toEqual([expect.objectContaining({ kind: 'exchange', refused: null, bytesIn: expect.any(Number) })]);
  });

  test('sixteen at a time, each on a connection that is kept', async () => {
    const ear = await listen({ tls: scheme === 'https' ? tls : null });
    const to = link(ear, { token: ear.token(), tls: clientTls });
    const frames = Array.from({ length: 16 }, () => data(256 * 1024));
    for (let round = 0; round < 3; round++) await Promise.all(frames.map(() => to.exchange(SESSION, frames.slice(0, 15), never)));
    expect(ear.heard.filter(({ kind }) => kind === 'DATA')).toHaveLength(3 * 16 * 15);
    expect(ear.server.connections).toBeLessThanOrEqual(16);
    expect(ear.events.every(({ kind }) => kind === 'exchange')).toBe(true);
  });
});

test('an exchange of the largest extents has room for one of them', async () => {
  const ear = await listen();
  const to = link(ear, { token: ear.token() });
  expect(await to.exchange(SESSION, [data(4 * 1024 * 1024)], never)).toHaveLength(1);
});

test('the bytes that it counts are those that cross the wire', async () => {
  const ear = await listen({ tls });
  const seen = { sent: 0, received: 0 };
  const relay = createRelay((near) => {
    const far = connect(ear.server.address.port, '127.0.0.1');
    near.on('data', (piece) => ((seen.sent += piece.length), far.write(piece))).on('close', () => far.destroy());
    far.on('data', (piece) => ((seen.received += piece.length), near.write(piece))).on('close', () => near.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const to = link({ url: `https://localhost:${(relay.address() as AddressInfo).port}` }, { token: ear.token(), tls: clientTls });
  for (let i = 0; i < 3; i++) await to.exchange(SESSION, [data(200_000), commit], never);
  expect(to.wire()).toEqual(seen);
  // Of TLS, HTTP and frames: the handshake with both certificates, and little beside.
  expect(seen.sent).toBeLessThan(600_000 * 1.02);
  await to[Symbol.asyncDispose]();
  await new Promise((resolve) => relay.close(resolve));
});

test('a bandwidth is kept by all exchanges together', async () => {
  const ear = await listen();
  const to = link(ear, { token: ear.token(), bytesPerSecondMax: 1_000_000 });
  const begunMs = performance.now();
  await Promise.all([0, 1, 2, 3].map(() => to.exchange(SESSION, [data(100_000)], never)));
  const tookMs = performance.now() - begunMs;
  expect(tookMs).toBeGreaterThan(250);
  expect(tookMs).toBeLessThan(20_000);
});

describe('credentials', () => {
  test('a token that is not taken is denied, and is in no message', async () => {
    const ear = await listen();
    const token = ear.token();
    ear.records.clear();
    const denied = await failure(link(ear, { token }).exchange(SESSION, [data(1_000_000)], never));
    expect(denied.code).toBe('RECEIVER_DENIED');
    expect(JSON.stringify(denied) + denied.message).not.toContain(token.split('.')[2]!);
    expect(ear.heard).toEqual([]);
  });

  test('a token that may not add is denied', async () => {
    const ear = await listen();
    expect((await failure(link(ear, { token: ear.token({ rights: ['hide'] }) }).exchange(SESSION, [], never))).code).toBe(
      'RECEIVER_DENIED',
    );
  });

  test('a token that is withdrawn ends with the exchange in which it is', async () => {
    const ear = await listen({ holds: true });
    const to = link(ear, { token: ear.token() });
    const underWay = to.exchange(SESSION, [commit], never);
    while (ear.heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    ear.records.clear();
    ear.release();
    expect(await underWay).toHaveLength(1);
    expect((await failure(to.exchange(SESSION, [commit], never))).code).toBe('RECEIVER_DENIED');
  });

  test('a token that is bound to a certificate is taken with it alone', async () => {
    const ear = await listen({ tls });
    const token = ear.token({ certificate: fingerprint });
    expect(await link(ear, { token, tls: clientTls }).exchange(SESSION, [commit], never)).toHaveLength(1);
    expect((await failure(link(ear, { token, tls: { ...clientTls, client: null } }).exchange(SESSION, [commit], never))).code).toBe(
      'RECEIVER_DENIED',
    );
    const other = ear.token({ certificate: 'ab'.repeat(32) });
    expect((await failure(link(ear, { token: other, tls: clientTls }).exchange(SESSION, [commit], never))).code).toBe('RECEIVER_DENIED');
  });

  test('a certificate of another authority is none', async () => {
    const foreign = mkdtempSync(path.join(folder, 'foreign-'));
    await createCertificates(foreign);
    const client = { cert: readFileSync(path.join(foreign, 'client-cert.pem')), key: readFileSync(path.join(foreign, 'client-key.pem')) };
    const bound = new X509Certificate(client.cert).fingerprint256.replaceAll(':', '').toLowerCase();
    const ear = await listen({ tls });
    const token = ear.token({ certificate: bound });
    expect((await failure(link(ear, { token, tls: { ...clientTls, client } }).exchange(SESSION, [], never))).code).toBe('RECEIVER_DENIED');
  });

  test('where certificates are required, nobody is heard without one', async () => {
    const ear = await listen({ tls: { ...tls, clients: 'required' } });
    const token = ear.token();
    expect(await link(ear, { token, tls: clientTls }).exchange(SESSION, [commit], never)).toHaveLength(1);
    const without = await failure(link(ear, { token, tls: { ...clientTls, client: null } }).exchange(SESSION, [commit], never));
    expect(without.code).toBe('RECEIVER_DENIED');
  });

  test('a receiver whose authority is not known is not spoken to', async () => {
    const ear = await listen({ tls });
    const unknown = await failure(link(ear, { token: ear.token(), tls: { ca: null, client: null } }).exchange(SESSION, [], never));
    expect(unknown.code).toBe('RECEIVER_UNREACHABLE');
    expect(ear.events).toEqual([]);
  });

  test('what is no token or address is refused at once, unrepeated', () => {
    const open = (url: string, token: string) => () => openLink({ url, token });
    const token = `hf1.${'0'.repeat(16)}.${'A'.repeat(43)}`;
    expect(open('https://a:1', 'hf1.secret')).toThrow(
      expect.objectContaining({ code: 'ARGUMENT_INVALID', message: expect.not.stringContaining('secret') }),
    );
    for (const url of ['http://example.org:80', 'ftp://a', 'https://user:secret@a:1', 'https://a:1/?x=1', 'nonsense'])
      expect(open(url, token)).toThrow(
        expect.objectContaining({ code: 'ARGUMENT_INVALID', message: expect.not.stringContaining('secret') }),
      );
  });
});

describe('what answers there', () => {
  const token = `hf1.${'0'.repeat(16)}.${'A'.repeat(43)}`;
  const serve = async (hear: RequestListener): Promise<{ url: string }> => {
    const server = createServer(hear);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toClose.push({
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  };
  const ok = { 'content-type': CONTENT_TYPE };

  test.each<[string, string, RequestListener]>([
    ['redirects', 'FRAME_INVALID', (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
    ['is no receiver', 'FRAME_INVALID', (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')],
    ['knows no exchanges', 'FRAME_INVALID', (_, response) => void response.writeHead(404).end()],
    ['answers nonsense', 'FRAME_INVALID', (_, response) => void response.writeHead(200, ok).end(Buffer.alloc(100, 9))],
    [
      'answers more than it was asked',
      'FRAME_INVALID',
      (_, response) => void response.writeHead(200, ok).end(Buffer.alloc(8 * 3, encodeAnswer({ kind: 'ENDED' }))),
    ],
    [
      'answers half a frame',
      'FRAME_INVALID',
      (_, response) => void response.writeHead(200, ok).end(encodeAnswer({ kind: 'ENDED' }).subarray(0, 4)),
    ],
    [
      'cuts its answer',
      'RECEIVER_UNREACHABLE',
      (_, response) => void response.writeHead(200, { ...ok, 'content-length': 8 }).write(Buffer.alloc(1, 0x88), () => response.destroy()),
    ],
    ['has a mistake', 'RECEIVER_UNREACHABLE', (_, response) => void response.writeHead(500).end()],
    ['is busy', 'RECEIVER_UNREACHABLE', (_, response) => void response.writeHead(429, { 'retry-after': '7' }).end()],
    ['hangs up', 'RECEIVER_UNREACHABLE', (request) => void request.socket.destroy()],
    ['is silent', 'RECEIVER_UNREACHABLE', () => undefined],
    ['begins and is silent', 'RECEIVER_UNREACHABLE', (_, response) => void response.writeHead(200, ok).write('\x88')],
  ])('%s: %s', async (_, code, hear) => {
    const to = link(await serve(hear), { token, requestTimeoutMs: 2000 });
    expect((await failure(to.exchange(SESSION, [data(1_000_000)], never))).code).toBe(code);
  });

  test('an answer without end is cut off at its bound', async () => {
    const names = Array.from({ length: 8192 }, (_, at) => ({ at, name: NAME }));
    const list = encodeAnswer({ kind: 'MISSING', subtree: 0, round: 1, outstanding: 8192, pages: [], names });
    let written = 0;
    const { url } = await serve((_, response) => {
      response.writeHead(200, ok);
      const more = (): void =>
        void response.write(list, () => {
          written += list.length;
          if (!response.destroyed && written < 100 * 1024 * 1024) more();
        });
      more();
    });
    // So many answers that their number alone would let hundreds of megabytes through.
    const asked = Array.from({ length: 2000 }, () => commit);
    expect((await failure(link({ url }, { token }).exchange(SESSION, asked, never))).code).toBe('FRAME_INVALID');
    expect(written).toBeLessThan(32 * 1024 * 1024);
  });

  test('says when to come again', async () => {
    const { url } = await serve((_, response) => void response.writeHead(429, { 'retry-after': '7' }).end());
    expect((await failure(link({ url }, { token }).exchange(SESSION, [], never))).details).toMatchObject({ retryAfterMs: 7000 });
  });

  test('nobody does', async () => {
    expect((await failure(link({ url: 'http://127.0.0.1:1' }, { token }).exchange(SESSION, [], never))).code).toBe('RECEIVER_UNREACHABLE');
  });
});

test('an exchange that is aborted ends with the reason, and the next one goes on', async () => {
  const ear = await listen({ holds: true });
  const to = link(ear, { token: ear.token() });
  const abort = new AbortController();
  const underWay = to.exchange(SESSION, [commit], abort.signal);
  while (ear.heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  abort.abort(new Error('enough'));
  await expect(underWay).rejects.toThrow('enough');
  ear.release();
  expect(await to.exchange(SESSION, [commit], never)).toHaveLength(1);
});

describe('closing', () => {
  test('waits for what is under way', async () => {
    const ear = await listen({ holds: true });
    const underWay = link(ear, { token: ear.token() }).exchange(SESSION, [commit], never);
    while (ear.heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    const closed = ear.server.close(10_000);
    ear.release();
    expect(await underWay).toHaveLength(1);
    await closed;
    expect(ear.server.connections).toBe(0);
  });

  test('does not wait for ever', async () => {
    const ear = await listen({ holds: true });
    const underWay = failure(link(ear, { token: ear.token() }).exchange(SESSION, [commit], never));
    while (ear.heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await ear.server.close(50);
    expect((await underWay).code).toBe('RECEIVER_UNREACHABLE');
  });
});
