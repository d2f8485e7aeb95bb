/**
 * A stage for tests of workflows: one real Temporal server, one bundle and in-process workers on all queues, for one test file.
 *
 * The workers are those of a controller and a node, with the same activities over the same home as the test, so that a test can
 * look at what a job did without a second cache. Workflow ids are the business keys: a test that wants a job of its own uses a
 * volume of its own.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { DefaultLogger, makeTelemetryFilterString, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createActivities, type Activities } from '../../activities/index.ts';
import {
  hostQueue,
  JOB_IDS,
  QUEUE,
  QUEUE_DATA,
  STATUS_QUERY,
  type JobInputs,
  type JobKind,
  type JobResults,
  type JobStatus,
} from '../../src/domain/jobs.ts';
import { volumeName } from '../../src/domain/ids.ts';
import { audit } from '../../src/engine/repository/audit.ts';
import { newestVisible } from '../../src/engine/repository/transfer-reader.ts';
import type { FinderOptions } from '../../src/faces/stack/component.ts';
import { startTemporal, type RunningTemporal } from '../../src/faces/stack/temporal.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { DiskServer } from '../../src/systems/serving/disk-server.ts';
import { pinnedOrigin } from '../../src/systems/serving/origin.ts';
import { bundleWorkflows } from '../../workers/worker-process.ts';
import { digestOfImage } from '../systems/image.ts';
import { restoreSnapshot } from '../systems/restore-snapshot.ts';
import { createInstallation, HOST, type Installation } from '../systems/installation.ts';
import { isPointOrigin } from '../../src/engine/volumes/disks/disk-record.ts';
import { diskFolderOf, hooksFolderOf, openHost } from '../../src/engine/volumes/host.ts';
import { createWeather, type Weather } from './weather.ts';

export interface Stage extends AsyncDisposable {
  readonly installation: Installation;
  readonly weather: Weather;
  readonly temporal: RunningTemporal;
  readonly client: Client;
  readonly threads: Threads;
  start<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<WorkflowHandle>;
  run<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<JobResults[Kind]>;
  /** A disk server on the host of the stage's node, in this process. */
  serveDisks(): Promise<DiskServer>;
  /** The code that a job fails with; an error when it succeeds. */
  failure<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<string>;
}

/** `interfere` stands between the workers and the activities: what others do at such a moment is done there. */
export async function raiseStage(
  finder: FinderOptions,
  interfere: (activities: Activities, installation: Installation) => Activities = (activities) => activities,
): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const telemetryOptions = { logging: { filter: makeTelemetryFilterString({ core: 'ERROR' }) } };
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [], telemetryOptions });
  const weather = createWeather();
  const installation = stack.use(await createInstallation({ decorate: weather.decorate, retry: { attempts: 2, baseDelayMs: 10 } }));
  const temporal = stack.use(await startTemporal({ logFile: path.join(installation.folder, 'temporal.log') }, finder));
  const threads = stack.use(new Threads({ count: 2 }));
  const connection = await NativeConnection.connect({ address: temporal.address });
  stack.defer(() => connection.close());
  const activities = interfere(
    createActivities({ home: installation.home, host: openHost(HOST, installation.folder), threads }),
    installation,
  );
  const { namespace } = temporal;
  const common = { connection, namespace, activities, shutdownGraceTime: 0, shutdownForceTime: 2000 };
  const workers = [
    await Worker.create({ ...common, taskQueue: QUEUE, workflowBundle: await bundleWorkflows() }),
    await Worker.create({ ...common, taskQueue: QUEUE_DATA }),
    await Worker.create({ ...common, taskQueue: hostQueue(HOST) }),
  ];
  const running = Promise.allSettled(workers.map((worker) => worker.run()));
  stack.defer(async () => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
  });
  const clientConnection = await Connection.connect({ address: temporal.address });
  stack.defer(() => clientConnection.close());
  const client = new Client({ connection: clientConnection, namespace });
  const lasting = stack.move();

  const start: Stage['start'] = (kind, input) =>
    client.workflow.start(kind, {
      workflowId: JOB_IDS[kind](input as never),
      taskQueue: QUEUE,
      args: [input],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
  return {
    ...{ installation, weather, temporal, client, threads, start },
    // A job's result is what its workflow returns; jobs.ts says which.
    run: async (kind, input) => (await (await start(kind, input)).result()) as never,
    serveDisks: () =>
      DiskServer.start({
        folder: diskFolderOf(installation.folder),
        hooksFolder: hooksFolderOf(installation.folder),
        ...{ listen: null, certificates: null, onEvent: () => undefined },
        originOf(from) {
          if (isPointOrigin(from)) throw new Error('no point of a journal is served here');
          return pinnedOrigin(() => Promise.resolve({ home: installation.home, threads }), from);
        },
      }),
    async failure(kind, input) {
      const handle = await start(kind, input);
      return failureOf(handle);
    },
    [Symbol.asyncDispose]: () => lasting.disposeAsync(),
  };
}

/** The code that a job ends with. */
export async function failureOf(handle: WorkflowHandle): Promise<string> {
  try {
    await handle.result();
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (cause instanceof ApplicationFailure) return cause.type ?? 'none';
    throw error;
  }
  throw new Error(`${handle.workflowId} has not failed`);
}

export const statusOf = (handle: WorkflowHandle): Promise<JobStatus> => handle.query<JobStatus>(STATUS_QUERY);

/** Polls until a job's status is as wanted; the last one is in the error when it never is. */
export async function until(handle: WorkflowHandle, wanted: (status: JobStatus) => boolean, withinMs = 45_000): Promise<JobStatus> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const status = await statusOf(handle);
    if (wanted(status)) return status;
    if (performance.now() > deadline) throw new Error(`${handle.workflowId} stays at ${JSON.stringify(status)}`);
    await sleep(50);
  }
}

/** Each store's counts are what a walk of its maps says. */
export async function expectCounted(
  { installation }: Pick<Stage, 'installation'>,
  volume: string,
  stores: readonly string[],
): Promise<void> {
  for (const store of stores) {
    const problems = await audit(await installation.repository(store, volume));
    if (problems.length > 0) throw new Error(`${store}: ${JSON.stringify(problems.slice(0, 5))}`);
  }
}

/** What has to hold after any job: the counts, and that the newest snapshot restores to the image as it is now, from each store. */
export async function expectSound(
  stage: Pick<Stage, 'installation' | 'threads'>,
  volume: string,
  stores: readonly string[],
): Promise<void> {
  const { installation, threads } = stage;
  await expectCounted(stage, volume, stores);
  for (const store of stores) {
    const repository = await installation.repository(store, volume);
    const newest = newestVisible(repository, volumeName(volume));
    const target = path.join(installation.folder, `${volume}.${store}.restored`);
    await restoreSnapshot(repository, threads, { volume: volumeName(volume), snapshot: newest.id, target });
    if (digestOfImage(target) !== digestOfImage(installation.imageOf(volume))) throw new Error(`${store}: ${newest.id} is not the volume`);
    rmSync(target);
  }
}
