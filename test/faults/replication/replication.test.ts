import { expect, test } from '@jest/globals';
import { RECEIVER_POINTS, SENDER_POINTS } from './points.ts';
import { replicationTable, runReplicationCampaign } from './campaign.ts';
import { writeScript } from './script.ts';

/** About twenty seconds: kills on both sides, rivals, a link that goes, and one of the loss test. `npm run faults -- replication --seed S --runs M` goes on from here. */
const RUNS = 6;
const SEED = 19;

test('a script is a function of its seed, and each point has its name once', () => {
  expect(writeScript(7)).toEqual(writeScript(7));
  expect(writeScript(7)).not.toEqual(writeScript(8));
  expect(new Set([...SENDER_POINTS, ...RECEIVER_POINTS]).size).toBe(SENDER_POINTS.length + RECEIVER_POINTS.length);
});

test('what senders were told is there, whatever became of processes, messages and packs', async () => {
  const report = await runReplicationCampaign({ seed: SEED, runs: RUNS, say: () => undefined, trace: () => undefined });
  expect(report.failed).toEqual([]);
  // Which points a short set meets depends on how its processes interleave; that it kills, loses and heals does not.
  expect(report.kills.size).toBeGreaterThan(0);
  expect(report.counts.pushedAgain).toBeGreaterThan(0);
  process.stderr.write(replicationTable(report));
}, 240_000);
