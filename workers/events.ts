/** Events out and in within a controller: the relay and the triggers, with the process's home, Temporal, metrics and log around them. */
import { createHash } from 'node:crypto';
import { Client, isGrpcServiceError, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { HoldfastError, isHoldfastError, messageOf } from '../src/domain/errors.ts';
import { QUEUE, type TriggerInput } from '../src/domain/jobs.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import type { TriggerRecord } from '../src/engine/catalog/triggers.ts';
import type { IncomingEvent } from '../src/engine/events/incoming.ts';
import { createEventMetrics } from '../src/systems/events/event-metrics.ts';
import { startEvents, type EventsService, type EventsServiceOptions } from '../src/systems/events/events-service.ts';

const CALL_WITHIN_MS = 15_000;
const INVALID_ARGUMENT = 3;

/** The same for the same event, however often it comes; CloudEvents makes source and id together what an event is known by. */
export const triggerWorkflowId = (trigger: string, { source, id }: Pick<IncomingEvent, 'source' | 'id'>): string =>
  `trigger.${trigger}.${createHash('sha256').update(`${source}\0${id}`).digest('hex').slice(0, 32)}`;

/** How an event starts a job. Rejects with TEMPORAL_UNREACHABLE while nobody can be asked, with ARGUMENT_INVALID when it is refused. */
export function createTriggerStart(connection: NativeConnection, namespace: string): EventsServiceOptions['start'] {
  const client = new Client({ connection, namespace });
  return async (trigger: TriggerRecord, event: IncomingEvent) => {
    const { job, input } = trigger.start;
    const args: [TriggerInput] = [
      {
        ...{ trigger: trigger.name, event: { id: event.id, source: event.source }, job },
        // Checked against the job's schema when the trigger was added.
        input: input as unknown as TriggerInput['input'],
      },
    ];
    try {
      await connection.withDeadline(Date.now() + CALL_WITHIN_MS, () =>
        client.workflow.start('runTrigger', {
          ...{ workflowId: triggerWorkflowId(trigger.name, event), taskQueue: QUEUE, args },
          ...{ workflowIdReusePolicy: 'REJECT_DUPLICATE' as const, workflowIdConflictPolicy: 'FAIL' as const },
          staticSummary: `${trigger.name}: ${job} for an event of ${event.source}`.slice(0, 200),
        }),
      );
      return 'started';
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return 'duplicate';
      for (let at: unknown = error; at instanceof Error; at = at.cause)
        if (isGrpcServiceError(at) && at.code === INVALID_ARGUMENT) throw new HoldfastError('ARGUMENT_INVALID', at.details);
      throw new HoldfastError('TEMPORAL_UNREACHABLE', `Temporal does not start ${job}: ${messageOf(error)}`, {}, error);
    }
  };
}

/** A process of this host that has ended holds nothing; of other hosts nobody here can say. */
export function isGoneFrom(host: string): (holder: string) => boolean {
  return (holder) => {
    const pid = Number(holder.slice(host.length + 1));
    if (!holder.startsWith(`${host}/`) || !Number.isInteger(pid)) return false;
    try {
      process.kill(pid, 0);
      return false;
    } catch (error) {
      return error instanceof Error && 'code' in error && error.code === 'ESRCH';
    }
  };
}

export interface WorkerEventsParts {
  readonly home: Home;
  readonly host: string;
  readonly connection: NativeConnection;
  readonly namespace: string;
  readonly registry: Registry;
  readonly log: Logger;
}

export function startWorkerEvents({ home, host, connection, namespace, registry, log }: WorkerEventsParts): EventsService {
  let service: EventsService | null = null;
  const metrics = createEventMetrics(registry, () => service?.states() ?? []);
  service = startEvents({
    ...{ home, start: createTriggerStart(connection, namespace), isGone: isGoneFrom(host) },
    observer: {
      sent: (events) => metrics.sent?.(events),
      started(trigger, outcome) {
        metrics.started?.(trigger, outcome);
        log.info({ trigger, outcome }, 'an event asked for a job');
      },
      passed(passed) {
        metrics.passed?.(passed);
        log.warn(passed, 'an event was passed over');
      },
      failed(at, error) {
        metrics.failed?.(at, error);
        const facts = { at, error: isHoldfastError(error) ? error.message : error instanceof Error ? error.stack : String(error) };
        log[isHoldfastError(error) ? 'warn' : 'error'](facts, 'events wait');
      },
      kafkaLine: ({ message, facts }) => log.debug({ ...facts }, `kafka: ${message}`),
    },
  });
  return service;
}
