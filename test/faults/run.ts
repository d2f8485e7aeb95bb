/**
 * One run: the script's steps played on a real world, each killed operation repeated by a fresh process until it is acknowledged.
 *
 * What an operation may end with, short of success, is what a workflow would wait out or try again: a store that is away, a
 * claim that a later attempt took, a race. Anything else, and anything that does not end, fails the run.
 */
import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { digestOfImage } from '../systems/image.ts';
import { examine } from './examination.ts';
import { createExpectations, type Expectations } from './expectations.ts';
import type { Outcome } from './operations.ts';
import { createWorkforce, type Attended } from './operator-process.ts';
import type { Script, Task } from './script.ts';
import type { FaultServer } from './server.ts';
import { makeWorld, type World } from './world.ts';

export interface RunReport {
  /** Points reached, and how often. */
  readonly kills: ReadonlyMap<string, number>;
  readonly operations: number;
  readonly processes: number;
  readonly restores: number;
}

/** Ends an operation may meet that another attempt mends. */
const PASSING = new Set([
  'STORE_UNREACHABLE',
  'CLAIM_LOST',
  'PARENT_MOVED',
  'CONTENTION',
  'VISIBILITY_CHANGED',
  'SNAPSHOT_PINNED',
  'OBJECT_MISSING',
]);
const ATTEMPTS_MAX = 12;

export interface RunOptions {
  readonly server: FaultServer | null;
  readonly threads: Threads;
  /** Every line of what happens, for who looks into a failure. */
  readonly trace?: (line: string) => void;
}

export async function playRun(script: Script, { server, threads, trace = () => undefined }: RunOptions): Promise<RunReport> {
  await using world = await makeWorld(script, server);
  const expectations = createExpectations();
  const kills = new Map<string, number>();
  let operations = 0;
  const { folder, variables } = world;
  await using workforce = createWorkforce({ folder, variables, threads: script.threads, strike: () => world.strike() });

  const once = async (task: Task, attempt: number, kill: Task['kills'][number] | null): Promise<Attended> => {
    const attended = await workforce.operate({ task, attempt, kill });
    if (attended.reached !== null) kills.set(attended.reached, (kills.get(attended.reached) ?? 0) + 1);
    trace(`  ${task.id} attempt ${attempt} ${kill?.point ?? ''}: ${JSON.stringify(attended.ending)} ${attended.alarms.join('; ')}`);
    return attended;
  };

  /** Attempts from the n-th on until one is acknowledged. */
  const insist = async (task: Task, from: number): Promise<Outcome> => {
    for (let attempt = from; attempt < from + ATTEMPTS_MAX; attempt++) {
      const { ending } = await once(task, attempt, task.kills[attempt - 1] ?? null);
      if (ending.kind === 'done') return ending.outcome;
      if (ending.kind === 'failed' && !PASSING.has(ending.code))
        throw new Error(`${task.id} ${task.operation.kind}: ${ending.code}: ${ending.message}\n${ending.stack}`);
      if (ending.kind === 'failed') await sleep(100 * (attempt - from + 1));
    }
    throw new Error(`${task.id} ${task.operation.kind} was not acknowledged in ${ATTEMPTS_MAX} attempts`);
  };

  /** The same operation by two processes at once; whoever is acknowledged, it is done. */
  const double = async (task: Task): Promise<Outcome> => {
    const both = await Promise.all([once(task, 1, task.kills[0] ?? null), once(task, 2, task.kills[1] ?? null)]);
    const done = both.flatMap(({ ending }) => (ending.kind === 'done' ? [ending.outcome] : []));
    for (const { ending } of both)
      if (ending.kind === 'failed' && !PASSING.has(ending.code))
        throw new Error(`${task.id}: ${ending.code}: ${ending.message}\n${ending.stack}`);
    // What the later attempt says counts; was it killed, there is a third.
    return both[1]?.ending.kind === 'done' && done[0] !== undefined ? done[0] : insist(task, 3);
  };

  for (const step of script.steps) {
    world.prepare(step);
    for (const { operation } of [...step.tasks, ...step.tasks]) expectations.begin(operation);
    const digest = digestOfImage(world.image);
    for (const { operation } of step.tasks) if (operation.kind === 'capture') expectations.noteContent(operation.snapshot, digest);
    trace(JSON.stringify(step.tasks.map(({ id, operation, doubled, machine }) => ({ id, ...operation, doubled, machine }))));
    const outcomes = await Promise.all(step.tasks.map((task) => (task.doubled ? double(task) : insist(task, 1))));
    step.tasks.forEach((task, i) => {
      operations++;
      expectations.acknowledge(task.operation, outcomes[i] ?? null);
      demandRestored(world, task, outcomes[i] ?? null, expectations);
    });
  }
  const { restores } = await examine(world, script, expectations, threads);
  return { kills, operations, processes: workforce.started(), restores };
}

function demandRestored(world: World, { id, operation }: Task, outcome: Outcome, expectations: Expectations): void {
  if (operation.kind !== 'restore' || outcome?.[operation.store] !== 'restored') return;
  const target = path.join(world.folder, `restored.${id}`);
  if (digestOfImage(target) !== expectations.contentOf(operation.snapshot))
    throw new Error(`${id}: the restored file (${statSync(target).size} bytes) is not what was captured`);
  rmSync(target);
}
