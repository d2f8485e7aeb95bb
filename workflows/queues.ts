/**
 * The three ways to call an activity, by what is called and where.
 *
 * Retries have no end of their own: what waiting can mend is waited for, what it cannot is a code that is not retryable. Every
 * activity beats (activities/pulse.ts); a worker that died is missed within ten seconds, whatever it was doing, and the next
 * one goes on where it was.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import type { TableActivities } from '../activities/tables.ts';
import { QUEUE, QUEUE_TABLES } from '../src/domain/jobs.ts';
import { ROUND_TRIES_MAX } from '../src/domain/replication.ts';

const PATIENTLY = {
  heartbeatTimeout: '10 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '30 seconds' },
} as const;

/** Short work on the common queue: the logs, the catalog. */
export const short = proxyActivities<Activities>({ taskQueue: QUEUE, startToCloseTimeout: '2 minutes', ...PATIENTLY });

/** Steps without bulk that must run on a certain queue: claiming, beginning and ending a restore. */
export const brief = (taskQueue: string) => proxyActivities<Activities>({ taskQueue, startToCloseTimeout: '30 minutes', ...PATIENTLY });

/** The same, tried for so long at the most: commits, for a store that is gone must not keep the job open. */
export const briefWithin = (taskQueue: string, withinMs: number) =>
  proxyActivities<Activities>({ taskQueue, scheduleToCloseTimeout: Math.max(withinMs, 60_000), ...PATIENTLY });

/** Asked once: who does not answer by then is asked again another time. */
export const briefOnce = (taskQueue: string, withinMs: number) =>
  proxyActivities<Activities>({ taskQueue, scheduleToCloseTimeout: withinMs, retry: { maximumAttempts: 1 } });

/** Work that moves bytes. */
export const bulk = (taskQueue: string) => proxyActivities<Activities>({ taskQueue, startToCloseTimeout: '12 hours', ...PATIENTLY });

/** The same, tried once: what a base waits for may have to be started by its caller's next look. No worker for two minutes is a failure, too. */
export const bulkOnce = (taskQueue: string) =>
  proxyActivities<Activities>({
    ...{ taskQueue, startToCloseTimeout: '12 hours', scheduleToStartTimeout: '2 minutes' },
    ...{ heartbeatTimeout: PATIENTLY.heartbeatTimeout, retry: { maximumAttempts: 1 } },
  });

/** What MISSING_EXTENTS ends, though it is retryable: before it is tried again something else has to be sent. */
const UNTIL_MISSING = { ...PATIENTLY.retry, nonRetryableErrorTypes: ['MISSING_EXTENTS'] };

/** Rounds of a session, whose tries are numbered. */
export const rounds = (taskQueue: string) =>
  proxyActivities<Activities>({
    ...{ taskQueue, startToCloseTimeout: '12 hours', ...PATIENTLY },
    retry: { ...UNTIL_MISSING, maximumAttempts: ROUND_TRIES_MAX },
  });

/** The closing confirmation of a session: the receiver may prove all of it once more. */
export const confirming = (taskQueue: string) =>
  proxyActivities<Activities>({ taskQueue, startToCloseTimeout: '12 hours', ...PATIENTLY, retry: UNTIL_MISSING });

/** What goes on for as long as a table is archived; it ends when it is told to. */
export const lasting = proxyActivities<TableActivities>({ taskQueue: QUEUE_TABLES, startToCloseTimeout: '365 days', ...PATIENTLY });
