/**
 * Results of jobs as a person reads them, and what they mean for the exit status: a capture that reached two of three stores
 * is a success with a fault in it, and says so; damage that was found is a finding, and not a success.
 */
import { ERROR_KINDS } from '../../domain/errors.ts';
import type {
  ArchiveTableResult,
  AttachResult,
  BackfillResult,
  CaptureGroupResult,
  CaptureResult,
  CollectResult,
  CopyResult,
  DeleteResult,
  DetachResult,
  FailbackResult,
  FailoverResult,
  HydrateResult,
  JobKind,
  JobResults,
  ProtectDomainResult,
  ReplicateResult,
  RestoreResult,
  RestoreTableResult,
  StepsMs,
  StoreOutcome,
  TestFailoverResult,
  VerifyResult,
} from '../../domain/jobs.ts';
import { formatMicros } from '../../domain/micros.ts';
import type { ReplicationFigures } from '../../domain/replication.ts';
import { counted, formatBytes, formatDuration } from './quantities.ts';

export interface ReadableResult {
  readonly lines: readonly string[];
  readonly exitCode: number;
}

const shortRoot = (root: string | null): string => (root === null ? 'all zeros' : root.slice(0, 16));

function outcomeLine(outcome: StoreOutcome): string {
  switch (outcome.kind) {
    case 'committed':
      return `  ${outcome.store}: committed, ${counted(outcome.newExtents, 'new extent')}, ${formatBytes(outcome.sentBytes)} sent, ${
        outcome.base === null ? 'full' : `on ${outcome.base}`
      }`;
    case 'detached':
      return `  ${outcome.store}: catches up in job ${outcome.job} (${outcome.reason})`;
    case 'failed':
      return `  ${outcome.store}: failed, ${outcome.failure.code}: ${outcome.failure.message}`;
  }
}

/** What a session came to: named, sent, on the wire, asked for again, proven. */
export const figureLines = (figures: ReplicationFigures): readonly string[] => [
  `${counted(figures.referenced, 'extent')} named (${formatBytes(figures.logicalBytes)}), ${figures.sent} sent (${formatBytes(figures.uniqueBytes)}), ` +
    `${formatBytes(figures.wireBytes)} on the wire`,
  `${figures.askedAgain} asked for again, ${counted(figures.verified, 'subtree')} proven by the receiver`,
];

const exitOf = (outcomes: readonly StoreOutcome[]): number => {
  const failed = outcomes.find((outcome) => outcome.kind === 'failed');
  return failed === undefined ? 0 : ERROR_KINDS[failed.failure.code].exitCode;
};

const READERS: { readonly [Kind in JobKind]: (result: JobResults[Kind]) => ReadableResult } = {
  captureSnapshot: (result: CaptureResult) => ({
    lines: [
      `snapshot ${result.snapshot} of ${result.volume}: ${formatBytes(result.sizeBytes)}, ${result.consistency}, root ${shortRoot(result.root)}`,
      `  read ${formatBytes(result.readBytes)} once; ${counted(result.changedExtents, 'extent')} changed`,
      ...result.stores.map(outcomeLine),
      ...result.reclaimed.map((id) => `  reclaimed ${id}, which was waiting for this`),
    ],
    exitCode: exitOf(result.stores),
  }),
  copySnapshot: (result: CopyResult) => ({
    lines: [
      `snapshot ${result.snapshot} of ${result.volume} copied, root ${shortRoot(result.root)}, ${formatBytes(result.readBytes)} read`,
      ...result.stores.map(outcomeLine),
    ],
    exitCode: exitOf(result.stores),
  }),
  deleteSnapshot: ({ snapshot, store, outcome, freedBytes }: DeleteResult) => ({
    lines: [
      outcome === 'reclaimed'
        ? `snapshot ${snapshot} is gone from ${store}${freedBytes === null ? '' : `; ${formatBytes(freedBytes)} freed`}`
        : outcome === 'undeleted'
          ? `snapshot ${snapshot} in ${store} was shown again`
          : `snapshot ${snapshot} was gone from ${store} already`,
    ],
    exitCode: 0,
  }),
  restoreVolume: (result: RestoreResult) => ({
    lines: [
      `restored ${result.volume} ${result.snapshot} from ${result.store} to ${result.target}`,
      `  ${formatBytes(result.sizeBytes)}; ${formatBytes(result.readBytes)} read from the store, ${formatBytes(result.writtenBytes)} written, ` +
        `every extent proved against root ${shortRoot(result.root)}`,
    ],
    exitCode: 0,
  }),
  verifyStore: (result: VerifyResult) => readVerify(result),
  collectGarbage: (result: CollectResult) => ({
    lines: [
      `${result.repository} in ${result.store}: ${formatBytes(result.freedBytes)} freed, ${counted(result.reclaimed.length, 'snapshot')} reclaimed, ` +
        `${counted(result.packsRewritten, 'pack')} rewritten, ${counted(result.objectsDeleted, 'object')} deleted`,
    ],
    exitCode: 0,
  }),
  attachVolume: ({ disk, host, path, sizeBytes, uris }: AttachResult) => ({
    lines: [`${disk} is served by ${host}: ${path}, ${formatBytes(sizeBytes)}`, ...uris.map((uri) => `  ${uri}`)],
    exitCode: 0,
  }),
  detachDisk: ({ disk, host }: DetachResult) => ({ lines: [`${disk} is served by ${host} no more`], exitCode: 0 }),
  hydrateDisk: ({ volume, snapshot, store, disk, target, promoted }: HydrateResult) => ({
    lines: [
      `${disk} at ${target} has all of ${volume} ${snapshot} itself; ${store} is not needed for it any more`,
      ...(promoted ? [`  captures of ${volume} read it from now on`] : []),
    ],
    exitCode: 0,
  }),
  replicateSnapshot: ({ volume, snapshot, store, receiver, root, base, figures }: ReplicateResult) => ({
    lines: [
      `snapshot ${snapshot} of ${volume} is at ${receiver}, ${base === null ? 'full' : `on ${base}`}, root ${shortRoot(root)}, read from ${store}`,
      ...figureLines(figures).map((line) => `  ${line}`),
    ],
    exitCode: 0,
  }),
  restoreTable: (result: RestoreTableResult) => ({ lines: restoredTable(result), exitCode: 0 }),
  archiveTable: ({ table }: ArchiveTableResult) => ({ lines: [`${table} is archived no more: it is not in the catalog`], exitCode: 0 }),
  failover: (result: FailoverResult) => ({ lines: failedOver(result), exitCode: 0 }),
  failback: (result: FailbackResult) => ({ lines: failedBack(result), exitCode: 0 }),
  backfillRegion: ({ journal, region, held, batches, bytes, basesCopied, atRiskBytes }: BackfillResult) => ({
    lines: [
      `${region} holds ${counted(held.length, 'more epoch')} of ${journal}: ${counted(batches, 'batch')} (${formatBytes(bytes)}) and ${counted(basesCopied, 'base')} copied`,
      `  ${atRiskBytes === 0 ? 'nothing is held once' : `${formatBytes(atRiskBytes)} are held once`}`,
    ],
    exitCode: 0,
  }),
  protectDomain: ({ journal }: ProtectDomainResult) => ({
    lines: [`${journal} is looked after no more: it is not in the catalog`],
    exitCode: 0,
  }),
  testFailover: (result: TestFailoverResult) => ({ lines: tested(result), exitCode: result.passed ? 0 : ERROR_KINDS.DAMAGED.exitCode }),
  captureGroup: ({ captures }: CaptureGroupResult) => {
    const readable = captures.map((one) => readResult('captureSnapshot', one));
    return { lines: readable.flatMap(({ lines }) => lines), exitCode: Math.max(0, ...readable.map(({ exitCode }) => exitCode)) };
  },
};

const stepsLine = (steps: StepsMs): string =>
  Object.entries(steps)
    .map(([name, ms]) => `${name} ${formatDuration(ms)}`)
    .join(', ');

const failedOver = (result: FailoverResult): readonly string[] => {
  const { journal, from, to, planned, point, end, labelUs, lostMsMax, closedEpoch, epoch, baseBytes, replayBytes, uris, stepsMs } = result;
  const loss = planned ? 'nothing is lost' : `what was written later, up to the fencing ${formatDuration(lostMsMax)} after it, is lost`;
  return [
    `the disks of ${journal} are served by ${to}, and no more by ${from}: as of point ${point}${labelUs === 0 ? '' : `, by ${formatMicros(labelUs)}`}; ${loss}`,
    ...(point === end
      ? []
      : [`  order was lost between ${point} and ${end}, where the journal ended: what was written there is in no region`]),
    `  epoch ${closedEpoch} ended at ${end}, ${epoch} goes on; ${formatBytes(baseBytes)} of a base and ${formatBytes(replayBytes)} of the journal written`,
    `  ${stepsLine(stepsMs)}`,
    ...uris.map((uri) => `  ${uri}`),
  ];
};

const failedBack = (result: FailbackResult): readonly string[] => {
  const { journal, from, to, end, full, rounds, fetchedBytes, lastBytes, uris, stepsMs } = result;
  return [
    `the disks of ${journal} are served by ${to} again, and no more by ${from}: as of point ${end}; nothing is lost`,
    full === null
      ? `  only what differed was fetched: ${formatBytes(fetchedBytes)} in ${counted(rounds, 'round')}, and the last ${formatBytes(lastBytes)} of it while nobody served`
      : `  all of it was fetched, for ${full}: ${formatBytes(fetchedBytes)} in ${counted(rounds, 'round')}`,
    `  ${stepsLine(stepsMs)}`,
    ...uris.map((uri) => `  ${uri}`),
  ];
};

const tested = (result: TestFailoverResult): readonly string[] => {
  const { journal, host, point, labelUs, rpoMsMax, rtoMs, passed, checks, baseBytes, replayBytes } = result;
  return [
    `${journal} on ${host}: point ${point}, by ${formatMicros(labelUs)}, ${passed ? 'is good' : 'is NOT good'}`,
    `  at most ${formatDuration(rpoMsMax)} old, recovered in ${formatDuration(rtoMs)}: ${formatBytes(baseBytes)} of a base and ${formatBytes(replayBytes)} of the journal`,
    ...checks.map(({ by, said, passed: good }) => `  ${by}: ${good ? 'good' : 'NOT good'}; ${said.replaceAll(/\s+/g, ' ')}`),
    '  nothing of it is left',
  ];
};

const restoredTable = (result: RestoreTableResult): readonly string[] => {
  const { table, output, rows, hash, cut, atUs, columns } = result;
  const oddities = (['late', 'contradicted', 'quarantined', 'gaps', 'unresolved'] as const).filter((name) => result[name] > 0);
  return [
    `${table}${atUs === null ? '' : ` as of ${formatMicros(atUs)}`} is at ${output}: ${counted(rows, 'row')}, hash ${hash}`,
    `  ${cut === null ? 'all that was archived' : `all below position ${cut}`}; ${formatBytes(result.readBytes)} read`,
    ...(oddities.length === 0 ? [] : [`  not taken as it came: ${oddities.map((name) => `${name} ${result[name]}`).join(', ')}`]),
    ...columns
      .filter(({ misfits }) => misfits > 0)
      .map(({ name, misfits }) => `  ${name} is JSON text: ${counted(misfits, 'value')} of it did not fit its type`),
  ];
};

/** Damaged values shown to a person; JSON has all that the job names. */
const DAMAGE_SHOWN = 20;

function readVerify(result: VerifyResult): ReadableResult {
  const { damaged, differing } = result;
  const sound = damaged.length === 0 && differing.length === 0;
  const damage = damaged.slice(0, DAMAGE_SHOWN).map(({ object, fingerprint, extents, snapshots }) => {
    const where = extents.length === 0 ? 'the map' : `extents ${extents.join(', ')}`;
    return `  damaged: ${where} of ${snapshots.join(', ')} (value ${fingerprint.slice(0, 16)} in ${object})`;
  });
  return {
    lines: [
      `${result.volume} in ${result.store}: ${sound ? 'sound' : 'NOT SOUND'}; ${counted(result.snapshots, 'snapshot')}, ` +
        `${counted(result.valuesChecked, 'value')} checked, ${formatBytes(result.readBytes)} read`,
      ...damage,
      ...(damaged.length > DAMAGE_SHOWN ? [`  and ${damaged.length - DAMAGE_SHOWN} more; --json shows all`] : []),
      ...differing.map((id) => `  differs between the stores: ${id}`),
    ],
    exitCode: sound ? 0 : ERROR_KINDS.DAMAGED.exitCode,
  };
}

const isJobKind = (kind: string): kind is JobKind => Object.hasOwn(READERS, kind);

/** Reads a result that a workflow of ours returned. */
export function readResult(kind: string, result: unknown): ReadableResult {
  if (!isJobKind(kind)) return { lines: [JSON.stringify(result)], exitCode: 0 };
  // Which workflow it was decides the shape of its result; both are this build's.
  return (READERS[kind] as (result: unknown) => ReadableResult)(result);
}
