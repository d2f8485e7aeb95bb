/** What an operator does to a table's archive by hand: lets go of what is older than a window, and says that a partition is whole again. */
import { HoldfastError } from '../../domain/errors.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { applyRetention, type RetentionPlan } from '../../engine/tables/archive/retention.ts';
import { planSweep, sweep, type NamedPack } from '../../engine/tables/archive/sweep.ts';
import { planWindow } from './keeping.ts';
import { claimTable, openTable } from './opening.ts';

export interface Retention {
  readonly plan: RetentionPlan;
  /** Packs of claims that are closed, which no entry names. */
  readonly litter: readonly NamedPack[];
  readonly applied: boolean;
}

/** `keepMs`: instead of the table's own. A keeper that runs meanwhile begins anew a little later. */
export async function retainTable(home: Home, name: string, keepMs: number | null, dryRun: boolean): Promise<Retention> {
  const opened = dryRun ? { ...(await openTable(home, name)), epoch: null } : await claimTable(home, name, 'snapshots');
  const { archive, table, epoch } = opened;
  const retainMs = keepMs ?? table.retainMs;
  if (retainMs === null)
    throw new HoldfastError('ARGUMENT_INVALID', `table ${name} keeps all of its past`, {
      field: '--keep',
      expected: 'a duration as in 30d; or give the table one with `holdfast table set`',
    });
  const plan = planWindow(archive, retainMs);
  if (epoch === null) return { plan, litter: await planSweep(archive), applied: false };
  await applyRetention(archive, epoch, plan);
  return { plan, litter: await sweep(archive), applied: true };
}

/**
 * The operator's word that the source's whole state has passed through partitions that were broken by records that were lost: after a new
 * snapshot of the source. Returns those that it was said of.
 */
export async function declareWhole(home: Home, name: string, named: readonly string[] | null): Promise<readonly string[]> {
  const { archive } = await openTable(home, name);
  const broken = [...archive.known().partitions.values()].filter(({ id, beginsUs }) =>
    named === null ? beginsUs === null : named.includes(id),
  );
  const unknown = named?.find((id) => !archive.known().partitions.has(id));
  if (unknown !== undefined)
    throw new HoldfastError('ARGUMENT_INVALID', `table ${name} has no partition ${unknown}`, {
      field: '--partition',
      expected: 'as `holdfast table status` shows it',
    });
  for (const { id, next, runningUs } of broken)
    await archive.append(() => ({ kind: 'WHOLE', partition: id, next, stampUs: runningUs ?? 0 }));
  return broken.map(({ id }) => id);
}
