/** The upkeep of journals: regions that lack something are filled, bases are taken and folded, old points go, and what a group's state was is told. */
import { renameSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { LOOK_AGAIN_SIGNAL } from '../../src/domain/jobs.ts';
import type { StoreName } from '../../src/domain/ids.ts';
import { findProtection } from '../../src/engine/catalog/protections.ts';
import { holdsAll, isWhole } from '../../src/engine/journal/holdings.ts';
import { currentEpoch, type JournalState } from '../../src/engine/journal/state.ts';
import { openProtection } from '../../src/systems/protection/home-journal.ts';
import { useDisk } from '../engine/volumes/nbd/disk-user.ts';
import { cli } from '../faces/cli/run-cli.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { raiseSite, type Site } from './protected-site.ts';
import { raiseStage, statusOf, type Stage } from './stage.ts';

const SIZE = 4 * 1024 * 1024;
const MEMBERS = ['near', 'far', 'third'].map((region) => ({ region: region as StoreName, domain: region }));

let stage: Stage;
let site: Site;
let count = 0;

async function stateOf(journal: string): Promise<JournalState> {
  const { home } = stage.installation;
  const { reading } = await openProtection({ home, threads: stage.threads }, findProtection(await home.catalog.sync(), journal));
  return reading.journal.log.sync();
}

/** Looks so often as `wanted` is not met. */
async function looked(journal: string, wanted: () => Promise<boolean>): Promise<void> {
  const upkeep = await stage.start('protectDomain', { journal });
  for (const from = Date.now(); !(await wanted()); await sleep(300)) {
    if (Date.now() - from > 90_000) throw new Error(`it is ${JSON.stringify(await statusOf(upkeep))}`);
    await upkeep.signal(LOOK_AGAIN_SIGNAL);
  }
}

const describeTemporal = await describeWith('temporal');
describeTemporal('the upkeep of a journal', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder);
    for (const store of ['log', 'near', 'far', 'third']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());
  beforeEach(async () => {
    site = await raiseSite(stage, `n${++count}`);
    await site.start();
    await site.attach('disk', SIZE);
  });
  afterEach(async () => site[Symbol.asyncDispose]());

  test('a region that took the place of one that is gone is filled, and nothing is held once; then the upkeep ends with its journal', async () => {
    const { installation } = stage;
    await site.protect('filled', ['disk'], { mode: 'pair', members: MEMBERS });
    using user = await useDisk(site.uri('disk'));
    for (let i = 0; i < 50; i++) await user.write(i * 4096, Buffer.alloc(4096, i));
    await user.flush();
    const far = installation.storeFolder('far');
    renameSync(far, `${far}.away`);
    try {
      // Answered when the third region has taken its place.
      await user.write(0, Buffer.alloc(4096, 200));
      await user.flush();
      expect(currentEpoch(await stateOf('filled'))?.members.map(({ region }) => region)).toEqual(['near', 'third']);
      await looked('filled', async () => {
        const state = await stateOf('filled');
        return [...state.epochs.values()].every((epoch) => epoch.end === null || holdsAll(state, 'third', epoch));
      });
      // The one that was started, if it has not ended yet.
      const filled = await stage.run('backfillRegion', { journal: 'filled', region: 'third' as StoreName });
      expect(filled).toMatchObject({ region: 'third', atRiskBytes: 0 });
    } finally {
      renameSync(`${far}.away`, far);
    }
    await installation.home.catalog.append(() => ({ kind: 'PROTECTION_REMOVE', journal: 'filled' }));
    const upkeep = await stage.start('protectDomain', { journal: 'filled' });
    await upkeep.signal(LOOK_AGAIN_SIGNAL);
    expect(await upkeep.result()).toEqual({ journal: 'filled' });
  }, 180_000);

  test('members were replaced, and order was lost: `protect start` has what they lack copied, then takes a base, and ends', async () => {
    const { installation, temporal } = stage;
    const away = (store: string, is: boolean): void => {
      const folder = installation.storeFolder(store);
      if (is) renameSync(folder, `${folder}.away`);
      else renameSync(`${folder}.away`, folder);
    };
    await site.protect('replaced', ['disk'], { mode: 'pair', members: MEMBERS });
    // First `third` takes the place of `far`, then `far` that of `near`: neither has all that was written.
    {
      using user = await useDisk(site.uri('disk'));
      const write = async (fill: number): Promise<void> => {
        for (let i = 0; i < 20; i++) await user.write(i * 4096, Buffer.alloc(4096, fill + i));
        await user.flush();
      };
      await write(1);
      for (const [gone, members] of [
        ['far', ['near', 'third']],
        ['near', ['third', 'far']],
      ] as const) {
        away(gone, true);
        await write(50);
        expect(currentEpoch(await stateOf('replaced'))?.members.map(({ region }) => region)).toEqual(members);
        away(gone, false);
      }
      await user.leave();
    }
    const lacking = async (): Promise<readonly string[]> => {
      const state = await stateOf('replaced');
      return (currentEpoch(state)?.members ?? []).map(({ region }) => region).filter((region) => !isWhole(state, region));
    };
    expect(await lacking()).toEqual(['third', 'far']);
    // Protected anew: behind a gap. In an epoch of the same members.
    await site.host.disks.unprotect('replaced');
    const variables = {
      ...{ ...installation.variables, HOLDFAST_HOME: site.folder, HOLDFAST_HOST: site.name },
      ...{ HOLDFAST_CATALOG: `file://${path.join(installation.folder, 'home')}` },
      ...{ HOLDFAST_TEMPORAL_ADDRESS: temporal.address, HOLDFAST_TEMPORAL_NAMESPACE: temporal.namespace },
    };
    const regions = ['third', 'far', 'near'].flatMap((region) => ['--region', region]);
    const started = await cli(['protect', 'start', 'replaced', 'disk', '--mode', 'pair', '--log', 'log', ...regions], { variables });
    expect({ code: started.code, err: started.err }).toMatchObject({
      code: 0,
      err: expect.stringMatching(/third has no base: third lacks/),
    });
    await site.until('replaced', 'PROTECTED', 'CATCHING_UP');
    expect(await lacking()).toEqual([]);
    await installation.home.catalog.append(() => ({ kind: 'PROTECTION_REMOVE', journal: 'replaced' }));
  }, 240_000);

  test('a group that waits for a base gets one; what is older than its window goes; and its states are told', async () => {
    const { installation, threads } = stage;
    const { home } = installation;
    using user = await useDisk(site.uri('disk'));
    await user.write(0, Buffer.alloc(4096, 1));
    const members = MEMBERS.slice(0, 2);
    const log = 'log' as StoreName;
    await site.host.disks.protect({ format: 1, journal: 'kept', disks: ['disk'], mode: 'local', log, members });
    await home.catalog.append(() => ({
      kind: 'PROTECTION_SET',
      protection: {
        ...{ journal: 'kept', host: site.name, mode: 'local', log, members, extentBytes: 64 * 1024, retainMs: 0 },
        disks: [{ disk: 'disk', sizeBytes: SIZE }],
      },
    }));
    await looked('kept', async () => (await site.host.disks.protection())[0]?.state === 'PROTECTED');
    for (let i = 0; i < 20; i++) await user.write(i * 4096, Buffer.alloc(4096, i + 1));
    const seq = await site.point('kept');
    // In both regions: each is kept as far as it has everything itself.
    await looked('kept', async () => (await site.host.disks.protection())[0]?.members.every(({ lagRecords }) => lagRecords === 0) === true);
    await looked('kept', async () => (await home.catalog.sync()).groupStates.get('kept')?.state === 'PROTECTED');

    // The hour is not waited for: a new run keeps at its first look.
    await (await stage.start('protectDomain', { journal: 'kept' })).terminate('the next run keeps at once');
    await looked('kept', async () => (await stateOf('kept')).floor >= seq);
    expect((await stateOf('kept')).bases.size).toBe(2);
    const { reading } = await openProtection({ home, threads }, findProtection(await home.catalog.sync(), 'kept'));
    expect(reading.lost.size).toBe(0);

    await site.end('SIGKILL');
    await looked('kept', async () => (await home.catalog.sync()).groupStates.get('kept')?.state === 'UNKNOWN');
    await site.start();
    await looked('kept', async () => (await home.catalog.sync()).groupStates.get('kept')?.state === 'PROTECTED');

    await home.catalog.append(() => ({ kind: 'REGION_LOST', journal: 'kept', region: 'far' as StoreName }));
    const without = await openProtection({ home, threads }, findProtection(await home.catalog.sync(), 'kept'));
    expect([[...without.reading.lost], [...without.bases.keys()]]).toEqual([['far'], ['near']]);
    await home.catalog.append(() => ({ kind: 'REGION_BACK', journal: 'kept', region: 'far' as StoreName }));
    await home.catalog.append(() => ({ kind: 'PROTECTION_REMOVE', journal: 'kept' }));
  }, 240_000);
});
