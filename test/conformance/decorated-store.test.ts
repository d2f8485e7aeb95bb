import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededFaults, withFaults } from '../../src/ground/stores/faulty.ts';
import { createFileStore } from '../../src/ground/stores/file-store.ts';
import { withLimits } from '../../src/ground/stores/limited.ts';
import { withMeasure } from '../../src/ground/stores/measured.ts';
import { withRetry } from '../../src/ground/stores/retrying.ts';
import { objectStoreSuite } from './object-store-suite.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

objectStoreSuite(
  `a file store with all decorators, one call in four unclear (HOLDFAST_SEED=${seed})`,
  async () => {
    const root = await mkdtemp(join(tmpdir(), 'holdfast-decorated-'));
    const disk = createFileStore({ root, durability: 'os', create: true });
    const chances = { 'lost-answer': 0.12, unavailable: 0.1, delay: 0.05, 'partial-delete': 0.03 };
    const faulty = withFaults(disk, seededFaults({ seed, chances, delayMsMax: 3 }));
    const limited = withLimits(withMeasure(faulty, { name: 'faulty' }), { concurrency: 16 });
    // That every attempt of a call is unclear has a chance of 4 to the power of -30.
    const store = withRetry(limited, { attempts: 30, budget: { share: 30, burst: 10_000 }, sleep: () => Promise.resolve() });
    return { store, dispose: () => rm(root, { recursive: true, force: true }) };
  },
  { raceRounds: 20, claimsEqualBytes: true },
);
