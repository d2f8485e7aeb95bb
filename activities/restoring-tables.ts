/** Activities of restoring tables (system F): parse, call the system, translate errors. */
import { Context } from '@temporalio/activity';
import pLimit from 'p-limit';
import { parseInput, restoreTableInput, type RestoreTableInput } from '../src/domain/job-inputs.ts';
import type { RestoreTableResult } from '../src/domain/jobs.ts';
import { outputName } from '../src/domain/output-name.ts';
import {
  endRestoring,
  planRestoring,
  prepareRestoring,
  writePast,
  type Prepared,
  type RestoringPlan,
} from '../src/systems/tables/restoring.ts';
import { translated } from './failure.ts';
import { ownerNow } from './owner.ts';
import { startCount } from './pulse.ts';
import type { ActivityParts } from './shipping.ts';

/** What these activities take and give, for the workflow that calls them. */
export type { Prepared };
export interface RestoreTableJob {
  readonly plan: RestoringPlan;
  /** Null: any controller. */
  readonly host: string | null;
}

export const createRestoringTablesActivities = ({ home }: Pick<ActivityParts, 'home'>) => {
  /** A fold may take as much memory as it is given; one at a time in a process. */
  const folds = pLimit(1);
  return translated({
    async planRestoreTable(input: RestoreTableInput): Promise<RestoreTableJob> {
      const { table, at = { kind: 'latest' }, output, host = null } = parseInput(restoreTableInput, 'restoreTable', input);
      return { plan: await planRestoring(home, table, at, output), host };
    },

    prepareRestoreTable: ({ plan }: RestoreTableJob): Promise<Prepared> => prepareRestoring(home, plan, ownerNow()),

    async writeRestoreTable({ plan }: RestoreTableJob): Promise<RestoreTableResult> {
      const count = startCount();
      const call = { owner: ownerNow(), signal: Context.current().cancellationSignal, onRead: (bytes: number) => count(bytes, 0) };
      const { proof, columns, readBytes } = await folds(() => writePast(home, plan, call));
      const { rows, hash, cut, earliest, latest, late, contradicted, unresolved, gaps, quarantined, partitions } = proof;
      return {
        ...{ table: plan.table, output: outputName(plan.output), rows, hash, cut, earliest, latest },
        ...{ late, contradicted, unresolved, gaps, quarantined, partitions, columns: columns.slice(0, COLUMNS_SHOWN), readBytes },
        atUs: plan.asked.kind === 'time' ? plan.asked.us : null,
      };
    },

    /** `failed`: how it was prepared, when it came to nothing. */
    endRestoreTable: ({ plan }: RestoreTableJob, failed: Prepared | null): Promise<void> => endRestoring(home, plan, ownerNow(), failed),
  });
};

const COLUMNS_SHOWN = 100;
