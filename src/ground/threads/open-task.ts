/**
 * Opens the blobs of a range of a pack, checks each against its fingerprint, and writes what they hold where it belongs.
 *
 * A blob that does not open or is not what its fingerprint says is reported and nothing of it is written; the others go on.
 * A target that cannot be written ends the task.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { HoldfastError } from '../../domain/errors.ts';
import { BODY_BYTES_MAX, decodeBody, unsealBlob, type UnsealedBlob } from '../sealing/blob.ts';
import { writeFully } from './target-writes.ts';
import { slotFingerprint, type OpenResult, type OpenTarget, type OpenTask, type StoredBlob } from './tasks.ts';

type Failure = OpenResult['failures'][number];

/** Buffers of a thread for the blob at hand; what is in them is gone with the next one. */
let rooms: Rooms | undefined;

interface Rooms {
  readonly body: Buffer;
  readonly plain: Buffer;
}

export interface CheckedBlob {
  readonly body: UnsealedBlob;
  readonly plain: Buffer;
}

/** A blob whose bytes are what its fingerprint says, or why they are not. Valid until the next call. */
export function openChecked(task: Pick<OpenTask, 'key' | 'start'>, slot: Buffer, blob: StoredBlob): CheckedBlob | Omit<Failure, 'blob'> {
  rooms ??= { body: Buffer.allocUnsafeSlow(BODY_BYTES_MAX), plain: Buffer.allocUnsafeSlow(BODY_BYTES_MAX) };
  const { plain: room } = rooms;
  return opened(task, slot, blob, rooms.body, (body, fingerprint) => {
    const plain = decodeBody(body, fingerprint, blob.offset, room);
    return blake3(plain).equals(fingerprint) ? { body, plain } : NOT_ITS_OWN;
  });
}

/**
 * A blob's body as its seal holds it to its fingerprint: what was sealed under that, and not held against it again. It lies in `room`,
 * or in a buffer of its own.
 */
export function openBody(
  task: Pick<OpenTask, 'key' | 'start'>,
  slot: Buffer,
  blob: StoredBlob,
  room: Uint8Array,
): UnsealedBlob | Omit<Failure, 'blob'> {
  return opened(task, slot, blob, room, (body) => body);
}

const NOT_ITS_OWN = { code: 'DAMAGED', message: 'a stored value is not what its fingerprint says' } as const;

function opened<T>(
  task: Pick<OpenTask, 'key' | 'start'>,
  slot: Buffer,
  blob: StoredBlob,
  room: Uint8Array,
  use: (body: UnsealedBlob, fingerprint: Buffer) => T | typeof NOT_ITS_OWN,
): T | Omit<Failure, 'blob'> {
  const at = blob.offset - task.start;
  const fingerprint = slotFingerprint(slot, blob.place);
  try {
    const body = unsealBlob(slot.subarray(at, at + blob.length), blob.offset, task.key, fingerprint, room);
    return body.kind === 'extent' ? use(body, fingerprint) : NOT_ITS_OWN;
  } catch (error) {
    if (error instanceof HoldfastError) return { code: error.code, message: error.message };
    throw error;
  }
}

function writeInParts({ fd, partBytes }: OpenTarget, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length; at += partBytes) writeFully(fd, [bytes.subarray(at, at + partBytes)], offset + at);
}

export function openTask(task: OpenTask): OpenResult {
  const slot = Buffer.from(task.slot);
  const failures: Failure[] = [];
  let plainBytes = 0;
  let writtenBytes = 0;
  task.blobs.forEach((blob, i) => {
    const checked = openChecked(task, slot, blob);
    if ('code' in checked) {
      failures.push({ blob: i, ...checked });
      return;
    }
    const { plain } = checked;
    plainBytes += plain.length;
    if (task.target === null) return;
    for (const offset of blob.targets) {
      const part = plain.subarray(0, Math.max(0, Math.min(plain.length, task.target.sizeBytes - offset)));
      writeInParts(task.target, part, offset);
      writtenBytes += part.length;
    }
  });
  return { plainBytes, writtenBytes, failures };
}
