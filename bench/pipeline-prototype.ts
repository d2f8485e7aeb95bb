/**
 * The yardstick: the shortest program that does the same work with Node's own interfaces and nothing else. Threads take
 * extents by an atomic counter, read, skip zeros, hash, compress, seal and write packs of 16 MiB to a folder; no index, no
 * dedup, no memory bound worth the name, no failure handled.
 */
import { createCipheriv, randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { constants, zstdCompressSync } from 'node:zlib';
import { blake3 } from '@napi-rs/blake-hash';

const EXTENT = 256 * 1024;
const PACK = 16 * 1024 * 1024;

interface Work {
  readonly image: string;
  readonly out: string;
  readonly counter: SharedArrayBuffer;
  readonly worker: number;
}

function work({ image, out, counter, worker }: Work): void {
  const fd = openSync(image, 'r');
  const extents = statSync(image).size / EXTENT;
  const next = new Int32Array(counter);
  const [buffer, zeros, pack, key] = [Buffer.alloc(EXTENT), Buffer.alloc(EXTENT), Buffer.alloc(PACK + EXTENT), randomBytes(32)];
  let [end, packs, blobs] = [0, 0, 0];
  const flush = (): void => {
    writeFileSync(`${out}/${worker}-${packs++}`, pack.subarray(0, end));
    end = 0;
  };
  for (let extent = Atomics.add(next, 0, 1); extent < extents; extent = Atomics.add(next, 0, 1)) {
    readSync(fd, buffer, 0, EXTENT, extent * EXTENT);
    if (buffer.equals(zeros)) continue;
    const fingerprint = blake3(buffer);
    const packed = zstdCompressSync(buffer, { params: { [constants.ZSTD_c_compressionLevel]: 1 }, chunkSize: 288 * 1024 });
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32BE(blobs++, 8);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(fingerprint);
    const sealed = cipher.update(packed);
    cipher.final();
    if (end + sealed.length + 16 > PACK) flush();
    pack.set(sealed, end);
    pack.set(cipher.getAuthTag(), end + sealed.length);
    end += sealed.length + 16;
  }
  flush();
  closeSync(fd);
}

export async function runPrototype(image: string, out: string, threads: number): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const counter = new SharedArrayBuffer(4);
  await Promise.all(
    Array.from({ length: threads }, (_, worker) => {
      const thread = new Worker(new URL(import.meta.url), { workerData: { image, out, counter, worker } satisfies Work });
      return new Promise<void>((resolve, reject) => {
        thread.on('error', reject);
        thread.on('exit', () => resolve());
      });
    }),
  );
  rmSync(out, { recursive: true, force: true });
}

if (!isMainThread) work(workerData as Work);
