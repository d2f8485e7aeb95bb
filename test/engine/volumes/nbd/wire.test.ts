/** The server before clients that do wrong: garbage, wrong bounds, stalls, floods. Each costs its own connection at the most. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ByteQueue } from '../../../../src/engine/volumes/nbd/byte-queue.ts';
import { Negotiation } from '../../../../src/engine/volumes/nbd/negotiation.ts';
import { COMMAND, ERRNO, OPTION, OPTION_REPLY } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { RequestReader } from '../../../../src/engine/volumes/nbd/requests.ts';
import { serveNbd } from '../../../../src/engine/volumes/nbd/server.ts';
import { anExport } from './an-export.ts';
import {
  clientFlags,
  go,
  GO_REPLY_BYTES,
  GREETING_BYTES,
  inTransmission,
  option,
  rawClient,
  request,
  type RawClient,
} from './raw-client.ts';
import { serveFile } from './serve-file.ts';

const MIB = 1024 * 1024;
const SIMPLE = 16;

const errorOf = (client: RawClient, at: number): number => client.received().readUInt32BE(at + 4);

/** Bytes that look like a conversation here and there. */
const noise = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 64 })).map(([number, data]) => option(number, Buffer.from(data))),
    fc
      .tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 2 ** 40 }), fc.integer({ min: 0, max: 70_000 }))
      .map(([command, offset, length]) => request(command, 1n, offset, length)),
    fc.constant(clientFlags(3)),
  ),
  { maxLength: 12 },
);

/** A conversation, and where it is cut. */
const cutUp = fc.tuple(noise, fc.array(fc.nat(200), { maxLength: 20 }));

test('a handshake goes the same way however its bytes are cut', () => {
  const talk = (pieces: readonly Buffer[]): string => {
    const negotiation = new Negotiation({ exports: [anExport()], tls: 'none', isClosing: () => false });
    const input = new ByteQueue();
    const replies: Buffer[] = [];
    for (const piece of pieces) {
      input.push(piece);
      const step = negotiation.advance(input);
      replies.push(step.replies);
      if (step.kind !== 'more') return `${step.kind} ${Buffer.concat(replies).toString('hex')}`;
    }
    return `more ${Buffer.concat(replies).toString('hex')}`;
  };
  fc.assert(
    fc.property(cutUp, ([parts, cuts]) => {
      const whole = Buffer.concat([clientFlags(3), ...parts]);
      const pieces: Buffer[] = [];
      let at = 0;
      for (const cut of cuts) pieces.push(whole.subarray(at, (at += cut)));
      pieces.push(whole.subarray(at));
      expect(talk(pieces)).toBe(talk([whole]));
    }),
    { numRuns: 300 },
  );
});

test('requests come out the same however their bytes are cut', () => {
  const read = (pieces: readonly Buffer[]): readonly string[] => {
    const input = new ByteQueue();
    const reader = new RequestReader(input, 65_536);
    const seen: string[] = [];
    for (const piece of pieces) {
      input.push(piece);
      for (let next = reader.next(); ; next = reader.next()) {
        if (next.kind === 'more') break;
        if (next.kind === 'nonsense') return [...seen, next.why];
        const { payload, ...head } = next.request;
        seen.push(JSON.stringify({ ...head, cookie: String(head.cookie), payload: Buffer.concat(payload).toString('hex') }));
      }
    }
    return seen;
  };
  fc.assert(
    fc.property(cutUp, ([parts, cuts]) => {
      const whole = Buffer.concat(parts);
      const pieces: Buffer[] = [];
      let at = 0;
      for (const cut of cuts) pieces.push(whole.subarray(at, (at += cut)));
      pieces.push(whole.subarray(at));
      expect(read(pieces)).toEqual(read([whole]));
    }),
    { numRuns: 300 },
  );
});

test('garbage at any point ends one connection and harms no other', async () => {
  await using served = await serveFile(4 * MIB);
  const { client: good, from } = await inTransmission(served.server.address);
  using _ = good;
  let at = from;
  await fc.assert(
    fc.asyncProperty(noise, fc.boolean(), async (parts, agreed) => {
      using bad = agreed ? (await inTransmission(served.server.address)).client : await rawClient(served.server.address);
      bad.socket.end(Buffer.concat(parts));
      await bad.ended();
      good.socket.write(request(COMMAND.READ, 7n, 0, 512));
      at += SIMPLE + 512;
      expect(await good.until(at)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test.each([
  ['an unknown command', request(99, 1n, 0, 0), ERRNO.EINVAL],
  ['an unknown flag', request(COMMAND.READ, 1n, 0, 512, 1 << 9), ERRNO.EINVAL],
  ['a read past the end', request(COMMAND.READ, 1n, 4 * MIB - 1, 2), ERRNO.EINVAL],
  ['a read at 2^63', request(COMMAND.READ, 1n, 2 ** 62, 2), ERRNO.EINVAL],
  ['a trim past the end', request(COMMAND.TRIM, 1n, 4 * MIB, 1), ERRNO.EINVAL],
  ['zeros past the end', request(COMMAND.WRITE_ZEROES, 1n, 4 * MIB, 1), ERRNO.ENOSPC],
  ['a write past the end', Buffer.concat([request(COMMAND.WRITE, 1n, 4 * MIB - 1, 2), Buffer.alloc(2)]), ERRNO.ENOSPC],
  ['a read of more than the maximum', request(COMMAND.READ, 1n, 0, 33 * MIB), ERRNO.EINVAL],
  ['block status without a context', request(COMMAND.BLOCK_STATUS, 1n, 0, 512), ERRNO.EINVAL],
])('%s is refused by its number, and the connection goes on', async (_, bytes, errno) => {
  await using served = await serveFile(4 * MIB);
  const { client, from } = await inTransmission(served.server.address);
  using __ = client;
  client.socket.write(bytes);
  expect(await client.until(from + SIMPLE)).toBe(true);
  expect(errorOf(client, from)).toBe(errno);
  client.socket.write(request(COMMAND.READ, 2n, 0, 512));
  expect(await client.until(from + 2 * SIMPLE + 512)).toBe(true);
  expect(errorOf(client, from + SIMPLE)).toBe(0);
});

test('what a backend throws is told to that request alone, and to the operator', async () => {
  const failures: unknown[] = [];
  const failing = anExport({
    write: () => {
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    },
    read: () => Promise.reject(new Error('broken')),
  });
  await using server = await serveNbd(
    { host: '127.0.0.1', port: 0 },
    { exports: () => [failing], onEvent: (event) => void (event.kind === 'failure' && failures.push(event.error)) },
  );
  using client = await rawClient(server.address);
  client.socket.write(Buffer.concat([clientFlags(3), go('disk')]));
  const from = GREETING_BYTES + GO_REPLY_BYTES;
  await client.until(from);
  client.socket.write(Buffer.concat([request(COMMAND.WRITE, 1n, 0, 3), Buffer.alloc(3)]));
  await client.until(from + SIMPLE);
  client.socket.write(request(COMMAND.READ, 2n, 0, 3));
  await client.until(from + 2 * SIMPLE);
  expect([errorOf(client, from), errorOf(client, from + SIMPLE)]).toEqual([ERRNO.ENOSPC, ERRNO.EIO]);
  expect(failures).toHaveLength(2);
});

test('a client that takes no replies is not read on; what is held for it is bounded', async () => {
  let reads = 0;
  const huge = anExport({
    readNow: () => {
      reads++;
      return true;
    },
  });
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-nbd-wire-'));
  // A Unix socket: what its kernel holds is little, and known.
  await using server = await serveNbd({ path: path.join(folder, 's') }, { exports: () => [huge] });
  using client = await rawClient(server.address);
  client.socket.write(Buffer.concat([clientFlags(3), go('disk')]));
  await client.until(GREETING_BYTES + GO_REPLY_BYTES);
  client.socket.pause();
  for (let i = 0; i < 200; i++) client.socket.write(request(COMMAND.READ, BigInt(i), 0, MIB));
  await new Promise((resolve) => setTimeout(resolve, 300));
  // What is ready ahead of it, and what it had taken before it paused.
  expect(reads).toBeLessThan(4);
  client.socket.resume();
  expect(await client.until(GREETING_BYTES + GO_REPLY_BYTES + 200 * (MIB + SIMPLE))).toBe(true);
  rmSync(folder, { recursive: true });
});

test('requests that wait are bounded, and all are answered when they can be', async () => {
  let waiting = 0;
  let most = 0;
  const slow = anExport({
    read: async () => {
      most = Math.max(most, ++waiting);
      await new Promise((resolve) => setTimeout(resolve, 5));
      waiting--;
    },
  });
  await using server = await serveNbd(
    { host: '127.0.0.1', port: 0 },
    { exports: () => [slow], limits: { requestsMax: 8, pendingBytesMax: 64 * MIB } },
  );
  using client = await rawClient(server.address);
  client.socket.write(Buffer.concat([clientFlags(3), go('disk')]));
  const from = GREETING_BYTES + GO_REPLY_BYTES;
  await client.until(from);
  for (let i = 0; i < 100; i++) client.socket.write(request(COMMAND.READ, BigInt(i), 0, 512));
  expect(await client.until(from + 100 * (SIMPLE + 512))).toBe(true);
  expect(most).toBe(8);
});

test('a handshake that stalls is ended', async () => {
  await using served = await serveFile(MIB, { handshakeMsMax: 50 });
  using client = await rawClient(served.server.address);
  client.socket.write(clientFlags(3));
  await client.ended();
  while (served.server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(served.events).toEqual([{ kind: 'ended', export: null, why: 'the handshake took too long' }]);
});

test('closing answers what is under way, refuses what comes, and cuts off who stays', async () => {
  const [read, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const slow = anExport({ read: () => (read.resolve(), finish.promise) });
  const server = await serveNbd({ host: '127.0.0.1', port: 0 }, { exports: () => [slow] });
  using client = await rawClient(server.address);
  client.socket.write(Buffer.concat([clientFlags(3), go('disk')]));
  const from = GREETING_BYTES + GO_REPLY_BYTES;
  await client.until(from);
  client.socket.write(request(COMMAND.READ, 1n, 0, 512));
  await read.promise;
  const closed = server.close(2000);
  client.socket.write(request(COMMAND.READ, 2n, 0, 512));
  expect(await client.until(from + SIMPLE)).toBe(true);
  expect(errorOf(client, from)).toBe(ERRNO.ESHUTDOWN);
  finish.resolve();
  expect(await client.until(from + 2 * SIMPLE + 512)).toBe(true);
  await closed;
  await client.ended();
});

test('options after STARTTLS in the clear, or before it where TLS is required, get nowhere', () => {
  const flags = clientFlags(3);
  const required = new Negotiation({ exports: [anExport()], tls: 'required', isClosing: () => false });
  const input = new ByteQueue();
  input.push(Buffer.concat([flags, option(OPTION.LIST)]));
  const step = required.advance(input);
  expect([step.kind, step.replies.readUInt32BE(12)]).toEqual(['more', OPTION_REPLY.ERR_TLS_REQD]);
  input.push(Buffer.concat([option(OPTION.STARTTLS), option(OPTION.LIST)]));
  expect(required.advance(input).kind).toBe('ended');
});
