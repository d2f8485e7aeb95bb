/**
 * Scenes with the real Temporal and the real worker processes: one of them dies in the middle of a job, and the job ends well.
 *
 * Each scene has a volume of its own. What "well" means is the same for all: the job's result, every store's counts, and the
 * newest snapshot restored bit for bit from each store.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CaptureResult, CopyResult, StoreOutcome, VerifyResult } from '../../src/domain/jobs.ts';
import { expectSound } from '../workflows/stage.ts';
import type { Cast } from './cast.ts';

export interface Scene {
  readonly name: string;
  play(cast: Cast, volume: string): Promise<void>;
}

const EXTENT = 64 * 1024;
/** Two packs of noise: four to six seconds for the slow store. */
const EXTENTS = 380;

async function addVolume({ installation }: Cast, volume: string, stores: readonly string[]): Promise<void> {
  const writes = Array.from({ length: EXTENTS }, (_, extent) => ({ extent, content: 2 * (extent + 1) }));
  await installation.addVolume(volume, stores, { sizeBytes: 2 * EXTENTS * EXTENT, extentBytes: EXTENT, writes });
}

function demandCommitted(stores: readonly StoreOutcome[]): void {
  const others = stores.filter((one) => one.kind !== 'committed');
  if (others.length > 0) throw new Error(`not committed: ${JSON.stringify(others)}`);
}

export const SCENES: readonly Scene[] = [
  {
    name: 'two captures of one volume join, and the node is killed in the middle',
    async play(cast, volume) {
      await addVolume(cast, volume, ['fast', 'slow']);
      const handles = await Promise.all([1, 2].map(() => cast.start('captureSnapshot', { volume })));
      await cast.packsIn('fast', volume, 1);
      await cast.kill('node');
      cast.begin('node');
      const [first, second] = (await Promise.all(handles.map((handle) => handle.result()))) as CaptureResult[];
      if (first?.snapshot !== second?.snapshot) throw new Error('two captures ran');
      demandCommitted(first?.stores ?? []);
      await expectSound(cast, volume, ['fast', 'slow']);
    },
  },
  {
    name: 'the controller is killed in the middle of a copy and of a verification',
    async play(cast, volume) {
      await addVolume(cast, volume, ['fast']);
      const { snapshot } = (await (await cast.start('captureSnapshot', { volume })).result()) as CaptureResult;
      const copy = await cast.start('copySnapshot', { volume, snapshot, from: 'fast', to: ['slow'] });
      const verification = await cast.start('verifyStore', { volume, store: 'fast', depth: 'all' });
      await sleep(1500);
      await cast.kill('controller');
      cast.begin('controller');
      demandCommitted(((await copy.result()) as CopyResult).stores);
      const { damaged, valuesChecked } = (await verification.result()) as VerifyResult;
      if (damaged.length > 0 || valuesChecked !== EXTENTS) throw new Error(`verified ${valuesChecked}, damaged ${damaged.length}`);
      await expectSound(cast, volume, ['fast', 'slow']);
    },
  },
  {
    name: 'Temporal is killed in the middle of a capture, and comes back on its file',
    async play(cast, volume) {
      await addVolume(cast, volume, ['fast', 'slow']);
      const handle = await cast.start('captureSnapshot', { volume });
      await cast.packsIn('fast', volume, 1);
      await cast.killTemporal();
      await sleep(1000);
      await cast.beginTemporal();
      demandCommitted(((await handle.result()) as CaptureResult).stores);
      await expectSound(cast, volume, ['fast', 'slow']);
    },
  },
  {
    name: 'the S3 server is killed in the middle of a capture, and comes back',
    async play(cast, volume) {
      await addVolume(cast, volume, ['s3', 'slow']);
      const handle = await cast.start('captureSnapshot', { volume });
      await sleep(700);
      await cast.s3.strike();
      demandCommitted(((await handle.result()) as CaptureResult).stores);
      await expectSound(cast, volume, ['s3', 'slow']);
    },
  },
  {
    name: 'Ctrl-C of the node in the middle of a capture: it leaves within its grace, and the next one goes on',
    async play(cast, volume) {
      await addVolume(cast, volume, ['fast', 'crawl']);
      const handle = await cast.start('captureSnapshot', { volume });
      await cast.packsIn('fast', volume, 1);
      const status = await cast.interrupt('node');
      if (status !== 0) throw new Error(`the node ended with ${status}`);
      cast.begin('node');
      demandCommitted(((await handle.result()) as CaptureResult).stores);
      await expectSound(cast, volume, ['fast', 'crawl']);
    },
  },
];
