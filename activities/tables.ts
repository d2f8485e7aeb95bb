/**
 * Activities of a table's archive: each goes on for as long as it is wanted. Served by workers of their own (workers/tables-process.ts).
 *
 * A worker that is stopped hands them on: what was not put is read again by the next one, from where the log says.
 */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { archiveTableInput, parseInput, type ArchiveTableInput } from '../src/domain/job-inputs.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import type { TableArchive } from '../src/engine/tables/archive/archive.ts';
import { runArchiver, runKeeper, type RunEnd, type TableEvent, type TableRun } from '../src/systems/tables/running.ts';
import { translated } from './failure.ts';

export interface TableActivityParts {
  readonly home: Home;
  readonly onEvent?: (event: TableEvent) => void;
  readonly onOpen?: (table: string, archive: TableArchive) => Disposable;
}

export type { RunEnd };

export const createTableActivities = ({ home, onEvent, onOpen }: TableActivityParts) => {
  const runOf = (input: ArchiveTableInput): TableRun => {
    const { table } = parseInput(archiveTableInput, 'archiveTable', input);
    const signal = Context.current().cancellationSignal;
    return { home, table, signal, ...(onEvent ? { onEvent } : {}), ...(onOpen ? { onOpen: (archive) => onOpen(table, archive) } : {}) };
  };
  return translated({
    archiveTopics: (input: ArchiveTableInput): Promise<RunEnd> => handedOn(runArchiver(runOf(input))),
    /** `requested`: a snapshot of each partition comes first. */
    keepTable: (input: ArchiveTableInput, requested: boolean): Promise<RunEnd> => handedOn(runKeeper(runOf(input), requested)),
  });
};
export type TableActivities = ReturnType<typeof createTableActivities>;

/** Stopped by its worker's end, and not by the workflow: another worker is to go on. */
async function handedOn(run: Promise<RunEnd>): Promise<RunEnd> {
  const end = await run;
  const context = Context.current();
  if (!context.cancellationSignal.aborted) return end;
  const reason: unknown = await context.cancelled.catch((error: unknown) => error);
  if (reason instanceof Error && reason.message === 'WORKER_SHUTDOWN')
    throw ApplicationFailure.retryable('the worker was stopped', 'NODE_UNAVAILABLE');
  throw reason;
}
