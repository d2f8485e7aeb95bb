/** A job in words, before it runs: what the Temporal UI shows as its summary, and under which names it is searched. */
import type {
  ArchiveTableInput,
  AttachInput,
  BackfillInput,
  CaptureGroupInput,
  CaptureInput,
  CollectInput,
  CopyInput,
  DeleteInput,
  DetachInput,
  FailbackInput,
  FailoverInput,
  HydrateInput,
  ProtectDomainInput,
  ReplicateInput,
  RestoreInput,
  RestoreTableInput,
  TestFailoverInput,
  VerifyInput,
} from '../../domain/job-inputs.ts';
import type { JobInputs, JobKind } from '../../domain/jobs.ts';
import { formatMicros } from '../../domain/micros.ts';
import { outputName } from '../../domain/output-name.ts';

export interface JobWords {
  /** One line. */
  readonly summary: string;
  /** Markdown. */
  readonly details: string;
}

const list = (names: readonly string[] | undefined, otherwise: string): string => (names === undefined ? otherwise : names.join(', '));

const SUMMARIES: { readonly [Kind in JobKind]: (input: JobInputs[Kind]) => string } = {
  captureSnapshot: ({ volume, stores }: CaptureInput) => `Capture ${volume} into ${list(stores, 'its stores')}`,
  copySnapshot: ({ volume, snapshot, from, to }: CopyInput) => `Copy ${volume} ${snapshot} from ${from} to ${to.join(', ')}`,
  deleteSnapshot: ({ volume, store, snapshot, purge }: DeleteInput) =>
    `${purge === true ? 'Purge' : 'Delete'} ${volume} ${snapshot} in ${store}`,
  restoreVolume: ({ volume, store, snapshot, target }: RestoreInput) =>
    `Restore ${volume} ${snapshot ?? '(newest)'} from ${store} to ${target}`,
  verifyStore: ({ volume, store, depth }: VerifyInput) => `Verify ${volume} in ${store} (${depth ?? 'structure'})`,
  collectGarbage: ({ repository, store }: CollectInput) => `Collect ${repository} in ${store}`,
  attachVolume: ({ volume }: AttachInput) => `Serve ${volume} as a disk`,
  detachDisk: ({ disk }: DetachInput) => `End the serving of ${disk}`,
  hydrateDisk: ({ volume, store, snapshot, target }: HydrateInput) =>
    `Restore ${volume} ${snapshot ?? '(newest)'} from ${store} to ${target} while it is served`,
  replicateSnapshot: ({ volume, receiver, snapshot }: ReplicateInput) => `Replicate ${volume} ${snapshot ?? '(newest)'} to ${receiver}`,
  archiveTable: ({ table }: ArchiveTableInput) => `Archive the table ${table}`,
  restoreTable: ({ table, at, output }: RestoreTableInput) => `Restore ${table} ${momentOf(at)} to ${outputName(output)}`,
  failover: ({ journal, host, planned }: FailoverInput) => `Fail ${journal} over to ${host}${planned === true ? ', as planned' : ''}`,
  failback: ({ journal, host }: FailbackInput) => `Fail ${journal} back to ${host}`,
  backfillRegion: ({ journal, region }: BackfillInput) => `Fill ${region} with what it lacks of ${journal}`,
  protectDomain: ({ journal }: ProtectDomainInput) => `Look after ${journal}`,
  testFailover: ({ journal, host }: TestFailoverInput) => `Test a failover of ${journal}${host === undefined ? '' : ` on ${host}`}`,
  captureGroup: ({ volumes }: CaptureGroupInput) => `Capture ${volumes.join(', ')} at one moment`,
};

function momentOf(at: RestoreTableInput['at']): string {
  switch (at?.kind) {
    case 'time':
      return `as of ${formatMicros(at.us)}`;
    case 'position':
      return `as of position ${at.position}`;
    case 'transaction':
      return `as of ${at.edge} transaction ${at.id}`;
    default:
      return '(newest)';
  }
}

export function describeInput<Kind extends JobKind>(kind: Kind, input: JobInputs[Kind]): JobWords {
  const given = Object.entries(input).filter(([, value]) => value !== undefined);
  const details = given.map(([name, value]) => `- **${name}**: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join('\n');
  return { summary: SUMMARIES[kind](input), details };
}

interface Named {
  readonly journal?: string;
  readonly region?: string;
  readonly table?: string;
  readonly volume?: string;
  readonly volumes?: readonly string[];
  readonly disk?: string | undefined;
  readonly store?: string;
  readonly stores?: readonly string[] | undefined;
  readonly to?: readonly string[];
  readonly receiver?: string;
}

/** What the search attributes say of it. */
export function searchValues<Kind extends JobKind>(
  _kind: Kind,
  input: JobInputs[Kind],
): { readonly volume: string | null; readonly store: string | null } {
  const { journal, region, table, volume, volumes, disk, store, stores, to, receiver }: Named = input;
  return {
    volume: volume ?? volumes?.join(',') ?? disk ?? table ?? journal ?? null,
    store: receiver ?? region ?? store ?? (stores ?? to)?.join(',') ?? null,
  };
}
