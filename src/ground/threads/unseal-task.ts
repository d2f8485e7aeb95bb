/**
 * Opens the blobs of a range of a pack, checks each against its fingerprint, and leaves its body in the slot.
 *
 * For a taker that seals by itself: the body goes over the wire as it is stored, compressed or raw, and is decoded here for
 * the check alone. It lies where its ciphertext lay, behind the codec byte, and is never longer.
 */
import { openChecked } from './open-task.ts';
import type { OpenResult, StoredBlob, UnsealResult, UnsealTask } from './tasks.ts';

/** Where a blob's body lies once it is unsealed. */
export const unsealedAt = (start: number, { offset }: Pick<StoredBlob, 'offset'>): number => offset - start + 1;

export function unsealTask(task: UnsealTask): UnsealResult {
  const slot = Buffer.from(task.slot);
  const failures: OpenResult['failures'][number][] = [];
  const bodies: UnsealResult['bodies'][number][] = [];
  task.blobs.forEach((blob, i) => {
    const checked = openChecked(task, slot, blob);
    if ('code' in checked) {
      failures.push({ blob: i, ...checked });
      return;
    }
    const { codec, bytes } = checked.body;
    slot.set(bytes, unsealedAt(task.start, blob));
    bodies.push({ blob: i, codec, length: bytes.length });
  });
  return { bodies, failures };
}
