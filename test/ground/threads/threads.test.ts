import { closeSync, openSync, writeFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { blake3 } from '@napi-rs/blake-hash';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openBlob } from '../../../src/ground/sealing/blob.ts';
import { SLOT_BYTES, slotFingerprint } from '../../../src/ground/threads/tasks.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';

const EXTENT = 16 * 1024;
let folder: string;
let threads: Threads;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-threads-'));
  threads = new Threads({ count: 2 });
});
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const slotOf = (): SharedArrayBuffer => new SharedArrayBuffer(SLOT_BYTES);
const file = (bytes: Uint8Array): { readonly fd: number } & Disposable => {
  const name = path.join(folder, 'file');
  writeFileSync(name, bytes);
  const fd = openSync(name, 'r+');
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
};
const key = { key: Buffer.alloc(32, 1), repositoryId: Buffer.alloc(16, 2) };

test('what was asked for before the end is done, also by a thread that had only begun; afterwards nothing is taken', async () => {
  using source = file(Buffer.alloc(40 * EXTENT, 1));
  const task = (count: number) => ({
    ...{ slot: slotOf(), fd: source.fd, extentBytes: EXTENT, sizeBytes: 40 * EXTENT },
    extents: Array.from({ length: count }, (_, extent) => extent),
  });
  for (const count of [1, 2]) {
    const ending = new Threads({ count });
    // One thread has much to do, and the others nothing any more.
    const sizes = count === 1 ? [1, 1, 1, 40] : [40, 1];
    const asked = Promise.allSettled(sizes.map((size) => ending.run('hash', task(size))));
    await ending[Symbol.asyncDispose]();
    expect(await asked).toMatchObject(sizes.map((size) => ({ status: 'fulfilled', value: { readBytes: size * EXTENT } })));
    await expect(ending.run('hash', task(1))).rejects.toThrow('after the end');
  }
});

describe('tasks on threads', () => {
  test('hash: extents in any order, zeros told apart, the last one padded', async () => {
    const bytes = Buffer.concat([Buffer.alloc(EXTENT, 1), Buffer.alloc(EXTENT), Buffer.alloc(100, 3)]);
    using source = file(bytes);
    const slot = slotOf();
    Buffer.from(slot).fill(0xee);
    const { readBytes } = await threads.run('hash', {
      slot,
      fd: source.fd,
      extentBytes: EXTENT,
      sizeBytes: bytes.length,
      extents: [2, 0, 1],
    });
    expect(readBytes).toBe(bytes.length);
    const padded = Buffer.concat([Buffer.alloc(100, 3), Buffer.alloc(EXTENT - 100)]);
    expect(slotFingerprint(Buffer.from(slot), 0).equals(blake3(padded))).toBe(true);
    expect(slotFingerprint(Buffer.from(slot), 1).equals(blake3(Buffer.alloc(EXTENT, 1)))).toBe(true);
    expect(slotFingerprint(Buffer.from(slot), 2).equals(Buffer.alloc(32))).toBe(true);
  });

  test('hash: a source that ends early is an error with its code', async () => {
    using source = file(Buffer.alloc(EXTENT + 5));
    const task = { slot: slotOf(), fd: source.fd, extentBytes: EXTENT, sizeBytes: 2 * EXTENT, extents: [0, 1] };
    await expect(threads.run('hash', task)).rejects.toMatchObject({ code: 'SOURCE_CHANGED', details: { endBytes: EXTENT + 5 } });
  });

  test('seal: one body a codec, into the packs that want it, where they end', async () => {
    const slot = slotOf();
    const bytes = Buffer.from(slot);
    const plains = [Buffer.alloc(EXTENT, 1), Buffer.alloc(EXTENT, 2)];
    plains.forEach((plain, i) => {
      bytes.set(plain, i * EXTENT);
      slotFingerprint(bytes, i).set(blake3(plain));
    });
    const pack = () => new SharedArrayBuffer(1024 * 1024);
    const packs = [
      { buffer: pack(), offset: 8, key, codec: 'zstd-1' as const, wants: [0, 1] },
      { buffer: pack(), offset: 100, key, codec: 'zstd-1' as const, wants: [1] },
      { buffer: pack(), offset: 9, key, codec: 'raw' as const, wants: [0] },
    ];
    const { lengths, encoded } = await threads.run('seal', { slot, extentBytes: EXTENT, values: [0, 1], packs });
    expect(encoded).toBe(2);
    packs.forEach((target, p) => {
      let at = target.offset;
      target.wants.forEach((want, i) => {
        const length = lengths[p]![i]!;
        const stored = Buffer.from(target.buffer).subarray(at, at + length);
        expect(openBlob(Buffer.from(stored), at, key, blake3(plains[want]!)).plain.equals(plains[want]!)).toBe(true);
        at += length;
      });
    });
  });

  test('an error that is no HoldfastError arrives as one, and the thread lives on', async () => {
    const task = { slot: new SharedArrayBuffer(10), extentBytes: EXTENT, values: [0], packs: [] };
    await expect(
      threads.run('open', {
        slot: new SharedArrayBuffer(10),
        start: 0,
        key,
        blobs: [{ place: 0, offset: 0, length: 40, targets: [] }],
        target: null,
      }),
    ).resolves.toMatchObject({ failures: [{ code: 'DAMAGED' }] });
    await expect(
      threads.run('seal', { ...task, packs: [{ buffer: new SharedArrayBuffer(1), offset: 0, key, codec: 'raw', wants: [0] }] }),
    ).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});
