import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, makeTelemetryFilterString, Runtime, Worker, type WorkflowBundle } from '@temporalio/worker';
import { JOB_IDS } from '../../src/domain/jobs.ts';
import { bundleWorkflows } from '../../workers/worker-process.ts';

const FOLDER = path.join(import.meta.dirname, 'histories');

interface Recorded {
  readonly workflowId: string;
  readonly history: unknown;
}

/** Written by record.ts: trusted inside. */
const recorded = (kind: string): Recorded => JSON.parse(readFileSync(path.join(FOLDER, `${kind}.json`), 'utf8')) as Recorded;

const replay = async (bundle: WorkflowBundle, kind: string): Promise<void> => {
  const { workflowId, history } = recorded(kind);
  await Worker.runReplayHistory({ workflowBundle: bundle }, history, workflowId);
};

/** Those that start jobs, and are none. */
const STARTERS = ['runPolicy', 'runTrigger'];
const KINDS = [...Object.keys(JOB_IDS), ...STARTERS];

/** Calls another activity first, or starts another child, than the recorded run did: what a careless change of a workflow looks like. */
function changed(bundle: WorkflowBundle): WorkflowBundle {
  const code = bundle.code
    .replaceAll('.beginJob(', '.beginTheJob(')
    .replaceAll('.replicationPolicies(', '.allReplicationPolicies(')
    .replaceAll(/startChild\)\(job,/g, "startChild)('another',");
  if (code === bundle.code) throw new Error('the canary is gone from the bundle');
  return { ...bundle, code };
}

describe('recorded histories', () => {
  let bundle: WorkflowBundle;
  beforeAll(async () => {
    // The canaries fail on purpose, and their warnings would fill a screen.
    const telemetryOptions = { logging: { filter: makeTelemetryFilterString({ core: 'ERROR' }) } };
    Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [], telemetryOptions });
    bundle = await bundleWorkflows();
  });

  test('there is one of each workflow', () => {
    expect(readdirSync(FOLDER).sort()).toEqual([...KINDS].map((kind) => `${kind}.json`).sort());
  });

  test.each(KINDS)('%s replays on the workflows of today', async (kind) => {
    await replay(bundle, kind);
  });

  test.each(KINDS)('%s does not replay on workflows that were changed', async (kind) => {
    await expect(replay(changed(bundle), kind)).rejects.toBeInstanceOf(DeterminismViolationError);
  });
});
