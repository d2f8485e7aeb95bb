/** Slabs against a stream that is known: whatever comes in whatever pieces, what is taken, kept and released is that stream. */
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ByteQueue } from '../../../../src/engine/volumes/nbd/byte-queue.ts';
import { readInto, Slabs } from '../../../../src/engine/volumes/nbd/slabs.ts';
import { serveNbd } from '../../../../src/engine/volumes/nbd/server.ts';
import { COMMAND } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { anExport } from './an-export.ts';
import { inTransmission, request } from './raw-client.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Words that say where in the stream they are. */
const streamAt = (from: number, length: number): Buffer => {
  const first = Math.floor(from / 4);
  const words = Buffer.alloc((Math.ceil((from + length) / 4) - first) * 4);
  for (let i = 0; i < words.length; i += 4) words.writeUInt32LE(first + i / 4, i);
  return words.subarray(from % 4, (from % 4) + length);
};

type Op =
  | { readonly kind: 'come'; readonly bytes: number }
  | { readonly kind: 'take'; readonly bytes: number; readonly keep: boolean }
  | { readonly kind: 'release'; readonly which: number };

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('come' as const), bytes: fc.integer({ min: 1, max: 300 * KIB }) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('take' as const), bytes: fc.integer({ min: 1, max: 400 * KIB }), keep: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(99) }) },
);

test('what is taken is what came, and what is kept stays until it is released', () => {
  fc.assert(
    fc.property(fc.array(op, { minLength: 20, maxLength: 80 }), (ops) => {
      const queue = new ByteQueue();
      const slabs = new Slabs(queue);
      let [come, taken] = [0, 0];
      const kept: { readonly parts: readonly Buffer[]; readonly from: number; readonly release: () => void }[] = [];
      // The socket holds the room that it was given last, as Node does.
      let room = slabs.room();
      const check = ({ parts, from }: { readonly parts: readonly Buffer[]; readonly from: number }): void => {
        const whole = Buffer.concat(parts);
        expect(whole.equals(streamAt(from, whole.length))).toBe(true);
      };
      for (const one of ops) {
        if (one.kind === 'come') {
          const bytes = Math.min(one.bytes, room.length);
          room.set(streamAt(come, bytes));
          slabs.filled(bytes);
          come += bytes;
          room = slabs.room();
        } else if (one.kind === 'take') {
          const bytes = Math.min(one.bytes, queue.length);
          const parts = queue.takeParts(bytes);
          check({ parts, from: taken });
          if (one.keep) kept.push({ parts, from: taken, release: slabs.keep(parts) });
          taken += bytes;
        } else {
          for (const { parts, from, release } of kept.splice(one.which % (kept.length + 1), 1)) {
            check({ parts, from });
            release();
          }
        }
      }
      kept.forEach(check);
      expect(queue.length).toBe(come - taken);
    }),
    { numRuns: 200 },
  );
});

test('memory does not grow with what passes', () => {
  const queue = new ByteQueue();
  const slabs = new Slabs(queue);
  const seen = new Set<ArrayBufferLike>();
  for (let i = 0; i < 2000; i++) {
    seen.add(slabs.room().buffer);
    slabs.filled(Math.min(slabs.room().length, 200 * KIB));
    // Half a payload is always left.
    queue.takeParts(Math.max(0, queue.length - 128 * KIB));
  }
  expect(seen.size).toBeLessThanOrEqual(3);
});

test('this Node lets an accepted socket read into slabs: without it writes of large blocks cost three times as much', async () => {
  const queue = new ByteQueue();
  const slabs = new Slabs(queue);
  const room = slabs.room().buffer;
  const came = new Promise<boolean>((resolve) => {
    const server = createServer({ pauseOnConnect: true }, (accepted) => {
      const socket = readInto(accepted, slabs, () => resolve(true));
      if (socket === null) resolve(false);
      else socket.on('close', () => server.close());
    });
    server.listen(0, '127.0.0.1', () => connect((server.address() as AddressInfo).port, '127.0.0.1').end('some bytes'));
  });
  expect(await came).toBe(true);
  const [bytes] = queue.takeParts(10);
  expect([bytes?.toString(), bytes?.buffer]).toEqual(['some bytes', room]);
});

test('payloads that wait for their backend stay as they came, and no more of them are taken than the bound', async () => {
  const waiting: (() => void)[] = [];
  const wrong: number[] = [];
  let most = 0;
  const slow = anExport({
    write: async (parts, offset) => {
      await new Promise<void>((resolve) => {
        most = Math.max(most, waiting.push(resolve));
      });
      if (!Buffer.concat(parts).equals(streamAt(offset, 200 * KIB))) wrong.push(offset);
    },
  });
  await using server = await serveNbd(
    { host: '127.0.0.1', port: 0 },
    { exports: () => [slow], limits: { requestsMax: 256, pendingBytesMax: 2 * MIB } },
  );
  const { client, from } = await inTransmission(server.address);
  using _ = client;
  const writes = 60;
  for (let i = 0; i < writes; i++) {
    client.socket.write(request(COMMAND.WRITE, BigInt(i), i * 200 * KIB, 200 * KIB));
    client.socket.write(streamAt(i * 200 * KIB, 200 * KIB));
  }
  for (let answered = 0; answered < writes; answered++) {
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    // Not in the order of their coming.
    waiting.splice(Math.floor(waiting.length / 2), 1)[0]?.();
    expect(await client.until(from + (answered + 1) * 16)).toBe(true);
  }
  expect([wrong, most]).toEqual([[], Math.ceil((2 * MIB) / (200 * KIB))]);
});
