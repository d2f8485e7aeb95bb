import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { linked } from '../../../src/ground/libc/linked.ts';

const { aead, zstd } = linked();
const shared = (length: number): Buffer => Buffer.from(new SharedArrayBuffer(length));
const bytes = fc.uint8Array({ maxLength: 5000 }).map((array) => Buffer.from(array));
const nonces = fc.uint8Array({ minLength: 12, maxLength: 12 });

describe('AES-256-GCM as linked into Node', () => {
  test('is there on the Node that this project runs on', () => {
    expect(aead).not.toBeNull();
    expect(zstd).not.toBeNull();
  });

  test('gives the bytes that node:crypto gives, wherever they are put', () => {
    fc.assert(
      fc.property(bytes, bytes, nonces, fc.integer({ min: 0, max: 40 }), (plain, associated, nonce, at) => {
        const key = randomBytes(32);
        const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated);
        const expected = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
        const into = shared(at + expected.length + 3).fill(0xaa);
        aead!.seal(key, nonce, associated, plain, into, at);
        expect(into.subarray(at, at + expected.length).equals(expected)).toBe(true);
        expect(into.subarray(at + expected.length).equals(Buffer.alloc(3, 0xaa))).toBe(true);
        expect(into.subarray(0, at).equals(Buffer.alloc(at, 0xaa))).toBe(true);
        const opened = shared(plain.length);
        expect(aead!.open(key, nonce, associated, expected, opened)).toBe(true);
        expect(opened.equals(plain)).toBe(true);
        const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(associated).setAuthTag(expected.subarray(-16));
        expect(Buffer.concat([decipher.update(expected.subarray(0, -16)), decipher.final()]).equals(plain)).toBe(true);
      }),
    );
  });

  test('opens nothing of which a bit is wrong, and works on after that', () => {
    fc.assert(
      fc.property(bytes, nonces, fc.nat(), (plain, nonce, flip) => {
        const key = randomBytes(32);
        const sealed = Buffer.alloc(plain.length + 16);
        aead!.seal(key, nonce, Buffer.from('a'), plain, sealed, 0);
        const opened = Buffer.alloc(plain.length);
        const bit = flip % (sealed.length * 8);
        sealed[bit >> 3]! ^= 1 << (bit & 7);
        expect(aead!.open(key, nonce, Buffer.from('a'), sealed, opened)).toBe(false);
        sealed[bit >> 3]! ^= 1 << (bit & 7);
        expect(aead!.open(key, nonce, Buffer.from('b'), sealed, opened)).toBe(false);
        expect(aead!.open(key, nonce, Buffer.from('a'), sealed, opened)).toBe(true);
      }),
    );
  });

  test('refuses what does not fit', () => {
    const [key, nonce, plain] = [randomBytes(32), Buffer.alloc(12), Buffer.alloc(100)];
    expect(() => aead!.seal(key, nonce, plain, plain, Buffer.alloc(115), 0)).toThrow('refused');
    expect(() => aead!.seal(key, nonce, plain, plain, Buffer.alloc(120), 5)).toThrow('refused');
    expect(() => aead!.seal(key.subarray(1), nonce, plain, plain, Buffer.alloc(200), 0)).toThrow('refused');
    expect(() => aead!.open(key, nonce, plain, Buffer.alloc(15), Buffer.alloc(200))).toThrow('refused');
    expect(() => aead!.open(key, nonce, plain, Buffer.alloc(116), Buffer.alloc(99))).toThrow('refused');
  });
});

describe('zstd as linked into Node', () => {
  test('and node:zlib read each other', () => {
    fc.assert(
      fc.property(bytes, fc.integer({ min: 1, max: 6 }), (plain, level) => {
        const packed = shared(plain.length + 1024);
        const length = zstd!.compress(plain, packed, level)!;
        expect(zstdDecompressSync(Buffer.from(packed.subarray(0, length))).equals(plain)).toBe(true);
        const opened = shared(plain.length);
        expect(zstd!.decompress(zstdCompressSync(plain), opened)).toBe(plain.length);
        expect(opened.equals(plain)).toBe(true);
      }),
    );
  });

  test('says so when the result does not fit or the bytes are damaged', () => {
    const plain = randomBytes(1000);
    expect(zstd!.compress(plain, Buffer.alloc(500), 1)).toBeNull();
    expect(zstd!.decompress(zstdCompressSync(plain), Buffer.alloc(999))).toBeNull();
    expect(zstd!.decompress(plain, Buffer.alloc(2000))).toBeNull();
    expect(zstd!.decompress(zstdCompressSync(plain).subarray(0, 500), Buffer.alloc(2000))).toBeNull();
  });
});
