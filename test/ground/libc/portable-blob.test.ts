/** A Node without the symbols, or a platform without koffi: the same bytes through node:crypto and node:zlib. */
import { describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import * as direct from '../../../src/ground/sealing/blob.ts';

const key = { key: Buffer.alloc(32, 3), repositoryId: Buffer.alloc(16, 4) };
const fingerprint = Buffer.alloc(32, 5);

jest.unstable_mockModule('../../../src/ground/libc/linked.ts', () => ({ linked: () => ({ aead: null, zstd: null }) }));
jest.resetModules();
const portable = await import('../../../src/ground/sealing/blob.ts');

const values = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 4000 }).map((array) => Buffer.from(array)),
  fc.string({ minLength: 1 }).map((text) => Buffer.alloc(20_000, text)),
);

describe('blobs without the linked libraries', () => {
  test('are sealed by a module of their own here', async () => {
    expect(portable.sealBlob).not.toBe(direct.sealBlob);
    const { linked } = await import('../../../src/ground/libc/linked.ts');
    expect(linked()).toEqual({ aead: null, zstd: null });
  });

  test('open what was sealed with them, and the other way round', () => {
    fc.assert(
      fc.property(
        values,
        fc.constantFrom('raw', 'zstd-1', 'zstd-3'),
        fc.integer({ min: 0, max: 2 ** 24 }),
        (plain, codec: direct.Codec, offset) => {
          for (const [sealing, opening] of [
            [direct, portable],
            [portable, direct],
            [portable, portable],
          ] as const) {
            const pack = Buffer.alloc(offset + plain.length + 1000);
            const length = sealing.sealBlob(pack, offset, key, fingerprint, sealing.encodeBody(plain, 'extent', codec));
            const stored = pack.subarray(offset, offset + length);
            const opened = opening.openBlob(stored, offset, key, fingerprint);
            expect(opened.plain.equals(plain)).toBe(true);
            stored[length - 1]! ^= 1;
            expect(() => opening.openBlob(stored, offset, key, fingerprint)).toThrow('does not open');
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
