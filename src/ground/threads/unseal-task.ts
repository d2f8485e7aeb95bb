/**
 * Opens the blobs of a range of a pack as far as their bodies, into a buffer that the caller is given.
 *
 * For a taker that seals by itself: the body goes over the wire as it is stored, compressed or raw. Its seal was made under its
 * fingerprint, so what opens is what was sealed as that; decoding it to hold it against the fingerprint once more is two thirds of the
 * work, and is done `inFull` only where somebody doubts.
 */
import { openBody, openChecked } from './open-task.ts';
import { SLOT_BYTES, type OpenResult, type UnsealResult, type UnsealTask } from './tasks.ts';

export function unsealTask(task: UnsealTask): UnsealResult {
  const slot = Buffer.from(task.slot);
  const failures: OpenResult['failures'][number][] = [];
  const bytes = task.room === null ? Buffer.allocUnsafeSlow(SLOT_BYTES) : Buffer.from(task.room);
  let end = 0;
  const bodies: UnsealResult['bodies'][number][] = [];
  task.blobs.forEach((blob, i) => {
    const checked = task.inFull ? openChecked(task, slot, blob) : null;
    const opened = checked !== null && 'code' in checked ? checked : openBody(task, slot, blob, bytes.subarray(end));
    if ('code' in opened) failures.push({ blob: i, ...opened });
    else if (opened.codec > 1) failures.push({ blob: i, code: 'UPGRADE_REQUIRED', message: `unknown codec ${opened.codec} of a blob` });
    else {
      const { codec, bytes: body } = opened;
      // It is there already where OpenSSL could be told to write it there.
      if (body.buffer !== bytes.buffer) bytes.set(body, end);
      bodies.push({ blob: i, codec, offset: end, length: body.length });
      end += body.length;
    }
  });
  return { bytes: bytes.buffer, bodies, failures };
}
