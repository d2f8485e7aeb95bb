/**
 * A table's archiver and its keeper, as a worker runs them: opened by name, claimed, and going on until they are stopped or the catalog says something
 * else of the table.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../domain/errors.ts';
import { DEFINITION_LOOK_MS } from '../../domain/limits.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { TableDefinition } from '../../engine/catalog/tables.ts';
import { createKafka, type KafkaLine } from '../../ground/kafka/kafka-cluster.ts';
import { archiveTopics, type ArchivingEvent } from './archiving/archiver.ts';
import type { TableArchive } from '../../engine/tables/archive/archive.ts';
import { keepArchive, type KeepingEvent } from './keeping.ts';
import { claimTable } from './opening.ts';

export type TableEvent = (ArchivingEvent | KeepingEvent | ({ readonly kind: 'kafka' } & KafkaLine)) & { readonly table: string };

/** Why it has ended: it was stopped, or the table is another one now, or none. */
export type RunEnd = 'stopped' | 'changed' | 'removed';

export interface TableRun {
  readonly home: Home;
  readonly table: string;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: TableEvent) => void;
  /** The archive that is being written, as long as it is. */
  readonly onOpen?: (archive: TableArchive) => Disposable;
}

/** Archives a table. TABLE_NOT_FOUND, CLAIM_LOST and what else waiting cannot mend. */
export async function runArchiver(run: TableRun): Promise<RunEnd> {
  const { home, table: name, onEvent } = run;
  const { table, archive, epoch } = await claimTable(home, name, 'archive');
  using _ = run.onOpen?.(archive) ?? { [Symbol.dispose]: () => undefined };
  const kafka = await clientOf(run, table, 'archive');
  // Waited for here: what follows the archive ends with it.
  return await untilChanged(run, table, async (signal) => {
    await archiveTopics({ archive, epoch, source: table.source, kafka, signal, onEvent: (event) => onEvent?.({ ...event, table: name }) });
  });
}

/** Keeps a table's archive. `requested`: begins with a snapshot of each partition. TABLE_NOT_ARCHIVED is waited for. */
export async function runKeeper(run: TableRun, requested: boolean): Promise<RunEnd> {
  const { home, table: name, signal, onEvent } = run;
  const claimed = await claimWhenBegun(home, name, signal);
  if (claimed === null) return 'stopped';
  const { table, archive, epoch } = claimed;
  const kafka = await clientOf(run, table, 'keep');
  return untilChanged(run, table, (until) =>
    keepArchive({ archive, epoch, table, kafka, signal: until, requested, onEvent: (event) => onEvent?.({ ...event, table: name }) }),
  );
}

/** The archiver makes the archive. */
async function claimWhenBegun(home: Home, name: string, signal: AbortSignal): Promise<Awaited<ReturnType<typeof claimTable>> | null> {
  while (!signal.aborted) {
    try {
      return await claimTable(home, name, 'snapshots');
    } catch (error) {
      if (!isHoldfastError(error, 'TABLE_NOT_ARCHIVED')) throw error;
      await sleep(DEFINITION_LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  return null;
}

const clientOf = ({ home, table, onEvent }: TableRun, { source }: TableDefinition, what: string) =>
  createKafka(source, {
    clientId: `holdfast-${what}-${table}`,
    variables: home.variables,
    // Enough to try each of the brokers that are named; then the round ends, is begun anew, and what failed is said by us.
    retries: source.brokers.length,
    onLine: (line) => onEvent?.({ kind: 'kafka', ...line, table }),
  });

async function untilChanged(
  { home, table, signal }: TableRun,
  begun: TableDefinition,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<RunEnd> {
  const changed = new AbortController();
  const ended = new AbortController();
  let end: RunEnd = 'stopped';
  const watch = async (): Promise<void> => {
    while (!ended.signal.aborted && !changed.signal.aborted) {
      await sleep(DEFINITION_LOOK_MS, undefined, { signal: ended.signal }).catch(() => undefined);
      // Whoever cannot look now looks again.
      const state = await home.catalog.sync().catch(() => null);
      const now = state?.tables.get(table);
      if (state === null || (now !== undefined && JSON.stringify(now) === JSON.stringify(begun))) continue;
      end = now === undefined ? 'removed' : 'changed';
      changed.abort();
    }
  };
  const watching = watch();
  try {
    await work(AbortSignal.any([signal, changed.signal]));
  } finally {
    ended.abort();
    await watching;
  }
  return signal.aborted ? 'stopped' : end;
}
