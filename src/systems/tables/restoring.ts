/**
 * A past state as something new (system F), in steps that a workflow may call again:
 *
 *     planRestoring     what was asked for becomes one moment, place or transaction; what the output leaves open is settled
 *     prepareRestoring  the target is free, or this job's own work
 *     writePast         folds, proves, writes; from the log and the segments alone, never from the live table
 *     endRestoring      tidies up; after a failure takes away what was begun
 *
 * A try that died leaves nothing at the target and folds anew: the same moment gives the same rows, which the hash shows.
 */
import { availableParallelism } from 'node:os';
import { DUCKDB_FOLD_BYTES } from '../../domain/limits.ts';
import type { PastAsked, PastOutput } from '../../domain/past-states.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { TableArchive } from '../../engine/tables/archive/archive.ts';
import { Duck } from '../../engine/tables/archive/duck.ts';
import { buildPastState } from '../../engine/tables/past-state/past-state.ts';
import { endOutput, isLanded, prepareOutput, writeOutput } from '../../engine/tables/outputs/output.ts';
import { parseSqlTable } from '../../engine/tables/outputs/sql-text.ts';
import type { SettledOutput } from '../../engine/tables/outputs/targets.ts';
import { columnReport, typeRows, type ColumnReport } from '../../engine/tables/outputs/typed-rows.ts';
import type { KafkaSource, TableDefinition } from '../../engine/catalog/tables.ts';
import { interceptStore, receivedBytes } from '../../ground/stores/intercept.ts';
import { openTable } from './opening.ts';
import { builtOrThrow, proofReport, settleAsked, targetOf, type ProofReport } from './restoring-outcome.ts';

export interface RestoringPlan {
  readonly table: string;
  readonly asked: Exclude<PastAsked, { kind: 'latest' }>;
  readonly output: SettledOutput;
}

export interface Restored {
  readonly proof: ProofReport;
  readonly columns: readonly ColumnReport[];
  readonly readBytes: number;
}

export interface RestoringCall {
  /** Of the job: the same for all its tries. */
  readonly owner: string;
  readonly signal?: AbortSignal;
  readonly onRead?: (bytes: number) => void;
}

/** A session for a fold. */
export const openFold = (): Promise<Duck> => Duck.open({ memoryBytes: DUCKDB_FOLD_BYTES, threads: availableParallelism() });

/** TABLE_NOT_FOUND, TABLE_NOT_ARCHIVED, PAST_OUTSIDE, ARGUMENT_INVALID: before anything is touched. */
export async function planRestoring(home: Home, table: string, asked: PastAsked, output: PastOutput): Promise<RestoringPlan> {
  const { archive, table: definition } = await openTable(home, table);
  return { table, asked: settleAsked(archive.known(), asked), output: settleOutput(definition, output) };
}

function settleOutput({ name, source }: TableDefinition, output: PastOutput): SettledOutput {
  switch (output.kind) {
    case 'file':
      if (output.format === 'sql') parseSqlTable(output.table ?? name);
      return { ...output, table: output.table ?? name };
    case 'topic':
      return { ...output, cluster: output.cluster ?? clusterOf(source) };
    case 'postgres':
      parseSqlTable(output.table);
      return output;
  }
}

const clusterOf = ({ brokers, tls, sasl }: KafkaSource) => ({ brokers, tls, sasl });

export type Prepared = Awaited<ReturnType<typeof prepareOutput>>;

export const prepareRestoring = (home: Home, plan: RestoringPlan, owner: string): Promise<Prepared> =>
  prepareOutput(plan.output, { owner, variables: home.variables });

/** Builds it and puts it there; what is there already by this job's own hand is only proved again. */
export async function writePast(home: Home, plan: RestoringPlan, { owner, signal, onRead }: RestoringCall): Promise<Restored> {
  const { archive } = await openTable(home, plan.table);
  let readBytes = 0;
  const counted = countReads(archive, (bytes) => {
    signal?.throwIfAborted();
    readBytes += bytes;
    onRead?.(readBytes);
  });
  await using duck = await openFold();
  const stop = (): void => duck.interrupt();
  signal?.addEventListener('abort', stop);
  try {
    const { proof, columns } = builtOrThrow(await buildPastState(counted, duck, targetOf(plan.asked)));
    const rows = await typeRows(duck, counted.known(), columns, 'past');
    const place = { owner, variables: home.variables };
    if (!(await isLanded(plan.output, place))) await writeOutput(duck, rows, plan.output, place, signal === undefined ? {} : { signal });
    return { proof: proofReport(proof), columns: rows.columns.map(columnReport), readBytes };
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** The archive with a store that tells what is read from it. */
function countReads(archive: TableArchive, onBytes: (bytes: number) => void): TableArchive {
  const store = interceptStore(archive.store, async (_, run) => {
    const answer = await run();
    onBytes(receivedBytes(answer));
    return answer;
  });
  return { ...archive, store };
}

/** After the job. `failed`: how it was prepared, when it came to nothing. */
export const endRestoring = (home: Home, plan: RestoringPlan, owner: string, failed: Prepared | null): Promise<void> =>
  endOutput(plan.output, { owner, variables: home.variables }, failed === 'made' ? 'made' : null);
