import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { runCampaign, tableOf } from './campaign.ts';
import { POINTS } from './points.ts';
import { writeScript } from './script.ts';

/** About twenty seconds; `npm run faults -- --seed S --runs M` goes on from here. */
const RUNS = 3;
const SEED = 20_261;

test('a script is a function of its seed, and each point has its name once', () => {
  expect(writeScript({ seed: 7 })).toEqual(writeScript({ seed: 7 }));
  expect(writeScript({ seed: 7 })).not.toEqual(writeScript({ seed: 8 }));
  expect(new Set(POINTS.map(({ name }) => name)).size).toBe(POINTS.length);
});

const describeS3 = await describeWith('s3');
describeS3('processes killed at named points', () => {
  test.each([{ store: 'file' }, { store: 's3' }] as const)(
    '$store: what was acknowledged is there, and nothing is left over',
    async ({ store }) => {
      const folder = mkdtempSync(path.join(tmpdir(), 'hf-faults-test-'));
      try {
        const report = await runCampaign({
          seed: SEED,
          runs: store === 'file' ? RUNS : 1,
          store,
          folder,
          finder,
          say: () => undefined,
        });
        expect(report.failed).toEqual([]);
        // Which points a short set meets depends on how its processes interleave; that it kills at all does not.
        expect(report.kills.size).toBeGreaterThan(0);
        process.stderr.write(tableOf(report));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
    180_000,
  );
});
