import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { storeName } from '../../src/domain/ids.ts';
import { JOB_IDS, type CaptureResult, type JobKind } from '../../src/domain/jobs.ts';
import { ensureTemporal } from '../../src/faces/stack/components.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { useDisk } from '../engine/volumes/nbd/disk-user.ts';
import { digestOfImage, writeExtents } from '../systems/image.ts';
import { raiseSite } from './protected-site.ts';
import { raiseReceiver, type StagedReceiver } from './replication-stage.ts';
import { expectSound, raiseStage, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const page = readFileSync(path.join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
/** The page's command lines for Temporal's own client, in the order of the page. */
const lines = page.split('\n').filter((line) => line.startsWith('temporal workflow '));
const startOf = (kind: string): string | undefined => lines.find((line) => line.startsWith(`temporal workflow start --type ${kind} `));

test('the operations page has a line for each workflow', () => {
  for (const kind of Object.keys(JOB_IDS)) expect([kind, startOf(kind)]).toEqual([kind, expect.any(String)]);
});

const describeTemporal = await describeWith('temporal');
describeTemporal("with Temporal's own client alone", () => {
  let stage: Stage;
  let receiver: StagedReceiver;
  let snapshot = 'SNAPSHOT';
  let environment: NodeJS.ProcessEnv;

  beforeAll(async () => {
    stage = await raiseStage(finder);
    for (const store of ['local', 'cloud', 'there']) await stage.installation.addStore(store);
    receiver = await raiseReceiver(stage, 'there');
    await receiver.enter('offsite');
    const writes = Array.from({ length: 20 }, (_, i) => ({ extent: i * 2, content: i * 2 + 2 }));
    await stage.installation.addVolume('db', ['local'], { sizeBytes: 50 * EXTENT, extentBytes: EXTENT, writes });
    const folder = path.dirname((await ensureTemporal(finder)).path);
    environment = {
      ...process.env,
      PATH: `${folder}:${process.env['PATH']}`,
      TEMPORAL_ADDRESS: stage.temporal.address,
      TEMPORAL_NAMESPACE: stage.temporal.namespace,
    };
  });
  afterAll(async () => {
    await receiver[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  const target = (): string => path.join(stage.installation.folder, 'db.restored');
  /** A line as a person would run it, with the names of this installation in it. */
  const runLine = async (line: string): Promise<string> => {
    const here = line
      .replaceAll('SNAPSHOT', snapshot)
      .replaceAll('/tmp/db.img', target())
      .replaceAll('/tmp/db-disk.img', path.join(stage.installation.folder, 'db-disk.img'));
    return (await promisify(execFile)('/bin/sh', ['-c', here], { env: environment })).stdout;
  };
  const idIn = (line: string): string => (/--workflow-id (\S+)/.exec(line)?.[1] ?? '').replaceAll('SNAPSHOT', snapshot);
  const start = async (kind: JobKind) => {
    const line = startOf(kind) ?? '';
    await runLine(line);
    return stage.client.workflow.getHandle(idIn(line));
  };

  test('every workflow starts from its line and ends well', async () => {
    const captured = (await (await start('captureSnapshot')).result()) as CaptureResult;
    snapshot = captured.snapshot;
    for (const kind of ['copySnapshot', 'replicateSnapshot', 'restoreVolume', 'verifyStore', 'collectGarbage'] as const) {
      const result: unknown = await (await start(kind)).result();
      expect([kind, result]).toEqual([kind, expect.objectContaining({})]);
    }
    expect(existsSync(target())).toBe(true);
    expect(digestOfImage(target())).toBe(digestOfImage(stage.installation.imageOf('db')));
    const removal = await start('deleteSnapshot');
    await until(removal, (status) => status.state === 'waiting');
    await (await start('captureSnapshot')).result();
    expect(await removal.result()).toMatchObject({ outcome: 'reclaimed', snapshot });
    await expectSound(stage, 'db', ['local', 'cloud']);
  }, 120_000);

  test('disks are attached, captured together, restored at once and detached from their lines', async () => {
    await using disks = await stage.serveDisks();
    await stage.installation.addVolume('db-log', ['local'], { sizeBytes: 20 * EXTENT, extentBytes: EXTENT, writes: [] });
    await stage.run('attachVolume', { volume: 'db-log' });
    for (const kind of ['attachVolume', 'captureGroup', 'hydrateDisk'] as const) {
      const result: unknown = await (await start(kind)).result();
      expect([kind, result]).toEqual([kind, expect.objectContaining({})]);
    }
    expect(disks.disks).toHaveLength(3);
    await (await start('detachDisk')).result();
    expect(disks.disks).not.toContain('db');
    expect(digestOfImage(path.join(stage.installation.folder, 'db-disk.img'))).toBe(digestOfImage(stage.installation.imageOf('db')));
  });

  test('protected disks fail over, fail back, are tried out, filled up and looked after from their lines', async () => {
    await using one = await raiseSite(stage, 'site-one');
    await using two = await raiseSite(stage, 'site-two');
    await Promise.all([one.start(), two.start()]);
    await one.attach('ledger', 4 * 1024 * 1024);
    const members = ['local', 'cloud'].map((region) => ({ region: storeName(region), domain: region }));
    await one.protect('db', ['ledger'], { log: storeName('there'), members });
    {
      using user = await useDisk(one.uri('ledger'));
      await user.write(0, Buffer.from('written'));
    }
    await one.point('db');
    expect(await (await start('failover')).result()).toMatchObject({ from: 'site-one', to: 'site-two' });
    expect(await (await start('failback')).result()).toMatchObject({ from: 'site-two', to: 'site-one' });
    expect((await one.images(['ledger']))[0]?.subarray(0, 7).toString()).toBe('written');
    expect(await (await start('testFailover')).result()).toMatchObject({ passed: true });
    expect(await (await start('backfillRegion')).result()).toMatchObject({ region: 'cloud', atRiskBytes: 0 });
    const upkeep = await start('protectDomain');
    await until(upkeep, ({ phase }) => /PROTECTED|CATCHING_UP/.test(phase), 60_000);
    await stage.installation.home.catalog.append(() => ({ kind: 'PROTECTION_REMOVE', journal: 'db' }));
    await runLine(lines.find((line) => line.includes('lookAgain')) ?? '');
    expect(await upkeep.result()).toEqual({ journal: 'db' });
  }, 240_000);

  test('a start while it runs joins, under the id that the product gives it', async () => {
    const input: unknown = JSON.parse(/--input '(.*)'/.exec(startOf('captureSnapshot') ?? '')?.[1] ?? '');
    expect(idIn(startOf('captureSnapshot') ?? '')).toBe(JOB_IDS.captureSnapshot(input as { volume: string }));
    // Something to send: a capture that finds nothing new touches no pack, and nothing would hold it up.
    writeExtents(stage.installation.imageOf('db'), 50 * EXTENT, EXTENT, [{ extent: 1, content: 1000 }]);
    stage.weather.slow('local', 'put', 3000);
    stage.weather.slow('local', 'get', 3000);
    const first = await start('captureSnapshot');
    const { runId } = await first.describe();
    await start('captureSnapshot');
    expect((await first.describe()).runId).toBe(runId);
    stage.weather.fair();
    await first.result();
  });

  test('the lines that follow a job answer', async () => {
    // That of a signal is for a job that runs.
    const following = lines.filter((line) => !/^temporal workflow (start|signal) /.test(line));
    expect(following.length).toBeGreaterThan(0);
    for (const line of following) expect([line, await runLine(line)]).toEqual([line, expect.any(String)]);
  });
});
