/**
 * A sealed file: one Parquet file, cut into blobs of up to 4 MiB in order, in one or more packs (docs/format.md, sections 5 and 6).
 *
 * Packs and not envelopes, for they are opened piece by piece in bounded memory, by the same code and the same stranger's
 * reader as a volume's. The codec is raw: what is inside is compressed already. A file is referred to by its packs'
 * digests, so another object in the place of one is found before it is opened.
 */
import { open, rename, type FileHandle } from 'node:fs/promises';
import { HoldfastError } from '../../../domain/errors.ts';
import { encodeBody, openBlob, sealBlob, BLOB_OVERHEAD } from '../../../ground/sealing/blob.ts';
import type { SealingKey } from '../../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { digestOf } from '../../log/digest.ts';
import { fingerprintOf } from '../../map/node.ts';
import {
  directoryBytes,
  openDirectory,
  PACK_HEADER,
  packKeyOf,
  parseTrailer,
  sealDirectory,
  TRAILER_BYTES,
  type PackEntry,
} from '../../repository/pack.ts';
import { FILE_BLOB_BYTES, FILE_PACK_BLOBS } from '../../../domain/limits.ts';
import type { FileRef } from './entries.ts';

/** Seals the file at `path` into the store; `nameOf` gives names that were never used. */
export async function sealFile(store: ObjectStore, key: SealingKey, nameOf: (index: number) => string, path: string): Promise<FileRef> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const packs: FileRef['packs'] = [];
  for (let at = 0; at < size; at += FILE_PACK_BLOBS * FILE_BLOB_BYTES) {
    const name = nameOf(packs.length);
    const stored = await sealPack(key, name, file, at, Math.min(size - at, FILE_PACK_BLOBS * FILE_BLOB_BYTES));
    await store.put(name, stored);
    packs.push({ name, digest: digestOf(stored), bytes: stored.length });
  }
  return { bytes: size, packs };
}

async function sealPack(key: SealingKey, name: string, file: FileHandle, from: number, length: number): Promise<Buffer> {
  const packKey = packKeyOf(key, name);
  const blobs = Math.ceil(length / FILE_BLOB_BYTES);
  const stored = Buffer.alloc(PACK_HEADER.length + length + blobs * BLOB_OVERHEAD + directoryBytes(blobs));
  stored.set(PACK_HEADER);
  const entries: PackEntry[] = [];
  let offset = PACK_HEADER.length;
  for (let at = 0; at < length; at += FILE_BLOB_BYTES) {
    const plain = Buffer.alloc(Math.min(FILE_BLOB_BYTES, length - at));
    await readFully(file, plain, from + at);
    const fingerprint = fingerprintOf(plain);
    const sealed = sealBlob(stored, offset, packKey, fingerprint, encodeBody(plain, 'extent', 'raw'));
    entries.push({ fingerprint, offset, length: sealed });
    offset += sealed;
  }
  stored.set(sealDirectory(packKey, entries), offset);
  return stored;
}

async function readFully(file: FileHandle, into: Buffer, from: number): Promise<void> {
  for (let done = 0; done < into.length;) {
    const { bytesRead } = await file.read(into, done, into.length - done, from + done);
    if (bytesRead === 0) throw new HoldfastError('INTERNAL', 'a file shrank while it was sealed');
    done += bytesRead;
  }
}

/** Opens a sealed file into `path`, whole or not at all. OBJECT_MISSING, DAMAGED when it is not what was written. */
export async function openSealedFile(store: ObjectStore, key: SealingKey, ref: FileRef, path: string): Promise<void> {
  const aside = `${path}.part`;
  await writePlain(store, key, ref, aside);
  await rename(aside, path);
}

async function writePlain(store: ObjectStore, key: SealingKey, ref: FileRef, path: string): Promise<void> {
  await using file = await open(path, 'w', 0o600);
  let written = 0;
  for (const pack of ref.packs) {
    const stored = await store.get(pack.name);
    if (stored === null) throw new HoldfastError('OBJECT_MISSING', `${pack.name} is not in the store`, { object: pack.name });
    if (stored.length !== pack.bytes || digestOf(stored) !== pack.digest)
      throw new HoldfastError('DAMAGED', `${pack.name} is not what the log names`, { object: pack.name });
    for (const plain of plainBlobs(key, pack.name, stored)) {
      await file.writeFile(plain);
      written += plain.length;
    }
  }
  if (written !== ref.bytes)
    throw new HoldfastError('DAMAGED', 'a file is shorter than the log says', { bytes: written, expected: ref.bytes });
}

function* plainBlobs(key: SealingKey, name: string, stored: Buffer): Generator<Buffer> {
  const packKey = packKeyOf(key, name);
  const trailer = parseTrailer(stored.subarray(stored.length - TRAILER_BYTES), stored.length, name);
  const directory = stored.subarray(trailer.offset, trailer.offset + trailer.length);
  for (const entry of openDirectory(packKey, directory, trailer, name))
    yield openBlob(stored.subarray(entry.offset, entry.offset + entry.length), entry.offset, packKey, entry.fingerprint).plain;
}
