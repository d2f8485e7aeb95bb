/**
 * The volume of the demo: an ext4 image of real files that mke2fs builds, or a copy of a file of one's own. The original is
 * opened for reading and never for anything else: what the demo changes is the copy in its folder.
 */
import { constants } from 'node:fs';
import { copyFile, lstat, open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../domain/errors.ts';
import { EXTENT_BYTES_DEFAULT, MIB } from '../../domain/limits.ts';
import { dataRanges, type DataRange } from '../../ground/libc/libc.ts';
import type { Programs } from './programs.ts';

const BLOCK = 4096;
/** Room for what the file system needs and for free space, as a share of the files. */
const ROOM = 1.35;
const IMAGE_BYTES_MIN = 16 * MIB;
const COPY_BYTES = 4 * MIB;

export const E2FSPROGS_REMEDY =
  'install e2fsprogs (Debian, Ubuntu: apt-get install e2fsprogs; Fedora: dnf install e2fsprogs; macOS: brew install e2fsprogs), or give an image of your own with --volume FILE';

export interface Tree {
  readonly files: number;
  /** As they lie on disk, in whole blocks. */
  readonly bytes: number;
}

export async function measureTree(folder: string): Promise<Tree> {
  let files = 0;
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    files++;
    bytes += BLOCK;
    if (entry.isFile()) bytes += Math.ceil((await lstat(path.join(entry.parentPath, entry.name))).size / BLOCK) * BLOCK;
  }
  return { files, bytes };
}

export const imageBytesFor = ({ bytes }: Tree): number => Math.max(IMAGE_BYTES_MIN, Math.ceil((bytes * ROOM) / (16 * MIB)) * 16 * MIB);

/** Same identifiers each time, so that the same files make the same file system. */
const UUID = '6b6f6c64-6661-4374-8465-6d6f30303031';

export async function buildImage(programs: Programs, file: string, files: string, tree: Tree): Promise<number> {
  const sizeBytes = imageBytesFor(tree);
  const inodes = Math.ceil(tree.files * 1.1) + 256;
  const ran = await programs.run('mke2fs', [
    ...['-q', '-t', 'ext4', '-b', String(BLOCK), '-U', UUID, '-E', `hash_seed=${UUID},lazy_itable_init=1`],
    ...['-N', String(inodes), '-d', files, file, `${sizeBytes / 1024}k`],
  ]);
  if (ran.status !== 0)
    throw new HoldfastError('COMPONENT_UNAVAILABLE', `mke2fs ended with ${ran.status}: ${ran.stderr.trim().slice(-400)}`);
  programs.remember(ran, `${tree.files} files in an ext4 image`);
  return sizeBytes;
}

/** Copies a file, by reference where the file system can, else only what is not a hole. */
export async function copySparse(from: string, to: string): Promise<'reflink' | 'sparse copy'> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return 'reflink';
  } catch (error) {
    const codes: unknown[] = ['ENOTSUP', 'ENOSYS', 'EXDEV', 'EINVAL', 'EOPNOTSUPP', 'ENOTTY'];
    if (!(error instanceof Error && 'code' in error && codes.includes(error.code))) throw error;
  }
  await using source = await open(from, 'r');
  await using target = await open(to, 'w', 0o600);
  const { size } = await source.stat();
  await target.truncate(size);
  const buffer = Buffer.alloc(COPY_BYTES);
  for (const range of dataRanges(source.fd, 0, size))
    for (let at = range.offset; at < range.offset + range.length;) {
      const wanted = Math.min(buffer.length, range.offset + range.length - at);
      const { bytesRead } = await source.read(buffer, 0, wanted, at);
      if (bytesRead === 0) throw new HoldfastError('SOURCE_CHANGED', `${from} became shorter while it was copied`, { path: from });
      await target.write(buffer, 0, bytesRead, at);
      at += bytesRead;
    }
  return 'sparse copy';
}

/** The parts of a file that are no holes. Synced first: what is not on disk yet may come to lie in larger pieces there. */
export async function dataOf(file: string): Promise<{ readonly sizeBytes: number; readonly ranges: readonly DataRange[] }> {
  await using handle = await open(file, 'r');
  await handle.sync();
  const { size } = await handle.stat();
  return { sizeBytes: size, ranges: [...dataRanges(handle.fd, 0, size)] };
}

/** Numbers of the extents that hold data. */
export function dataExtents(ranges: readonly DataRange[], extentBytes: number = EXTENT_BYTES_DEFAULT): readonly number[] {
  const extents = new Set<number>();
  for (const { offset, length } of ranges)
    for (let at = Math.floor(offset / extentBytes); at * extentBytes < offset + length; at++) extents.add(at);
  return [...extents];
}

/** BLAKE3 of a whole file, holes as the zeros that they are. */
export async function digestOfFile(file: string): Promise<string> {
  const hasher = new Blake3Hasher();
  const buffer = Buffer.alloc(COPY_BYTES);
  await using handle = await open(file, 'r');
  for (let at = 0; ;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return hasher.digest('hex');
    hasher.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

const SUPERBLOCK = 1024;
const EXT_MAGIC = 0xef53;

/** Block size of an ext2, 3 or 4 file system, or null where there is none. */
export async function extBlockBytes(file: string): Promise<number | null> {
  await using handle = await open(file, 'r');
  const superblock = Buffer.alloc(1024);
  const { bytesRead } = await handle.read(superblock, 0, superblock.length, SUPERBLOCK);
  return bytesRead === superblock.length && superblock.readUInt16LE(56) === EXT_MAGIC ? 1024 << superblock.readUInt32LE(24) : null;
}
