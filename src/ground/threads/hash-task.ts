/**
 * Reads a batch of extents, one pread each, and fingerprints them while they are warm in the cache.
 *
 * What lies past the end of the volume is zeros, so the last extent is fingerprinted as if it were whole and a volume's
 * map does not depend on where within an extent it ends. An extent of zeros is told by comparing with zeros: the compare
 * stops at the first difference and costs nothing on data. Its fingerprint in the slot is 32 zero bytes, which no hash yields.
 */
import { blake3 } from '@napi-rs/blake-hash';
import { readSync } from 'node:fs';
import { HoldfastError } from '../../domain/errors.ts';
import { EXTENT_BYTES_MAX } from '../../domain/limits.ts';
import { slotFingerprint, type HashResult, type HashTask } from './tasks.ts';

const ZEROS = Buffer.alloc(EXTENT_BYTES_MAX);

function readFully(task: HashTask, fd: number, into: Buffer, offset: number): void {
  for (let got = 0; got < into.length;) {
    let read: number;
    try {
      read = readSync(fd, into, got, into.length - got, offset + got);
    } catch (cause) {
      throw new HoldfastError('SOURCE_UNREADABLE', `the source cannot be read at ${offset + got}: ${String(cause)}`, {
        offset: offset + got,
      });
    }
    if (read === 0)
      throw new HoldfastError('SOURCE_CHANGED', `the source ends at ${offset + got}, before its size`, {
        endBytes: offset + got,
        sizeBytes: task.sizeBytes,
      });
    got += read;
  }
}

export function hashTask(task: HashTask): HashResult {
  const slot = Buffer.from(task.slot);
  let readBytes = 0;
  task.extents.forEach((extent, i) => {
    const offset = extent * task.extentBytes;
    const plain = slot.subarray(i * task.extentBytes, (i + 1) * task.extentBytes);
    const length = Math.min(task.extentBytes, task.sizeBytes - offset);
    if (task.fd !== null) {
      readFully(task, task.fd, plain.subarray(0, length), offset);
      readBytes += length;
    }
    plain.fill(0, length);
    const fingerprint = slotFingerprint(slot, i);
    if (plain.equals(ZEROS.subarray(0, plain.length))) fingerprint.fill(0);
    else fingerprint.set(blake3(plain));
  });
  return { readBytes };
}
