/**
 * An image that a receiver has restored of what its sender had sealed, opened at the sender's side with the passphrase alone: no home, no
 * store, no receiver. docs/replication.md section 8.
 *
 * The target is written under a name aside and gets its own when it is whole and synced: it is there with all its bytes, or not at all.
 * Zeros stay holes. An extent that does not open is named and the rest is looked at as well, so that one run says all that is lost.
 * Memory is that of one sealed extent and its plain bytes.
 */
import { randomBytes } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { HoldfastError, isHoldfastError, messageOf } from '../../domain/errors.ts';
import { EXTENT_BYTES_MIN } from '../../domain/limits.ts';
import {
  beginsSealed,
  isZeros,
  SEALABLE_EXTENT_BYTES_MAX,
  sealedBytes,
  sealedKeys,
  sealedLengthAt,
  unsealExtent,
  type SealedKeys,
} from '../../engine/replication/sending/sealed.ts';
import { asideOf, clearAsides, land, prepareLanding, unwritable } from '../../ground/stores/landing.ts';
import { dataRanges } from '../../ground/libc/libc.ts';
import { sealingSecret } from './sender-sealing.ts';

export interface Unsealing {
  /** File: as the receiver's operator has restored it. */
  readonly sealed: string;
  /** Path that is not there yet. */
  readonly target: string;
  readonly passphrase: string;
  /** Of the volume, to cut what fills its last extent; null: whole extents. */
  readonly sizeBytes: number | null;
  readonly signal?: AbortSignal;
  /** Sealed bytes that were gone over, of those that are no holes. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface Unsealed {
  readonly target: string;
  readonly sizeBytes: number;
  /** Null: all is zeros, and their length is not known. */
  readonly extentBytes: number | null;
  /** Extents that are not zeros. */
  readonly extents: number;
}

/** Numbers of extents that an error names; it says how many there are beside. */
const NAMED_MAX = 100;
/** Where a sealed extent may begin, at the least so far apart. */
const STEP_BYTES = sealedBytes(EXTENT_BYTES_MIN);
const SEALED_BYTES_MAX = sealedBytes(SEALABLE_EXTENT_BYTES_MAX);
/** Places that are looked at for a first sealed extent: 512 MiB of data. */
const STEPS_MAX = 16_384;
/** Of those that look like one, how many are tried: damage is seldom so wide, and a wrong passphrase opens none. */
const TRIES_MAX = 32;

/**
 * TARGET_EXISTS, TARGET_FULL, TARGET_UNWRITABLE; DAMAGED with the numbers of the extents that do not open; PASSPHRASE_WRONG when none of the
 * first ones opens, which damage would look like as well. Nothing is left at the target then.
 */
export async function unseal(options: Unsealing): Promise<Unsealed> {
  const { sealed, target, passphrase } = options;
  await using source = await openSource(sealed);
  const { size, isFile } = await source.stat().then((stats) => ({ size: stats.size, isFile: stats.isFile() }));
  if (!isFile) throw unreadable(sealed, 'it is no file');
  const keys = sealedKeys(await sealingSecret(passphrase));
  const image = measure(source, size, await findLength(source, size, keys), options.sizeBytes);
  const owner = randomBytes(8).toString('hex');
  await prepareLanding(target, owner);
  const aside = asideOf(target, owner, '1');
  try {
    const extents = await write(image, keys, aside, options);
    await land(target, aside);
    const { sealedLength, sizeBytes } = image;
    return { target, sizeBytes, extentBytes: sealedLength === null ? null : sealedLength / 2, extents };
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  } finally {
    await clearAsides(target, owner);
  }
}

const unreadable = (sealed: string, why: string, cause?: unknown): HoldfastError =>
  new HoldfastError('SOURCE_UNREADABLE', `${sealed} cannot be read: ${why}`, { path: sealed }, cause);

const openSource = (sealed: string): Promise<FileHandle> =>
  open(sealed, 'r').catch((cause: unknown) => {
    throw unreadable(sealed, messageOf(cause), cause);
  });

async function readAt(source: FileHandle, into: Buffer, position: number): Promise<Buffer> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await source.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return into.subarray(0, done);
}

/** The length of the image's sealed extents, by the first that opens; null: the image is zeros. */
async function findLength(source: FileHandle, size: number, keys: SealedKeys): Promise<number | null> {
  const head = Buffer.alloc(SEALED_BYTES_MAX);
  let tries = 0;
  let hasData = false;
  for (const at of placesOf(source, size)) {
    const start = await readAt(source, head.subarray(0, STEP_BYTES), at);
    hasData ||= !isZeros(start);
    if (!beginsSealed(start)) continue;
    const found = await readAt(source, head, at);
    const length = unlessDamaged(() => sealedLengthAt(keys, found));
    if (length !== null && at % length === 0) return length;
    if (++tries === TRIES_MAX) break;
  }
  if (tries > 0)
    throw new HoldfastError(
      'PASSPHRASE_WRONG',
      tries === 1
        ? 'the only sealed extent that was found does not open: the passphrase is not the one it was sealed with, or the image is damaged'
        : `none of the first ${tries} sealed extents opens: the passphrase is not the one they were sealed with, or the image is damaged`,
      { tried: tries },
    );
  if (hasData)
    throw new HoldfastError('DAMAGED', 'the image has no extent that a sender sealed: it is none of a sealed volume, or damaged');
  return null;
}

/** Offsets at which a sealed extent may begin and that are no holes, ascending. */
function* placesOf(source: FileHandle, size: number): Generator<number> {
  let [looked, next] = [0, 0];
  for (const { offset, length } of dataRanges(source.fd, 0, size))
    for (let at = Math.max(next, offset - (offset % STEP_BYTES)); at < offset + length; at += STEP_BYTES) {
      next = at + STEP_BYTES;
      yield at;
      if (++looked === STEPS_MAX) return;
    }
}

function unlessDamaged<T>(work: () => T): T | null {
  try {
    return work();
  } catch (error) {
    if (isHoldfastError(error, 'DAMAGED')) return null;
    throw error;
  }
}

interface Image {
  readonly source: FileHandle;
  /** Of the source. */
  readonly size: number;
  readonly sealedLength: number | null;
  /** Of the target. */
  readonly sizeBytes: number;
}

/** What the target will be, before anything is written. */
function measure(source: FileHandle, size: number, sealedLength: number | null, wanted: number | null): Image {
  // Of zeros nothing says how long the extents are, so a size has the most as its bound.
  const plainLength = sealedLength === null ? 0 : sealedLength / 2;
  const whole = sealedLength === null ? Math.floor(size / 2) : Math.ceil(size / sealedLength) * plainLength;
  const least = plainLength === 0 ? 0 : whole - plainLength + 1;
  if (wanted !== null && (wanted > whole || wanted < least))
    throw new HoldfastError('ARGUMENT_INVALID', 'no volume of this size was sealed so', {
      field: '--size',
      expected: `from ${least} to ${whole} bytes`,
    });
  return { source, size, sealedLength, sizeBytes: wanted ?? whole };
}

/** Writes the target aside; how many extents are not zeros. */
async function write(image: Image, keys: SealedKeys, aside: string, { target, signal, onProgress }: Unsealing): Promise<number> {
  const { source, sealedLength, sizeBytes } = image;
  await using file = await open(aside, 'wx', 0o600).catch((cause: unknown) => {
    throw unwritable(target, cause);
  });
  const put = async (work: Promise<unknown>): Promise<void> => {
    await work.catch((cause: unknown) => {
      throw unwritable(target, cause);
    });
  };
  await put(file.truncate(sizeBytes));
  if (sealedLength === null) return 0;
  const room = Buffer.alloc(sealedLength);
  const lost: number[] = [];
  let [extents, lostCount, doneBytes] = [0, 0, 0];
  let totalBytes = 0;
  for (const _ of extentsWithData(image, sealedLength)) totalBytes += sealedLength;
  for (const extent of extentsWithData(image, sealedLength)) {
    signal?.throwIfAborted();
    const sealed = await readAt(source, room, extent * sealedLength);
    onProgress?.((doneBytes += sealedLength), totalBytes);
    if (isZeros(sealed) && sealed.length === sealedLength) continue;
    extents++;
    const plain = plainOf(keys, sealed);
    const at = extent * (sealedLength / 2);
    if (plain === null && ++lostCount <= NAMED_MAX) lost.push(extent);
    // Once one is lost nothing comes of the target; what else is lost is still to be said.
    if (plain !== null && lostCount === 0) await put(writeAt(file, plain.subarray(0, sizeBytes - at), at));
  }
  if (lostCount > 0) throw damagedAt(lost, lostCount, extents);
  return extents;
}

const SAID_MAX = 10;

const damagedAt = (lost: readonly number[], count: number, of: number): HoldfastError =>
  new HoldfastError(
    'DAMAGED',
    `${count} of ${of} sealed extents do not open: number ${lost.slice(0, SAID_MAX).join(', ')}${count > SAID_MAX ? ' and more' : ''}`,
    { count, extents: lost },
  );

/** Numbers of the extents of which some part is no hole, or is not there, ascending, each once. */
function* extentsWithData({ source, size }: Image, sealedLength: number): Generator<number> {
  let next = 0;
  for (const { offset, length } of dataRanges(source.fd, 0, size))
    for (let extent = Math.max(next, Math.floor(offset / sealedLength)); extent * sealedLength < offset + length; extent++) {
      next = extent + 1;
      yield extent;
    }
  const whole = Math.floor(size / sealedLength);
  if (next <= whole && whole * sealedLength < size) yield whole;
}

/** It does not open, or is cut: null. */
const plainOf = (keys: SealedKeys, sealed: Buffer): Buffer | null => unlessDamaged(() => unsealExtent(keys, sealed));

async function writeAt(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
}
