/** `npm run bench -- volumes`: prints every figure that the docs quote, beside the peers' of the same run. */
import { runVolumesBench } from './volumes.ts';

const [, , what, ...rest] = process.argv;
if (what !== 'volumes') {
  process.stderr.write('usage: npm run bench -- volumes [--folder DIR] [--rounds N] [--only STEP,...] [--no-peers]\n');
  process.exitCode = 2;
} else {
  await runVolumesBench(rest);
}
