/**
 * A seal: an object in the place of a batch that says "the chain ends before me" (docs/journal.md, rule J3).
 *
 * Whoever takes a journal over puts one at the first empty place; the owner's next put finds it there, and stops. Who put it is
 * told for operators alone: nothing is decided by that.
 */
import { z } from 'zod';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import { openHead, refusedObject, sealObject, type Place } from './sealed-object.ts';

const sealSchema = z.object({ by: z.string().max(200), timeMs: z.int() });
export type Seal = z.infer<typeof sealSchema>;

export const formSeal = (key: SealingKey, { epoch, index }: Place, seal: Seal, salt: Uint8Array): Buffer =>
  sealObject(key, { epoch, index, kind: 'seal', codec: 0, head: Buffer.from(JSON.stringify(seal)), body: Buffer.alloc(0) }, salt);

/** Who sealed this place; null: a batch stands there. Refusals as of a batch. */
export function readSeal(key: SealingKey, place: Place, object: string, stored: Buffer): Seal | null {
  const { kind, head, sizeBytes } = openHead(key, place, object, stored);
  if (kind === 'batch') return null;
  if (stored.length !== sizeBytes) throw refusedObject('DAMAGED', object, 'length');
  let said: unknown;
  try {
    said = JSON.parse(head.toString('utf8'));
  } catch {
    throw refusedObject('DAMAGED', object, 'form');
  }
  const parsed = sealSchema.safeParse(said);
  if (!parsed.success) throw refusedObject('DAMAGED', object, 'form');
  return parsed.data;
}
