/**
 * The entry of a worker thread: one exported function a task, as piscina calls them by name. Errors become values here,
 * because a class and its fields do not survive the crossing between threads.
 */
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { HoldfastError } from '../../domain/errors.ts';
import { hashTask } from './hash-task.ts';
import { openTask } from './open-task.ts';
import { resealTask } from './reseal-task.ts';
import { scatterTask } from './scatter-task.ts';
import { sealTask } from './seal-task.ts';
import { takeTask } from './take-task.ts';
import type { TaskOutcome } from './tasks.ts';
import { unsealTask } from './unseal-task.ts';

const asOutcome =
  <Task, Result>(run: (task: Task) => Result) =>
  (task: Task): TaskOutcome<Result> => {
    try {
      return { kind: 'done', result: run(task) };
    } catch (error) {
      if (error instanceof HoldfastError) return { kind: 'failed', code: error.code, message: error.message, details: error.details };
      return { kind: 'failed', code: 'INTERNAL', message: String(error), details: {} };
    }
  };

/** For results whose buffers are moved to the caller. */
const moving =
  <Task, Result>(run: (task: Task) => TaskOutcome<Result>, buffersOf: (result: Result) => ArrayBuffer[]) =>
  (task: Task): unknown => {
    const outcome = run(task);
    const moved = outcome.kind === 'done' ? buffersOf(outcome.result) : [];
    // Its type of a transferable has names for the symbols, which are values here.
    return move({ [transferableSymbol]: moved, [valueSymbol]: outcome } as unknown as Parameters<typeof move>[0]);
  };

export const hash = asOutcome(hashTask);
export const seal = asOutcome(sealTask);
export const open = asOutcome(openTask);
export const reseal = asOutcome(resealTask);
export const take = asOutcome(takeTask);
export const scatter = asOutcome(scatterTask);
export const unseal = moving(asOutcome(unsealTask), ({ bytes }) => [bytes]);
