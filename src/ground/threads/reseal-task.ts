/**
 * Takes values from a pack of one repository into packs of others: open, check, seal. A value is decoded once, encoded at
 * most once per codec, and its plain bytes exist for as long as that takes.
 */
import { encodeBody, type Codec, type EncodedBody } from '../sealing/blob.ts';
import { openChecked } from './open-task.ts';
import { fillingOf, sealInto } from './seal-task.ts';
import { slotFingerprint, type OpenResult, type ResealResult, type ResealTask } from './tasks.ts';

export function resealTask(task: ResealTask): ResealResult {
  const slot = Buffer.from(task.slot);
  const fillings = task.packs.map(fillingOf);
  const failures: OpenResult['failures'][number][] = [];
  let encoded = 0;
  task.blobs.forEach((blob, position) => {
    const plain = openChecked(task, slot, blob);
    if (!Buffer.isBuffer(plain)) {
      failures.push({ blob: position, ...plain });
      for (const filling of fillings) if (filling.target.wants[filling.lengths.length] === position) filling.lengths.push(0);
      return;
    }
    const bodies = new Map<Codec, EncodedBody>();
    sealInto(fillings, position, slotFingerprint(slot, blob.place), (codec) => {
      const known = bodies.get(codec);
      if (known !== undefined) return known;
      if (codec !== 'raw') encoded++;
      const body = encodeBody(plain, 'extent', codec);
      bodies.set(codec, body);
      return body;
    });
  });
  return { lengths: fillings.map((filling) => filling.lengths), encoded, failures };
}
