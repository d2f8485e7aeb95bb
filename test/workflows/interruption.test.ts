import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type CaptureResult } from '../../src/domain/jobs.ts';
import { collectGarbage } from '../../src/systems/lifecycle/deletion.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { expectSound, raiseStage, until, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const spec = {
  sizeBytes: 300 * EXTENT,
  extentBytes: EXTENT,
  writes: Array.from({ length: 60 }, (_, i) => ({ extent: i * 4, content: i * 2 + 2 })),
};
let stage: Stage;

/** Nothing is left of attempts: no claim is open once a collection has been. */
async function expectTidy(volume: string, stores: readonly string[]): Promise<void> {
  await expectSound(stage, volume, stores);
  for (const store of stores) {
    const repository = await stage.installation.repository(store, volume);
    await collectGarbage(repository, 'test');
    expect([...repository.ledger().claims.keys()]).toEqual([]);
    expect(repository.ledger().pins.size).toBe(0);
  }
  await expectSound(stage, volume, stores);
}

const describeTemporal = await describeWith('temporal');
describeTemporal('a running capture', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder);
    for (const store of ['a', 'b']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());
  afterEach(() => stage.weather.fair());

  test('that is terminated harms nothing: the next start finishes, with what was sent before', async () => {
    const { weather } = stage;
    await stage.installation.addVolume('terminated', ['a', 'b'], spec);
    weather.slow('b', 'put', 1000);
    const handle = await stage.start('captureSnapshot', { volume: 'terminated' });
    await until(handle, (status) => status.phase === 'shipping');
    await new Promise((resolve) => setTimeout(resolve, 400));
    await handle.terminate('a test');
    weather.fair();
    const next = await stage.run('captureSnapshot', { volume: 'terminated' });
    expect(next.stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    await expectTidy('terminated', ['a', 'b']);
  });

  test('that is reset begins again, and what its first life still does counts for nothing', async () => {
    const { weather, client, temporal } = stage;
    await stage.installation.addVolume('reset', ['a', 'b'], spec);
    weather.slow('b', 'put', 800);
    const handle = await stage.start('captureSnapshot', { volume: 'reset' });
    await until(handle, (status) => status.phase === 'shipping');
    await client.workflowService.resetWorkflowExecution({
      namespace: temporal.namespace,
      workflowExecution: { workflowId: handle.workflowId },
      // The first workflow task: everything is done again.
      workflowTaskFinishEventId: 4 as never,
      reason: 'a test',
      requestId: randomUUID(),
    });
    const result = (await client.workflow.getHandle(handle.workflowId).result()) as CaptureResult;
    expect(result.stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    await expectTidy('reset', ['a', 'b']);
  });

  test('that is cancelled says so, and the next start finishes', async () => {
    const { weather } = stage;
    await stage.installation.addVolume('cancelled', ['a', 'b'], spec);
    weather.slow('b', 'put', 1000);
    const handle = await stage.start('captureSnapshot', { volume: 'cancelled' });
    await until(handle, (status) => status.phase === 'shipping');
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    const state = await stage.installation.home.catalog.sync();
    expect(state.jobs.get('capture.cancelled')?.ended?.outcome).toBe('cancelled');
    weather.fair();
    await stage.run('captureSnapshot', { volume: 'cancelled' });
    await expectTidy('cancelled', ['a', 'b']);
  });
});
