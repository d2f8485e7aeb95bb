/**
 * The plan of a reconciliation: what Temporal should hold, by the logs alone, against what it does hold. Pure, printable, and
 * harmless when it is carried out twice: jobs start under their business ids, so one that runs is joined.
 *
 *     a job begun and not ended    Temporal knows nothing of it   start it under its id
 *                                  it runs                        nothing
 *                                  it was ended there             close its line in the catalog
 *     a hidden snapshot            nobody deletes it              start its delete
 *     a pin whose time has passed                                 lift it
 */
import { JOB_IDS, type JobInputs, type JobKind } from '../../domain/jobs.ts';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from '../../domain/ids.ts';
import type { JobRecord } from '../../engine/catalog/catalog.ts';

export interface HiddenSnapshot {
  readonly store: StoreName;
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
  readonly purge: boolean;
}

export interface HeldPin {
  readonly store: StoreName;
  readonly repository: RepositoryName;
  readonly pin: string;
  readonly untilMs: number;
}

/** What Temporal says of an id: nothing, or the status of its newest run. */
export type Known = 'unknown' | 'running' | 'closed';

export interface Findings {
  readonly jobs: Iterable<JobRecord>;
  readonly hidden: readonly HiddenSnapshot[];
  readonly pins: readonly HeldPin[];
  readonly known: ReadonlyMap<string, Known>;
  readonly nowMs: number;
}

export type Step =
  | { readonly kind: 'start'; readonly id: string; readonly job: JobKind; readonly input: unknown; readonly why: string }
  | { readonly kind: 'close'; readonly id: string }
  | { readonly kind: 'unpin'; readonly store: StoreName; readonly repository: RepositoryName; readonly pin: string };

const isJobKind = (job: string): job is JobKind => Object.hasOwn(JOB_IDS, job);

const deleteInputOf = ({ volume, store, snapshot, purge }: HiddenSnapshot): JobInputs['deleteSnapshot'] => ({
  ...{ volume, store, snapshot },
  ...(purge ? { purge } : {}),
});

/** Ids that have to be asked about before the plan can be made. */
export const idsToAsk = (jobs: Iterable<JobRecord>, hidden: readonly HiddenSnapshot[]): ReadonlySet<string> =>
  new Set([
    ...[...jobs].filter((job) => job.ended === null).map((job) => job.id),
    ...hidden.map((one) => JOB_IDS.deleteSnapshot(deleteInputOf(one))),
  ]);

export function planReconcile({ jobs, hidden, pins, known, nowMs }: Findings): readonly Step[] {
  const steps = new Map<string, Step>();
  for (const { id, job, input, ended } of jobs) {
    if (ended !== null || !isJobKind(job)) continue;
    const there = known.get(id) ?? 'unknown';
    if (there === 'unknown') steps.set(id, { kind: 'start', id, job, input, why: 'begun and not ended' });
    if (there === 'closed') steps.set(id, { kind: 'close', id });
  }
  for (const one of hidden) {
    const input = deleteInputOf(one);
    const id = JOB_IDS.deleteSnapshot(input);
    // A delete that was ended by hand leaves the snapshot hidden: its bytes go all the same.
    if (known.get(id) !== 'running' && steps.get(id)?.kind !== 'start')
      steps.set(id, { kind: 'start', id, job: 'deleteSnapshot', input, why: 'hidden and nobody deletes it' });
  }
  const lapsed = pins
    .filter((pin) => pin.untilMs < nowMs)
    .map(({ store, repository, pin }): Step => ({ kind: 'unpin', store, repository, pin }));
  return [...steps.values(), ...lapsed];
}

export function stepLine(step: Step): string {
  switch (step.kind) {
    case 'start':
      return `start ${step.job} as ${step.id} (${step.why})`;
    case 'close':
      return `close the line of ${step.id}: Temporal has ended it`;
    case 'unpin':
      return `lift pin ${step.pin} in ${step.repository} of ${step.store}: its time has passed`;
  }
}
