/** What a failover is to do, as the catalog and whoever asks for it say (docs/protection.md, section 8). */
import { HoldfastError } from '../../../domain/errors.ts';
import type { FailoverInput } from '../../../domain/job-inputs.ts';
import type { Home } from '../../../engine/catalog/home.ts';
import { findProtection, type ProtectionRecord } from '../../../engine/catalog/protections.ts';

export interface FailoverPlan {
  /** As the catalog has it: its host is the one that loses the disks. */
  readonly protection: ProtectionRecord;
  readonly to: string;
  /** The old host is there, and ends cleanly first. */
  readonly planned: boolean;
  /** Somebody has consented to the loss of what regions that do not answer may hold alone. */
  readonly tailLost: boolean;
  /** Of the new host, for the disks' files; null: below the folder of its installation. */
  readonly folder: string | null;
}

/** JOURNAL_NOT_FOUND. */
export async function planFailover(home: Home, input: FailoverInput): Promise<FailoverPlan> {
  const { journal, host: to, planned = false, tailLost = false, folder = null } = input;
  const protection = findProtection(await home.catalog.sync(), journal);
  if (protection.host === to)
    throw new HoldfastError('ARGUMENT_INVALID', `${to} has the disks of ${journal} already`, { field: 'host', expected: 'another host' });
  if (planned && tailLost)
    throw new HoldfastError('ARGUMENT_INVALID', 'a planned failover loses nothing', {
      field: 'tailLost',
      expected: 'only without planned',
    });
  return { protection, to, planned, tailLost, folder };
}
