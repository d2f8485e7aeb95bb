/** `npm run bench -- WHAT`: prints every figure that the docs quote, beside the peers' of the same run. */
import { runHydrationBench } from './hydration.ts';
import { runJournalBench } from './journal.ts';
import { runReplicationBench } from './replication.ts';
import { runServedBench } from './served.ts';
import { runTablesBench } from './tables.ts';
import { runVolumesNbdBench } from './volumes-nbd.ts';
import { runVolumesBench } from './volumes.ts';

const BENCHES: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  hydration: runHydrationBench,
  journal: runJournalBench,
  replication: runReplicationBench,
  served: runServedBench,
  tables: runTablesBench,
  volumes: runVolumesBench,
  'volumes-nbd': runVolumesNbdBench,
};

const [, , what = '', ...rest] = process.argv;
const bench = BENCHES[what];
if (bench === undefined) {
  process.stderr.write(`usage: npm run bench -- volumes [--folder DIR] [--rounds N] [--only STEP,...] [--no-peers]
       npm run bench -- hydration [--folder DIR] [--rounds N]
       npm run bench -- served [--folder DIR]
       npm run bench -- journal [--folder DIR] [--rounds N] [--seconds S] [--only PART,...]
       npm run bench -- replication [--folder DIR] [--rounds N]
       npm run bench -- tables [--folder DIR] [--rounds N] [--only STEP,...]
       npm run bench -- volumes-nbd [--folder DIR] [--rounds N] [--seconds S]
`);
  process.exitCode = 2;
} else {
  await bench(rest);
}
