/**
 * Peers that do wrong, over real sockets: each is refused with a code or cut off, within its bound, and another sender's exchanges go on all the
 * while.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AnswerFrame, RequestFrame } from '../../../../src/engine/replication/frames.ts';
import { openLink } from '../../../../src/engine/replication/transport/client.ts';
import type { TransportLimits } from '../../../../src/engine/replication/transport/limits.ts';
import { ANSWER_READERS } from '../../../../src/engine/replication/wire/answers.ts';
import { CONTENT_TYPE, FRAME_KINDS } from '../../../../src/engine/replication/wire/bounds.ts';
import { FrameDecoder } from '../../../../src/engine/replication/wire/frame-decoder.ts';
import { encodeRequest } from '../../../../src/engine/replication/wire/requests.ts';
import { createCertificates } from '../../volumes/nbd/certificates.ts';
import { data, listenAs, NAME, SESSION, type Ear, type EarOptions } from './an-ear.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;
const commit = { kind: 'COMMIT', root: NAME } as const;
/** Soon over, and longer than a machine stands still that is not all too slow: who means well is not cut off. */
const BRISK: Partial<TransportLimits> = { headerMs: 1000, behindMs: 1500, unknownMs: 1500, answerMs: 1500 };

let toClose: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of toClose.splice(0).reverse()) await one[Symbol.asyncDispose]();
  toClose = [];
});

const listen = async (options: EarOptions = {}): Promise<Ear> => {
  const ear = await listenAs({ ...options, limits: { ...BRISK, ...options.limits } });
  toClose.push(ear);
  return ear;
};

interface RawPeer {
  readonly socket: Socket;
  received(): Buffer;
  /** All that it was sent until it was cut off, or until so many milliseconds have passed. */
  until(ms?: number): Promise<{ readonly text: string; readonly closed: boolean; readonly afterMs: number }>;
}

const rawPeer = async (ear: Ear): Promise<RawPeer> => {
  const socket = connect(ear.server.address.port, '127.0.0.1');
  const begunMs = performance.now();
  const pieces: Buffer[] = [];
  socket.on('data', (piece) => void pieces.push(piece)).on('error', () => undefined);
  const closed = new Promise<number>((resolve) => socket.once('close', () => resolve(performance.now() - begunMs)));
  await new Promise((resolve) => socket.once('connect', resolve));
  toClose.push({
    async [Symbol.asyncDispose]() {
      socket.destroy();
    },
  });
  return {
    socket,
    received: () => Buffer.concat(pieces),
    async until(ms = 20_000) {
      const afterMs = await Promise.race([closed, pause(ms, null, { ref: false })]);
      return { text: Buffer.concat(pieces).toString('latin1'), closed: afterMs !== null, afterMs: afterMs ?? ms };
    },
  };
};

const head = (token: string | null, length: number | string, more = ''): string =>
  `POST /v1/exchange HTTP/1.1\r\nhost: x\r\n${token === null ? '' : `authorization: Bearer ${token}\r\n`}` +
  `content-type: ${CONTENT_TYPE}\r\ncontent-length: ${length}\r\n${more}\r\n`;
const bytesOf = (...frames: readonly RequestFrame[]): Buffer => Buffer.concat(frames.flatMap(encodeRequest));

/** Says one exchange of any bytes, and what is answered. */
const say = async (ear: Ear, token: string, body: Buffer): Promise<{ status: number; answers: AnswerFrame[]; body: string }> => {
  const response = await fetch(`${ear.server.url}/v1/exchange`, {
    ...{ method: 'POST', body: new Uint8Array(body), headers: { authorization: `Bearer ${token}`, 'content-type': CONTENT_TYPE } },
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const answers = response.status === 200 ? [...new FrameDecoder(ANSWER_READERS).push(bytes)] : [];
  return { status: response.status, answers, body: bytes.toString() };
};
const refusedWith = (code: string) => expect.objectContaining({ kind: 'REFUSED', code });

/** Waits for what must come to be; the machine may be busy. */
const eventually = async (isSo: () => boolean): Promise<void> => {
  for (let waits = 0; waits < 1200 && !isSo(); waits++) await pause(25);
  expect(isSo()).toBe(true);
};

/** Another sender, that goes on while the work does, and is never refused. */
const beside = async (ear: Ear, work: () => Promise<void>): Promise<void> => {
  const other = openLink({ url: ear.url, token: ear.token() });
  toClose.push(other);
  let isOver = false;
  let exchanges = 0;
  const going = (async () => {
    while (!isOver || exchanges === 0) {
      expect(await other.exchange(SESSION, [data(50_000), commit], never)).toHaveLength(2);
      exchanges++;
      await pause(5);
    }
  })();
  try {
    await work();
  } finally {
    isOver = true;
    await going;
  }
};

describe('bodies', () => {
  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['garbage', Buffer.alloc(5000, 0xee)],
    ['a frame that is too long', Buffer.from([FRAME_KINDS.DATA.byte, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])],
    ['a first frame that is none', bytesOf(commit)],
    ['a frame that is cut', bytesOf(SESSION, commit).subarray(0, -1)],
    ['a second session', bytesOf(SESSION, SESSION)],
  ])('%s: FRAME_INVALID, within the exchange', async (_, body) => {
    const ear = await listen();
    const said = await say(ear, ear.token(), body);
    expect(said).toMatchObject({ status: 200, answers: [refusedWith('FRAME_INVALID')] });
  });

  test('what came before is answered, and nothing after it is heard', async () => {
    const ear = await listen();
    const said = await say(ear, ear.token(), Buffer.concat([bytesOf(SESSION, commit), Buffer.alloc(8, 0xee), bytesOf(commit)]));
    expect(said.answers).toEqual([{ kind: 'COMMITTED', root: NAME }, refusedWith('FRAME_INVALID')]);
    expect(ear.heard.map(({ kind }) => kind)).toEqual(['SESSION', 'COMMIT']);
  });

  test('another version is told so', async () => {
    const ear = await listen();
    const said = await say(ear, ear.token(), Buffer.from([FRAME_KINDS.OPEN.byte, 0, 0, 0, 0, 0, 0, 1, 2]));
    expect(said.answers).toEqual([refusedWith('UPGRADE_REQUIRED')]);
  });

  test('bytes of any kind are answered or refused, and the receiver goes on', async () => {
    const ear = await listen({ limits: { refusalsPerMinute: 1_000_000 } });
    const token = ear.token();
    await beside(ear, () =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.nat(500), fc.boolean(), async (bytes, at, behind) => {
          const good = Buffer.from(bytesOf(SESSION, data(100), commit));
          const body = behind ? Buffer.concat([good, Buffer.from(bytes)]) : Buffer.from(good);
          if (!behind) Buffer.from(bytes).copy(body, at % body.length);
          const said = await say(ear, token, body);
          expect(said.status).toBe(200);
        }),
        { numRuns: 150 },
      ),
    );
    expect(ear.events.filter(({ kind }) => kind === 'failure')).toEqual([]);
  });

  test('an exchange that says it is too long is refused before it comes; one that does not say so, when it is', async () => {
    const ear = await listen();
    const token = ear.token();
    const peer = await rawPeer(ear);
    peer.socket.write(head(token, 5 * MIB));
    await eventually(() => peer.received().toString().startsWith('HTTP/1.1 413 '));

    const chunked = await rawPeer(ear);
    chunked.socket.write(head(token, 0).replace('content-length: 0', 'transfer-encoding: chunked'));
    const body = bytesOf(SESSION, ...Array.from({ length: 40 }, () => data(256 * 1024)));
    chunked.socket.write(`${body.length.toString(16)}\r\n`);
    chunked.socket.write(body);
    const { text } = await chunked.until(20_000);
    expect(text).toMatch(/^HTTP\/1.1 413 /);
    expect(ear.heard.length).toBeLessThan(20);
  });

  test('who asks for too much at once is heard no further', async () => {
    const names = Array.from({ length: 8192 }, (_, at) => ({ at, name: NAME }));
    const ear = await listen({
      answer: (frame) =>
        frame.kind === 'PUSH_INQUIRY' ? { kind: 'MISSING', subtree: 0, round: frame.round, outstanding: 8192, pages: [], names } : null,
    });
    const asks = Array.from(
      { length: 1000 },
      (_, i) => ({ kind: 'PUSH_INQUIRY', underWay: false, subtree: 0, round: i + 1, pages: [] }) as const,
    );
    const said = await say(ear, ear.token(), bytesOf(SESSION, ...asks));
    expect(said.answers.at(-1)).toEqual(refusedWith('FRAME_INVALID'));
    expect(said.answers.length).toBeLessThan(20);
  });

  test('a peer that is refused again and again is told when to come back', async () => {
    const ear = await listen({ limits: { refusalsPerMinute: 5 } });
    const token = ear.token();
    for (let i = 0; i < 5; i++) expect((await say(ear, token, Buffer.alloc(9))).status).toBe(200);
    await beside(ear, async () => {
      const said = await say(ear, token, bytesOf(SESSION, commit));
      expect(said).toMatchObject({ status: 429, body: expect.stringContaining('RECEIVER_UNREACHABLE') });
    });
  });

  test('so many OPENs a minute', async () => {
    const ear = await listen({ limits: { opensPerMinute: 3 } });
    const token = ear.token();
    const open: RequestFrame = {
      ...{ kind: 'OPEN', version: 1, proof: 'listed', sealedBySender: false, consistency: 'crash', attempt: 1, seen: 0, takenMs: 0 },
      ...{ sizeBytes: 1, extentBytes: 16_384, snapshot: SESSION.snapshot, lineage: SESSION.lineage, owner: '', label: '', bases: [] },
    };
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push((await say(ear, token, bytesOf(open))).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect((await say(ear, token, bytesOf(SESSION, commit))).status).toBe(200);
  });
});

describe('requests', () => {
  test.each<[string, string, number]>([
    ['another path', 'POST /v1/other HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n', 404],
    ['another method', 'GET /v1/exchange HTTP/1.1\r\nhost: x\r\n\r\n', 405],
    ['another type', 'POST /v1/exchange HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n', 415],
    ['an encoding', head(null, 0, 'content-encoding: gzip\r\n'), 415],
    ['no token', head(null, 0), 401],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['headers without end', `GET / HTTP/1.1\r\nhost: x\r\n${`x-more: ${'y'.repeat(1000)}\r\n`.repeat(20)}`, 431],
  ])('%s', async (_, text, status) => {
    const ear = await listen();
    const peer = await rawPeer(ear);
    peer.socket.write(text);
    const said = await peer.until(20_000);
    expect(said.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(said.text.slice(said.text.indexOf('\r\n\r\n') + 4))).toEqual({
      code: expect.any(String),
      message: expect.any(String),
    });
    expect(ear.heard).toEqual([]);
  });

  test('whatever is wrong with a token, the answer is the same', async () => {
    const ear = await listen();
    const ended = ear.token({ untilMs: 1 });
    const bound = ear.token({ certificate: 'ab'.repeat(32) });
    const withdrawn = ear.token();
    ear.records.delete(withdrawn.split('.')[1]!);
    const forged = `${ear.token().slice(0, -43)}${'A'.repeat(43)}`;
    const answers = new Set<string>();
    for (const token of [ended, bound, withdrawn, forged, 'nonsense', '']) {
      const said = await say(ear, token, bytesOf(SESSION));
      expect(said.status).toBe(401);
      answers.add(said.body);
    }
    expect(answers.size).toBe(1);
    expect(ear.heard).toEqual([]);
  });

  test('a second request before the first is answered ends the connection', async () => {
    const ear = await listen({ holds: true });
    const body = bytesOf(SESSION, commit);
    const peer = await rawPeer(ear);
    const one = Buffer.concat([Buffer.from(head(ear.token(), body.length)), body]);
    peer.socket.write(Buffer.concat([one, one, one]));
    expect((await peer.until(20_000)).closed).toBe(true);
    expect(ear.heard.length).toBeLessThanOrEqual(2);
  });
});

describe('slow and silent peers', () => {
  test.each<[string, (peer: Socket, token: string) => void, string]>([
    ['say nothing', () => undefined, ''],
    ['begin a header', (peer) => peer.write('POST /v1/exch'), ''],
    [
      'give a header byte by byte',
      (peer) => {
        peer.write('POST /v1/exchange HTTP/1.1\r\nhost: ');
        const timer = setInterval(() => peer.write('x'), 20);
        peer.once('close', () => clearInterval(timer));
      },
      '408',
    ],
    ['say nothing after their header', (peer, token) => peer.write(head(token, 1000)), '408'],
    [
      'give a body byte by byte',
      (peer, token) => {
        peer.write(Buffer.concat([Buffer.from(head(token, 100_000)), bytesOf(SESSION)]));
        const timer = setInterval(() => peer.write('x'), 20);
        peer.once('close', () => clearInterval(timer));
      },
      '408',
    ],
    [
      'leave their exchange half open',
      (peer, token) => peer.write(Buffer.concat([Buffer.from(head(token, 90_000)), bytesOf(SESSION, data(50_000))])),
      '408',
    ],
  ])('those that %s are cut off', async (_, misbehave, status) => {
    const ear = await listen();
    const token = ear.token();
    await beside(ear, async () => {
      const peers = await Promise.all(Array.from({ length: 4 }, () => rawPeer(ear)));
      for (const { socket } of peers) misbehave(socket, token);
      for (const peer of peers) {
        const said = await peer.until(20_000);
        expect(said).toMatchObject({ closed: true, text: expect.stringContaining(status) });
      }
    });
    // All that is left is the other sender's.
    await eventually(() => ear.server.connections === 1);
  });

  test('a receiver that is slow itself blames nobody', async () => {
    const ear = await listen({ holds: true });
    const link = openLink({ url: ear.url, token: ear.token() });
    toClose.push(link);
    const underWay = link.exchange(
      SESSION,
      Array.from({ length: 30 }, () => data(128 * 1024)),
      never,
    );
    await pause(3000);
    ear.release();
    expect(await underWay).toHaveLength(30);
  });

  test('a peer that never reads its answer is cut off', async () => {
    const names = Array.from({ length: 8192 }, (_, at) => ({ at, name: NAME }));
    // More than the kernel takes for it.
    const ear = await listen({
      limits: { answerBytes: 32 * MIB },
      answer: (frame) =>
        frame.kind === 'PUSH_INQUIRY' ? { kind: 'MISSING', subtree: 0, round: frame.round, outstanding: 8192, pages: [], names } : null,
    });
    const asks = Array.from(
      { length: 100 },
      (_, i) => ({ kind: 'PUSH_INQUIRY', underWay: false, subtree: 0, round: i + 1, pages: [] }) as const,
    );
    const body = bytesOf(SESSION, ...asks);
    const token = ear.token();
    await beside(ear, async () => {
      const peer = await rawPeer(ear);
      peer.socket.pause();
      peer.socket.write(Buffer.concat([Buffer.from(head(token, body.length)), body]));
      await eventually(() => ear.events.some((event) => event.kind === 'gone' && event.token === token.split('.')[1]));
    });
    await eventually(() => ear.server.connections === 1);
  });

  test('a handshake of TLS that does not go on', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-hostile-'));
    await createCertificates(folder);
    const [ca, cert, key] = ['ca-cert', 'server-cert', 'server-key'].map((name) => readFileSync(path.join(folder, `${name}.pem`))) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    rmSync(folder, { recursive: true });
    const ear = await listen({ tls: { certificates: { ca, cert, key }, clients: 'optional' } });
    const silent = await rawPeer(ear);
    const garbage = await rawPeer(ear);
    garbage.socket.write(Buffer.alloc(2000, 0x16));
    expect(await silent.until(20_000)).toMatchObject({ closed: true });
    expect(await garbage.until(20_000)).toMatchObject({ closed: true });
    await eventually(() => ear.server.connections === 0);
  });
});

describe('connections', () => {
  test('strangers have their own bound, and keep nobody out who is known', async () => {
    const ear = await listen({ limits: { connectionsUnknown: 4, unknownMs: 1500, headerMs: 1500 } });
    await beside(ear, async () => {
      await eventually(() => ear.heard.length > 0);
      const strangers = await Promise.all(Array.from({ length: 12 }, () => rawPeer(ear)));
      await eventually(() => ear.events.filter(({ kind }) => kind === 'full').length === 8);
      await eventually(() => strangers.filter(({ socket }) => socket.closed).length === 8);
      await eventually(() => strangers.every(({ socket }) => socket.closed));
    });
  });

  test('a token has so many, and those that wait for nothing give way', async () => {
    const ear = await listen({ holds: true, limits: { connectionsOfToken: 3, unknownMs: 60_000, behindMs: 60_000 } });
    const token = ear.token();
    const body = bytesOf(SESSION, commit);
    const busy = async (): Promise<RawPeer> => {
      const peer = await rawPeer(ear);
      peer.socket.write(Buffer.concat([Buffer.from(head(token, body.length)), body]));
      return peer;
    };
    const answered = (peer: RawPeer, how: RegExp) => eventually(() => how.test(peer.received().toString()));
    const peers = [await busy(), await busy(), await busy()];
    await eventually(() => ear.heard.length === 6);
    await answered(await busy(), /^HTTP\/1.1 429 [^]*retry-after: 1/);
    ear.release();
    for (const peer of peers) await answered(peer, /^HTTP\/1.1 200 /);
    await eventually(() => ear.events.filter(({ kind }) => kind === 'exchange').length === 3);
    await answered(await busy(), /^HTTP\/1.1 200 /);
    await eventually(() => peers.filter(({ socket }) => socket.closed).length === 1);
  });

  test('in all', async () => {
    const ear = await listen({ limits: { connections: 5, unknownMs: 60_000, headerMs: 60_000 } });
    const peers = await Promise.all(Array.from({ length: 20 }, () => rawPeer(ear)));
    await eventually(() => peers.filter(({ socket }) => socket.closed).length === 15);
    expect(ear.server.connections).toBe(5);
  });
});

test('what thirty peers leave half said stays in bounds', async () => {
  const ear = await listen({ limits: { behindMs: 60_000, unknownMs: 60_000, headerMs: 60_000, connectionsOfToken: 60 } });
  const token = ear.token();
  const before = process.memoryUsage();
  const peers = await Promise.all(Array.from({ length: 30 }, () => rawPeer(ear)));
  // Each says that 4 MiB come, and gives half of them.
  const half = bytesOf(SESSION, data(4 * MIB)).subarray(0, 2 * MIB);
  for (const { socket } of peers) socket.write(Buffer.concat([Buffer.from(head(token, 4 * MIB + 200)), half]));
  await pause(1000);
  const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers;
  // A buffer of the frame's length each, what the peers of this process hold themselves, and what was not collected yet.
  expect(grown).toBeLessThan(30 * (4 * MIB + 2 * 2 * MIB + MIB));
  expect(ear.heard.filter(({ kind }) => kind === 'DATA')).toEqual([]);
  for (const { socket } of peers) socket.destroy();
  await eventually(() => ear.server.connections === 0);
  await eventually(() => ear.events.filter(({ kind }) => kind === 'gone').length === 30);
});
