/**
 * The client for jobs: starts them under their business ids, looks at them, and asks things of them.
 *
 * Starting twice joins the run that is there, so a command that was interrupted can simply be given again. A job is Temporal's:
 * this process may end at any moment and nothing is lost by it. Whether a start joined is told by the memo, which the first
 * start wrote; visibility is only eventually consistent and decides nothing.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { TemporalAccess } from '../../ground/configuration/temporal-access.ts';
import { JOB_IDS, QUEUE, STATUS_QUERY, type JobInputs, type JobKind, type JobStatus, type UnitProgress } from '../../domain/jobs.ts';
import { describeInput, searchValues } from './job-descriptions.ts';
import { readDescription, readStatus, type PendingStep } from './job-description-reader.ts';
import { setSchedule, type ScheduledPolicy } from './replication-schedules.ts';
import { isUnanswered, translateCall } from './temporal-failures.ts';

export interface StartedJob {
  readonly id: string;
  readonly runId: string;
  readonly kind: JobKind;
  /** A run under this id was there already: this is that one, with the options that it was begun with. */
  readonly joined: boolean;
}

export interface JobView {
  readonly id: string;
  readonly runId: string;
  readonly kind: string;
  /** As Temporal says it: RUNNING, COMPLETED, FAILED, CANCELLED, TERMINATED, TIMED_OUT, CONTINUED_AS_NEW. */
  readonly status: string;
  readonly begunMs: number;
  readonly endedMs: number | null;
  /** Null: no worker could tell. */
  readonly progress: JobStatus | null;
  readonly units: readonly UnitProgress[];
  readonly steps: readonly PendingStep[];
}

export interface Poller {
  readonly identity: string;
  readonly seenMs: number;
}

export interface JobClient extends AsyncDisposable {
  readonly address: string;
  start<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): Promise<StartedJob>;
  /** Under an id that it was begun with before. */
  startAs<Kind extends JobKind>(id: string, kind: Kind, input: JobInputs[Kind]): Promise<StartedJob>;
  look(id: string, runId?: string): Promise<JobView>;
  /** Resolves when the job has ended; rejects with what it failed with. */
  result(id: string, runId?: string): Promise<unknown>;
  /** Those that Temporal knows, newest first. */
  list(options: { readonly running: boolean; readonly limit: number }): Promise<readonly JobView[]>;
  update(id: string, update: string, ...args: readonly [] | readonly [unknown]): Promise<unknown>;
  signal(id: string, signal: string): Promise<void>;
  cancel(id: string): Promise<void>;
  /** Makes the schedule of a policy what the policy says; none when it is not by the clock. */
  schedule(policy: ScheduledPolicy): Promise<void>;
  pollers(queue: string, kind: 'workflow' | 'activity'): Promise<readonly Poller[]>;
  serverVersion(): Promise<string>;
}

const CONNECT_WITHIN_MS = 5_000;
const CALL_WITHIN_MS = 15_000;
/** A query waits for a worker; progress must not wait for long. */
const QUERY_WITHIN_MS = 2_000;
/** An update is answered by a worker. */
const UPDATE_WITHIN_MS = 30_000;
const QUEUE_TYPES = { workflow: 1, activity: 2 } as const;

const ATTRIBUTES = {
  volume: defineSearchAttributeKey('HoldfastVolume', SearchAttributeType.KEYWORD),
  store: defineSearchAttributeKey('HoldfastStore', SearchAttributeType.KEYWORD),
  state: defineSearchAttributeKey('HoldfastState', SearchAttributeType.KEYWORD),
} as const;

const IDS: { readonly [Kind in JobKind]: (input: JobInputs[Kind]) => string } = JOB_IDS;

/** gRPC tries for the whole of its time although nobody listens; a plain connection knows at once, and knows why. */
async function requireListener(address: string): Promise<void> {
  const colon = address.lastIndexOf(':');
  const socket = connect({
    host: address.slice(0, colon).replaceAll(/[[\]]/g, ''),
    port: Number(address.slice(colon + 1)),
    timeout: CONNECT_WITHIN_MS,
  });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_WITHIN_MS) });
  } catch (cause) {
    throw new HoldfastError('TEMPORAL_UNREACHABLE', `the Temporal server at ${address} does not answer`, { address }, cause);
  } finally {
    socket.destroy();
  }
}

/** It listens and nothing sensible comes: one side speaks TLS and the other does not, or a certificate does not fit. */
const unspoken = (address: string, cause: unknown): HoldfastError =>
  new HoldfastError(
    'TEMPORAL_UNREACHABLE',
    `something listens at ${address} and does not answer as a Temporal server; are the TEMPORAL_TLS settings those that it wants?`,
    { address },
    cause,
  );

export async function connectJobs({ address, namespace, security }: TemporalAccess): Promise<JobClient> {
  const at = { address, namespace };
  const calling = async <T>(work: () => Promise<T>, job?: string): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw translateCall(error, job === undefined ? at : { ...at, job });
    }
  };
  const secured = security();
  await requireListener(address);
  const connection = await calling(() => Connection.connect({ address, ...secured, connectTimeout: CONNECT_WITHIN_MS })).catch(
    (error: unknown) => {
      throw isHoldfastError(error) ? error : unspoken(address, error);
    },
  );
  const client = new Client({ connection, namespace });
  // Calls under way end when the client is closed: the SDK would try them again on a connection that is no more.
  const closing = new AbortController();
  const untilClosed = <T>(work: () => Promise<T>): Promise<T> => connection.withAbortSignal(closing.signal, work);
  const within = <T>(ms: number, work: () => Promise<T>): Promise<T> => untilClosed(() => connection.withDeadline(Date.now() + ms, work));
  const handleOf = (id: string, runId?: string): WorkflowHandle => client.workflow.getHandle(id, runId);

  const statusOf = async (handle: WorkflowHandle): Promise<JobStatus | null> => {
    try {
      return readStatus(await within(QUERY_WITHIN_MS, () => handle.query(STATUS_QUERY)));
    } catch (error) {
      if (isUnanswered(error)) return null;
      throw error;
    }
  };

  const startAs = <Kind extends JobKind>(id: string, kind: Kind, input: JobInputs[Kind]): Promise<StartedJob> =>
    calling(async () => {
      const token = randomUUID();
      const { volume, store } = searchValues(kind, input);
      const { summary, details } = describeInput(kind, input);
      const handle = await within(CALL_WITHIN_MS, () =>
        client.workflow.start(kind, {
          workflowId: id,
          taskQueue: QUEUE,
          args: [input],
          workflowIdConflictPolicy: 'USE_EXISTING',
          staticSummary: summary,
          staticDetails: details,
          memo: { holdfastStart: token },
          typedSearchAttributes: [
            ...(volume === null ? [] : [{ key: ATTRIBUTES.volume, value: volume }]),
            ...(store === null ? [] : [{ key: ATTRIBUTES.store, value: store }]),
            { key: ATTRIBUTES.state, value: 'running' },
          ],
        }),
      );
      const { memo, runId } = await within(CALL_WITHIN_MS, () => handleOf(id, handle.firstExecutionRunId).describe());
      return { id, runId, kind, joined: memo?.['holdfastStart'] !== token };
    }, id);

  return {
    address,
    start: (kind, input) => startAs(IDS[kind](input), kind, input),
    startAs,
    look: (id, runId) =>
      calling(async () => {
        const handle = handleOf(id, runId);
        const described = readDescription(await within(CALL_WITHIN_MS, () => handle.describe()));
        return { ...described, progress: described.status === 'RUNNING' ? await statusOf(handle) : null };
      }, id),
    result: async (id, runId) => {
      try {
        return (await untilClosed(() => handleOf(id, runId).result())) as unknown;
      } catch (error) {
        throw translateCall(error, { ...at, job: id });
      }
    },
    list: ({ running, limit }) =>
      calling(async () => {
        const types = Object.keys(JOB_IDS).map((type) => `'${type}'`);
        const query = `WorkflowType IN (${types.join(', ')})${running ? " AND ExecutionStatus = 'Running'" : ''}`;
        const found: JobView[] = [];
        for await (const info of client.workflow.list({ query, pageSize: limit })) {
          const { workflowId: id, runId, type: kind, status, startTime, closeTime } = info;
          const times = { begunMs: startTime.getTime(), endedMs: closeTime?.getTime() ?? null };
          found.push({ id, runId, kind, status: status.name, ...times, progress: null, units: [], steps: [] });
          if (found.length >= limit) break;
        }
        return found;
      }),
    update: (id, update, ...args) =>
      calling(
        () =>
          within(UPDATE_WITHIN_MS, () =>
            args.length === 0
              ? handleOf(id).executeUpdate<unknown, []>(update)
              : handleOf(id).executeUpdate<unknown, [unknown]>(update, { args: [args[0]] }),
          ),
        id,
      ),
    signal: (id, signal) => calling(() => within(CALL_WITHIN_MS, () => handleOf(id).signal(signal)), id),
    cancel: (id) => calling(async () => void (await within(CALL_WITHIN_MS, () => handleOf(id).cancel())), id),
    schedule: (policy) => calling(() => within(CALL_WITHIN_MS, () => setSchedule(client, policy))),
    pollers: (queue, kind) =>
      calling(async () => {
        const { pollers } = await within(CALL_WITHIN_MS, () =>
          connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType: QUEUE_TYPES[kind] }),
        );
        return (pollers ?? []).map(({ identity, lastAccessTime }) => ({
          identity: identity ?? '',
          seenMs: Number(lastAccessTime?.seconds ?? 0) * 1000,
        }));
      }),
    serverVersion: () =>
      calling(async () => (await within(CALL_WITHIN_MS, () => connection.workflowService.getSystemInfo({}))).serverVersion),
    async [Symbol.asyncDispose]() {
      closing.abort();
      await connection.close();
    },
  };
}
