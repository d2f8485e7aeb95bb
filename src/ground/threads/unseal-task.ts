/**
 * Opens the blobs of a range of a pack, and leaves their bodies in the slot.
 *
 * For a taker that seals by itself: the body goes over the wire as it is stored, compressed or raw. Its seal was made under its
 * fingerprint, so what opens is what was sealed as that; decoding it to hold it against the fingerprint once more is two thirds of the
 * work, and is done `inFull` only where somebody doubts. A body lies where its ciphertext lay, behind the codec byte, and is never longer.
 */
import { openBody, openChecked } from './open-task.ts';
import type { OpenResult, StoredBlob, UnsealResult, UnsealTask } from './tasks.ts';

/** Where a blob's body lies once it is unsealed. */
export const unsealedAt = (start: number, { offset }: Pick<StoredBlob, 'offset'>): number => offset - start + 1;

export function unsealTask(task: UnsealTask): UnsealResult {
  const slot = Buffer.from(task.slot);
  const failures: OpenResult['failures'][number][] = [];
  const bodies: UnsealResult['bodies'][number][] = [];
  task.blobs.forEach((blob, i) => {
    const opened = task.inFull ? openChecked(task, slot, blob) : openBody(task, slot, blob);
    if ('code' in opened) {
      failures.push({ blob: i, ...opened });
      return;
    }
    const { codec, bytes } = 'body' in opened ? opened.body : opened;
    if (codec > 1) {
      failures.push({ blob: i, code: 'UPGRADE_REQUIRED', message: `unknown codec ${codec} of a blob` });
      return;
    }
    slot.set(bytes, unsealedAt(task.start, blob));
    bodies.push({ blob: i, codec, length: bytes.length });
  });
  return { bodies, failures };
}
