import { expect, test } from '@jest/globals';
import type { RepositoryName, SnapshotId, StoreName, VolumeName } from '../../../src/domain/ids.ts';
import { idsToAsk, planReconcile, stepLine, type Findings, type HiddenSnapshot } from '../../../src/faces/cli/reconcile-plan.ts';

const job = (id: string, ended = false) => ({
  ...{ id, job: 'captureSnapshot', input: { volume: 'v' }, begunMs: 0 },
  ended: ended ? { outcome: 'done' as const, summary: '', atMs: 1 } : null,
});
const hidden: HiddenSnapshot = { store: 'a' as StoreName, volume: 'v' as VolumeName, snapshot: 's1' as SnapshotId, purge: false };
const pin = (untilMs: number) => ({ store: 'a' as StoreName, repository: 'r' as RepositoryName, pin: `p${untilMs}`, untilMs });
const plan = (findings: Partial<Findings>) =>
  planReconcile({ jobs: [], hidden: [], pins: [], known: new Map(), nowMs: 100, ...findings }).map(stepLine);

test('a job that was begun and is unknown starts under its id; one that ended does not', () => {
  expect(plan({ jobs: [job('capture.v'), job('capture.w', true)] })).toEqual(['start captureSnapshot as capture.v (begun and not ended)']);
});
test('what runs is left alone, and what was ended in Temporal is not started again', () => {
  const known = new Map([
    ['capture.v', 'running'],
    ['capture.w', 'closed'],
  ] as const);
  expect(plan({ jobs: [job('capture.v'), job('capture.w')], known })).toEqual(['close the line of capture.w: Temporal has ended it']);
});
test('a hidden snapshot gets its delete, once', () => {
  const of = { id: 'delete.a.s1', job: 'deleteSnapshot', input: { volume: 'v', store: 'a', snapshot: 's1' }, begunMs: 0, ended: null };
  expect(plan({ hidden: [hidden] })).toEqual(['start deleteSnapshot as delete.a.s1 (hidden and nobody deletes it)']);
  expect(plan({ hidden: [hidden], jobs: [of] })).toEqual(['start deleteSnapshot as delete.a.s1 (begun and not ended)']);
  expect(plan({ hidden: [hidden], jobs: [of], known: new Map([['delete.a.s1', 'running']]) })).toEqual([]);
  expect(plan({ hidden: [hidden], jobs: [of], known: new Map([['delete.a.s1', 'closed']]) })).toEqual([
    'start deleteSnapshot as delete.a.s1 (hidden and nobody deletes it)',
  ]);
});
test('pins are lifted when their time has passed', () => {
  expect(plan({ pins: [pin(99), pin(100), pin(101)] })).toEqual(['lift pin p99 in r of a: its time has passed']);
});
test('asks about what is open and what is hidden, and about nothing else', () => {
  expect([...idsToAsk([job('capture.v'), job('capture.w', true)], [hidden])]).toEqual(['capture.v', 'delete.a.s1']);
});
