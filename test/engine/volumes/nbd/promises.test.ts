/**
 * What the protocol promises and no client shows by itself: holes are told as holes, what is forced is durable before its
 * reply, and a client believes no read whose pieces overlap.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, jest, test } from '@jest/globals';
import { ByteQueue } from '../../../../src/engine/volumes/nbd/byte-queue.ts';
import { connectNbd } from '../../../../src/engine/volumes/nbd/client.ts';
import { greeting, Negotiation } from '../../../../src/engine/volumes/nbd/negotiation.ts';
import { CHUNK, CHUNK_HEADER_BYTES, COMMAND, COMMAND_FLAG, REQUEST_BYTES } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { writeChunkHeader } from '../../../../src/engine/volumes/nbd/replies.ts';
import { serveNbd } from '../../../../src/engine/volumes/nbd/server.ts';
import { VolumeFile } from '../../../../src/engine/volumes/volume-file.ts';
import { anExport } from './an-export.ts';
import { chunkAt, inTransmission, request } from './raw-client.ts';
import { serveFile } from './serve-file.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const SIMPLE = 16;

const folders: string[] = [];
afterEach(() => {
  jest.restoreAllMocks();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const offsetBytes = (offset: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(offset));
  return bytes;
};

test('a structured read of a hole is answered with the hole, not with its zeros', async () => {
  await using served = await serveFile(8 * MIB);
  const { client, from } = await inTransmission(served.server.address, 'structured');
  using _ = client;
  client.socket.write(request(COMMAND.READ, 5n, 3 * MIB, MIB));
  const hole = await chunkAt(client, from);
  expect(hole).toMatchObject({ done: true, type: CHUNK.OFFSET_HOLE, cookie: 5n });
  expect(hole.body).toEqual(Buffer.concat([offsetBytes(3 * MIB), Buffer.from([0, 0x10, 0, 0])]));
  // One byte of data in it, and it is data.
  client.socket.write(Buffer.concat([request(COMMAND.WRITE, 6n, 3 * MIB + 77, 1), Buffer.from([9])]));
  const written = from + CHUNK_HEADER_BYTES + 12;
  expect(await chunkAt(client, written)).toMatchObject({ done: true, type: CHUNK.NONE, cookie: 6n });
  client.socket.write(request(COMMAND.READ, 7n, 3 * MIB, MIB));
  const data = await chunkAt(client, written + CHUNK_HEADER_BYTES);
  expect(data).toMatchObject({ done: true, type: CHUNK.OFFSET_DATA, cookie: 7n });
  expect([data.body.length, data.body.subarray(0, 8), data.body[8 + 77]]).toEqual([8 + MIB, offsetBytes(3 * MIB), 9]);
});

const CHANGES = [
  ['write', request(COMMAND.WRITE, 1n, 0, 3, COMMAND_FLAG.FUA), Buffer.alloc(3)],
  ['trim', request(COMMAND.TRIM, 1n, 0, 3, COMMAND_FLAG.FUA), Buffer.alloc(0)],
  ['zero', request(COMMAND.WRITE_ZEROES, 1n, 0, 3, COMMAND_FLAG.FUA), Buffer.alloc(0)],
] as const;

test.each(CHANGES)('FUA reaches the backend of a %s, and only where it was asked for', async (_, asked, payload) => {
  const forced: boolean[] = [];
  const watched = anExport({
    write: (_parts, _offset, fua) => void forced.push(fua),
    trim: (_offset, _length, fua) => void forced.push(fua),
    zero: (_offset, _length, { fua }) => void forced.push(fua),
  });
  await using server = await serveNbd({ host: '127.0.0.1', port: 0 }, { exports: () => [watched] });
  const { client, from } = await inTransmission(server.address);
  using __ = client;
  const plain = Buffer.from(asked);
  plain.writeUInt16BE(0, 4);
  client.socket.write(Buffer.concat([asked, payload, plain, payload]));
  expect(await client.until(from + 2 * SIMPLE)).toBe(true);
  expect(forced).toEqual([true, false]);
});

test.each(CHANGES)('the reply to a %s with FUA waits for the sync; others do not wait for it', async (_, asked, payload) => {
  let synced: () => void = () => undefined;
  const syncs = jest.spyOn(VolumeFile.prototype, 'sync').mockReturnValue(new Promise((resolve) => (synced = resolve)));
  await using served = await serveFile(MIB);
  const { client, from } = await inTransmission(served.server.address);
  using __ = client;
  client.socket.write(Buffer.concat([asked, payload, request(COMMAND.READ, 2n, 0, 1)]));
  expect(await client.until(from + SIMPLE + 1)).toBe(true);
  expect([client.received().readBigUInt64BE(from + 8), syncs.mock.calls.length]).toEqual([2n, 1]);
  client.socket.write(request(COMMAND.READ, 3n, 0, 1));
  expect(await client.until(from + 2 * (SIMPLE + 1))).toBe(true);
  expect([client.received().readBigUInt64BE(from + SIMPLE + 1 + 8), client.received().length]).toEqual([3n, from + 2 * (SIMPLE + 1)]);
  synced();
  expect(await client.until(from + 2 * (SIMPLE + 1) + SIMPLE)).toBe(true);
  expect(client.received().readBigUInt64BE(from + 2 * (SIMPLE + 1) + 8)).toBe(1n);
});

interface Piece {
  readonly kind: 'data' | 'hole';
  readonly at: number;
  readonly bytes: number;
}

const chunk = (cookie: bigint, type: number, body: Buffer, done: boolean): Buffer => {
  const head = Buffer.alloc(CHUNK_HEADER_BYTES);
  writeChunkHeader(head, cookie, type, body.length, done);
  return Buffer.concat([head, body]);
};

/** A server that agrees to everything and answers each read with the same pieces. */
async function answerWith(pieces: readonly Piece[]): Promise<{ readonly socket: string } & AsyncDisposable> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-nbd-pieces-'));
  folders.push(folder);
  const socket = path.join(folder, 's');
  const server = createServer((client) => {
    const input = new ByteQueue();
    const negotiation = new Negotiation({ exports: [anExport()], tls: 'none', isClosing: () => false });
    let agreed = false;
    client.write(greeting());
    client.on('error', () => undefined);
    client.on('data', (bytes: Buffer) => {
      input.push(bytes);
      if (!agreed) {
        const step = negotiation.advance(input);
        client.write(step.replies);
        agreed = step.kind === 'agreed';
      }
      while (agreed && input.length >= REQUEST_BYTES) {
        const cookie = input.take(REQUEST_BYTES).readBigUInt64BE(8);
        const length = (bytesOf: number): Buffer => offsetBytes(bytesOf).subarray(4);
        const body = ({ kind, at, bytes: n }: Piece): Buffer =>
          Buffer.concat([offsetBytes(at), kind === 'data' ? Buffer.alloc(n, 7) : length(n)]);
        const type = ({ kind }: Piece): number => (kind === 'data' ? CHUNK.OFFSET_DATA : CHUNK.OFFSET_HOLE);
        for (const piece of pieces) client.write(chunk(cookie, type(piece), body(piece), false));
        client.write(chunk(cookie, CHUNK.NONE, Buffer.alloc(0), true));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return { socket, [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())) };
}

const readFrom = async (pieces: readonly Piece[]): Promise<Buffer> => {
  await using server = await answerWith(pieces);
  await using client = await connectNbd({ at: { path: server.socket }, export: 'disk', tls: null }, { contexts: [] });
  const into = Buffer.alloc(4 * KIB, 0xee);
  await client.read(into, 8 * KIB);
  return into;
};

const data = (at: number, bytes: number): Piece => ({ kind: 'data', at: 8 * KIB + at, bytes });
const hole = (at: number, bytes: number): Piece => ({ kind: 'hole', at: 8 * KIB + at, bytes });

test('a read in pieces, in any order, is what they say', async () => {
  const into = await readFrom([data(3 * KIB, KIB), hole(KIB, 2 * KIB), data(0, KIB)]);
  expect(into.equals(Buffer.concat([Buffer.alloc(KIB, 7), Buffer.alloc(2 * KIB), Buffer.alloc(KIB, 7)]))).toBe(true);
});

test.each([
  ['a piece twice, so that as many bytes come as were asked for', [data(0, 2 * KIB), data(0, 2 * KIB)]],
  ['the whole twice', [data(0, 4 * KIB), data(0, 4 * KIB)]],
  ['a piece that overlaps its neighbour', [data(0, 3 * KIB), data(2 * KIB, 2 * KIB)]],
  ['a hole over data', [data(0, 4 * KIB), hole(KIB, KIB)]],
  ['data over a hole', [hole(0, 4 * KIB), data(KIB, KIB)]],
  ['a gap', [data(0, KIB), data(2 * KIB, 2 * KIB)]],
  ['nothing', []],
])('%s is no answer to a read', async (_, pieces) => {
  await expect(readFrom(pieces)).rejects.toThrow('a read is not answered whole');
});

test('a read that failed and goes on writing writes into nobody else’s reply', async () => {
  const later = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
  const disk = anExport({
    read(into, offset) {
      if (offset === 0) {
        // Two stores were asked; one has failed, and the other answers when nobody waits any more.
        void later(60).then(() => into.fill(0xee));
        return Promise.reject(new Error('one of two has failed'));
      }
      into.fill(0x11);
      return later(150);
    },
  });
  await using server = await serveNbd({ host: '127.0.0.1', port: 0 }, { exports: () => [disk] });
  const target = { at: server.address, export: 'disk', tls: null };
  await using failing = await connectNbd(target, { contexts: [] });
  await using other = await connectNbd(target, { contexts: [] });
  await expect(failing.read(Buffer.alloc(MIB), 0)).rejects.toThrow('answers error');
  const bytes = Buffer.alloc(MIB);
  await other.read(bytes, MIB);
  expect(bytes.every((byte) => byte === 0x11)).toBe(true);
});
