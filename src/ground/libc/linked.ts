/**
 * AES-256-GCM and zstd of the running Node, called without the detour through a stream object for every value.
 *
 * Node links OpenSSL and zstd and exports their symbols for addons. Its own APIs make a cipher or a compressor per value
 * and a fresh buffer for every result; at 256 KiB that is three quarters of the time of AES-GCM, a third of decompression
 * and a tenth of compression. Called directly, a context is made once a thread and results go where they are wanted.
 *
 * The bytes are the same either way. A build of Node that lacks a symbol, or a check below that does not come out as
 * node:crypto and node:zlib say, yields null, and callers use those. Memory safety rests on the length checks in here:
 * no pointer leaves this file, and no call is made that could read or write past the views it was given.
 */
import { createCipheriv, hash } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import type * as Koffi from 'koffi';
import { loadKoffi } from './koffi.ts';
import { HoldfastError } from '../../domain/errors.ts';

/** Calls as koffi makes them: pointers are opaque, buffers are passed by address. */
type Call = (...args: readonly unknown[]) => number;
type MakePointer = () => unknown;

export interface Aead {
  /** Writes the sealed bytes and the 16-byte tag to `into` from `at` on. */
  seal(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, plain: Uint8Array, into: Uint8Array, at: number): void;
  /** Writes the plain bytes to the start of `into`; false when `sealed` (bytes and tag) is not authentic. */
  open(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array, into: Uint8Array): boolean;
}

export interface Zstd {
  /** Compresses to the start of `into`; the length, or null when it does not fit. */
  compress(plain: Uint8Array, into: Uint8Array, level: number): number | null;
  /** Decompresses to the start of `into`; the length, or null when it is damaged or does not fit. */
  decompress(packed: Uint8Array, into: Uint8Array): number | null;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const GET_TAG = 0x10;
const SET_TAG = 0x11;

const must = (holds: boolean, what: string): void => {
  if (!holds) throw new HoldfastError('INTERNAL', `a native call was refused: ${what}`);
};

const checkSizes = (key: Uint8Array, nonce: Uint8Array, room: number, needed: number): void => {
  must(key.length === KEY_BYTES && nonce.length === NONCE_BYTES, 'key or nonce of the wrong length');
  must(needed >= 0 && room >= needed, 'no room for the result');
};

function makeAead(self: Koffi.LibraryHandle): Aead {
  const make = self.func('void *EVP_CIPHER_CTX_new()') as MakePointer;
  const cipher = (self.func('void *EVP_aes_256_gcm()') as MakePointer)();
  const control = self.func('int EVP_CIPHER_CTX_ctrl(void *, int, int, void *)') as Call;
  const direction = (name: 'Encrypt' | 'Decrypt') => {
    const init = self.func(`int EVP_${name}Init_ex(void *, void *, void *, void *, void *)`) as Call;
    const context = make();
    must(init(context, cipher, null, null, null) === 1, 'AES-256-GCM is not available');
    return {
      context,
      init,
      update: self.func(`int EVP_${name}Update(void *, void *, void *, void *, int)`) as Call,
      final: self.func(`int EVP_${name}Final_ex(void *, void *, void *)`) as Call,
    };
  };
  const sealing = direction('Encrypt');
  const opening = direction('Decrypt');
  const lengthOut = Buffer.alloc(8);
  const tag = Buffer.alloc(TAG_BYTES);
  return {
    seal(key, nonce, associated, plain, into, at) {
      checkSizes(key, nonce, into.length - at, plain.length + TAG_BYTES);
      const { context, init, update, final } = sealing;
      const body = into.subarray(at, at + plain.length);
      const done =
        init(context, null, null, key, nonce) === 1 &&
        update(context, null, lengthOut, associated, associated.length) === 1 &&
        update(context, body, lengthOut, plain, plain.length) === 1 &&
        final(context, tag, lengthOut) === 1 &&
        control(context, GET_TAG, TAG_BYTES, tag) === 1;
      must(done, 'AES-256-GCM failed');
      into.set(tag, at + plain.length);
    },
    open(key, nonce, associated, sealed, into) {
      const length = sealed.length - TAG_BYTES;
      checkSizes(key, nonce, into.length, length);
      const { context, init, update, final } = opening;
      tag.set(sealed.subarray(length));
      return (
        init(context, null, null, key, nonce) === 1 &&
        control(context, SET_TAG, TAG_BYTES, tag) === 1 &&
        update(context, null, lengthOut, associated, associated.length) === 1 &&
        update(context, into, lengthOut, sealed, length) === 1 &&
        final(context, tag, lengthOut) === 1
      );
    },
  };
}

function makeZstd(self: Koffi.LibraryHandle): Zstd {
  const compressor = (self.func('void *ZSTD_createCCtx()') as MakePointer)();
  const decompressor = (self.func('void *ZSTD_createDCtx()') as MakePointer)();
  // size_t in its range of errors does not fit a number: koffi gives a bigint then, and that is how they are told.
  const compress = self.func('size_t ZSTD_compressCCtx(void *, void *, size_t, void *, size_t, int)') as Call;
  const decompress = self.func('size_t ZSTD_decompressDCtx(void *, void *, size_t, void *, size_t)') as Call;
  const lengthOf = (result: number | bigint, into: Uint8Array): number | null =>
    typeof result === 'number' && result <= into.length ? result : null;
  return {
    compress: (plain, into, level) => lengthOf(compress(compressor, into, into.length, plain, plain.length, level), into),
    decompress: (packed, into) => lengthOf(decompress(decompressor, into, into.length, packed, packed.length), into),
  };
}

function checkedAead(aead: Aead): Aead | null {
  const [key, nonce] = [Buffer.alloc(KEY_BYTES, 7), Buffer.alloc(NONCE_BYTES, 9)];
  const [associated, plain] = [Buffer.from('associated'), Buffer.from('plain bytes')];
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated);
  const expected = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  const sealed = Buffer.alloc(expected.length + 1);
  const opened = Buffer.alloc(plain.length);
  aead.seal(key, nonce, associated, plain, sealed, 1);
  const same = sealed.subarray(1).equals(expected);
  const opens = aead.open(key, nonce, associated, expected, opened) && opened.equals(plain);
  expected.writeUInt8(expected.readUInt8(0) ^ 1, 0);
  return same && opens && !aead.open(key, nonce, associated, expected, opened) ? aead : null;
}

function checkedZstd(zstd: Zstd): Zstd | null {
  const plain = Buffer.from(hash('sha256', 'zstd', 'hex').repeat(8));
  const [packed, opened] = [Buffer.alloc(1024), Buffer.alloc(plain.length)];
  const length = zstd.compress(plain, packed, 1);
  if (length === null || !zstdDecompressSync(packed.subarray(0, length)).equals(plain)) return null;
  const good = zstd.decompress(packed.subarray(0, length), opened) === plain.length && opened.equals(plain);
  return good && zstd.decompress(packed.subarray(0, length - 1), opened) === null ? zstd : null;
}

const orNull = <T>(make: () => T | null): T | null => {
  try {
    return make();
  } catch {
    // A symbol that is not there, or no koffi for this platform: the callers have node:crypto and node:zlib.
    return null;
  }
};

/** One set of contexts a thread, made on first use and kept for its life. */
let loaded: { readonly aead: Aead | null; readonly zstd: Zstd | null } | undefined;

export function linked(): { readonly aead: Aead | null; readonly zstd: Zstd | null } {
  loaded ??= orNull(() => {
    const koffi = loadKoffi();
    const self = koffi.load(null);
    return { aead: orNull(() => checkedAead(makeAead(self))), zstd: orNull(() => checkedZstd(makeZstd(self))) };
  }) ?? { aead: null, zstd: null };
  return loaded;
}
