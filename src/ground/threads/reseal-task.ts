/**
 * Takes values from a pack of one repository into packs of others: open, check, seal. A value is decoded once (that is the
 * check), and a body that is stored as the taker wants it is sealed as it is; else it is encoded, at most once per codec.
 */
import { fitsCodec } from '../sealing/blob.ts';
import { openChecked } from './open-task.ts';
import { encoderOf, fillingOf, sealInto } from './seal-task.ts';
import { slotFingerprint, type OpenResult, type ResealResult, type ResealTask } from './tasks.ts';

export function resealTask(task: ResealTask): ResealResult {
  const slot = Buffer.from(task.slot);
  const fillings = task.packs.map(fillingOf);
  const failures: OpenResult['failures'][number][] = [];
  const tally = { encoded: 0 };
  task.blobs.forEach((blob, position) => {
    const checked = openChecked(task, slot, blob);
    if ('code' in checked) {
      failures.push({ blob: position, ...checked });
      for (const filling of fillings) if (filling.target.wants[filling.lengths.length] === position) filling.lengths.push(0);
      return;
    }
    const { body, plain } = checked;
    const encode = encoderOf(plain, tally);
    sealInto(fillings, position, slotFingerprint(slot, blob.place), (codec) => (fitsCodec(body, codec) ? body : encode(codec)));
  });
  return { lengths: fillings.map((filling) => filling.lengths), failures, ...tally };
}
