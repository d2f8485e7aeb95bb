import { setTimeout as sleep } from 'node:timers/promises';
import { WithStartWorkflowOperation, type WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import {
  DETACH_UPDATE,
  JOB_IDS,
  PAUSE_UPDATE,
  QUEUE,
  RESUME_UPDATE,
  UNDELETE_UPDATE,
  type CaptureResult,
  type CopyResult,
} from '../../src/domain/jobs.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { expectSound, raiseStage, statusOf, type Stage } from './stage.ts';

const EXTENT = 64 * 1024;
const spec = {
  sizeBytes: 20 * EXTENT,
  extentBytes: EXTENT,
  writes: Array.from({ length: 10 }, (_, i) => ({ extent: i * 2, content: i * 2 + 2 })),
};
let stage: Stage;
/** While it is pending no job gets beyond its first step. */
let gate: PromiseWithResolvers<void>;
/** The stores in which captures and copies have claimed, each with which it was. */
let claimed: string[];

/** Waits until a job has begun and is planned, and has decided what it does next. */
async function planned(handle: WorkflowHandle): Promise<void> {
  for (;;) {
    const events = (await handle.fetchHistory()).events ?? [];
    const answered = events.filter((event) => event.activityTaskCompletedEventAttributes).length;
    if (answered >= 2 && events.at(-1)?.workflowTaskCompletedEventAttributes) return;
    await sleep(50);
  }
}

const describeTemporal = await describeWith('temporal');
describeTemporal('a job is steered before it has a plan', () => {
  beforeAll(async () => {
    stage = await raiseStage(finder, (activities) => ({
      ...activities,
      async beginJob(...args) {
        await gate.promise;
        return activities.beginJob(...args);
      },
      async openCapture(plan) {
        claimed.push(...plan.stores.map((store) => `capture ${store}`));
        return activities.openCapture(plan);
      },
      async openCopy(plan) {
        claimed.push(...plan.to.map((store) => `copy ${store}`));
        return activities.openCopy(plan);
      },
    }));
    for (const store of ['a', 'b']) await stage.installation.addStore(store);
  });
  afterAll(async () => stage[Symbol.asyncDispose]());
  beforeEach(() => {
    gate = Promise.withResolvers();
    claimed = [];
  });

  test('a pause that comes with its start holds it: no store is claimed in until it is resumed', async () => {
    await stage.installation.addVolume('held', ['a', 'b'], spec);
    const input = { volume: 'held' };
    await stage.client.workflow.executeUpdateWithStart(PAUSE_UPDATE, {
      startWorkflowOperation: new WithStartWorkflowOperation('captureSnapshot', {
        ...{ workflowId: JOB_IDS.captureSnapshot(input), taskQueue: QUEUE, args: [input], workflowIdConflictPolicy: 'FAIL' },
      }),
    });
    const handle = await stage.start('captureSnapshot', input);
    expect(await statusOf(handle)).toMatchObject({ state: 'paused', phase: 'paused by its operator' });
    gate.resolve();
    await planned(handle);
    expect(await statusOf(handle)).toMatchObject({ state: 'paused', phase: 'paused by its operator' });
    expect(claimed).toEqual([]);
    await handle.executeUpdate(RESUME_UPDATE);
    expect(((await handle.result()) as CaptureResult).stores.map((one) => one.kind)).toEqual(['committed', 'committed']);
    await expectSound(stage, 'held', ['a', 'b']);
  });

  test('a store that is to be left behind is not claimed in, and catches up in a job of its own', async () => {
    await stage.installation.addVolume('left', ['a', 'b'], spec);
    const handle = await stage.start('captureSnapshot', { volume: 'left' });
    await handle.executeUpdate(DETACH_UPDATE, { args: ['b'] });
    gate.resolve();
    const { stores, snapshot } = (await handle.result()) as CaptureResult;
    expect(stores).toMatchObject([
      { store: 'a', kind: 'committed' },
      { store: 'b', kind: 'detached', job: `copy.b.${snapshot}`, reason: 'left behind by its operator' },
    ]);
    // The copy may have begun by the time that the capture has told its end.
    expect(claimed.filter((claim) => claim.startsWith('capture'))).toEqual(['capture a']);
    expect(((await stage.client.workflow.getHandle(`copy.b.${snapshot}`).result()) as CopyResult).stores).toMatchObject([
      { store: 'b', kind: 'committed' },
    ]);
    await expectSound(stage, 'left', ['a', 'b']);
  });

  test('a copy is held as well', async () => {
    await stage.installation.addVolume('copied', ['a'], spec);
    gate.resolve();
    const { snapshot } = await stage.run('captureSnapshot', { volume: 'copied' });
    gate = Promise.withResolvers();
    claimed = [];
    const handle = await stage.start('copySnapshot', { volume: 'copied', snapshot, from: 'a', to: ['b'] });
    await handle.executeUpdate(PAUSE_UPDATE);
    gate.resolve();
    await planned(handle);
    expect(await statusOf(handle)).toMatchObject({ state: 'paused', phase: 'paused by its operator' });
    expect(claimed).toEqual([]);
    await handle.executeUpdate(RESUME_UPDATE);
    expect(((await handle.result()) as CopyResult).stores).toMatchObject([{ store: 'b', kind: 'committed' }]);
  });

  test('a delete is taken back before it has hidden anything', async () => {
    await stage.installation.addVolume('spared', ['a'], spec);
    gate.resolve();
    const { snapshot } = await stage.run('captureSnapshot', { volume: 'spared' });
    gate = Promise.withResolvers();
    const handle = await stage.start('deleteSnapshot', { volume: 'spared', store: 'a', snapshot });
    await handle.executeUpdate(UNDELETE_UPDATE);
    gate.resolve();
    expect(await handle.result()).toMatchObject({ outcome: 'undeleted' });
    await expectSound(stage, 'spared', ['a']);
  });
});
