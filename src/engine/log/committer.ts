/**
 * The committer: one a process and log, it batches concurrent appends into records.
 *
 * Rule R3: a record is judged at prefix n and put at exactly n+1. Each waiting append plans its entry against the state
 * that the entries before it in the batch would leave; a refused one is dropped before the put and told why. Whoever loses
 * the race for n+1 reads what won and is planned and judged again from the start. A plan that finds nothing to do any more
 * (its work is already in the log) yields null, which makes every append idempotent by what it asks for.
 *
 * An outcome is told only when it is true. "Nothing to do" or a refusal that rests on an entry of the same batch waits for
 * the put: if that loses, what the outcome rests on has not happened, and the append is planned again. And entries are put
 * only right after the state that they were judged on: the same process may have read on meanwhile.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { APPEND_ROUNDS_MAX, RECORD_ENTRIES_MAX } from '../../domain/limits.ts';
import type { LogRecord } from './log.ts';

/** Plans one entry against a state; null: nothing to do. Throws what its caller shall see; CONTENTION: ask again. May write objects first. */
export type Plan<State, Entry> = (state: State) => Promise<Entry | null> | Entry | null;

export interface CommitterPort<State, Entry> {
  /** Reads the log to its head and returns the state there. */
  sync(): Promise<State>;
  /** Throws when the entry is not admissible in this state. */
  judge(state: State, entry: Entry): void;
  /** The state after one more entry, leaving `state` as it is. */
  advance(state: State, entry: Entry): State;
  /** Whether two entries may stand in one record. */
  compatible(batch: readonly Entry[], next: Entry): boolean;
  /** Puts entries right after `judgedOn`; null when the race was lost, or the process itself has read past that state. */
  put(entries: readonly Entry[], judgedOn: State): Promise<LogRecord<Entry> | null>;
  /** Waits a random moment after the n-th lost race. */
  backOff(round: number): Promise<void>;
}

export interface Committer<State, Entry> {
  /** The number of the record that holds the entry, or null when there was nothing to do. */
  append(plan: Plan<State, Entry>): Promise<number | null>;
}

type Outcome = { readonly seq: number | null } | { readonly error: unknown };

interface Waiting<State, Entry> {
  readonly plan: Plan<State, Entry>;
  readonly settle: (outcome: Outcome) => void;
}

export function createCommitter<State, Entry>(port: CommitterPort<State, Entry>): Committer<State, Entry> {
  let queue: Waiting<State, Entry>[] = [];
  let draining = false;

  /** One round: plans what waits, puts it; returns what has to be tried again. */
  const round = async (batch: readonly Waiting<State, Entry>[]): Promise<readonly Waiting<State, Entry>[]> => {
    let state: State = await port.sync();
    const entries: Entry[] = [];
    const planned: Waiting<State, Entry>[] = [];
    const later: Waiting<State, Entry>[] = [];
    /** Outcomes that rest on the entries planned so far. */
    const ifPut: { readonly waiting: Waiting<State, Entry>; readonly outcome: Outcome }[] = [];
    for (const waiting of batch) {
      const outcome = (told: Outcome): void => {
        if (entries.length === 0) waiting.settle(told);
        else ifPut.push({ waiting, outcome: told });
      };
      try {
        const entry = await waiting.plan(state);
        if (entry === null) {
          outcome({ seq: null });
        } else if (port.compatible(entries, entry)) {
          port.judge(state, entry);
          if (waiting !== batch.at(-1)) state = port.advance(state, entry);
          entries.push(entry);
          planned.push(waiting);
        } else {
          later.push(waiting);
        }
      } catch (error) {
        // A plan that finds the world moved on under it wants to be asked again.
        if (isHoldfastError(error, 'CONTENTION')) later.push(waiting);
        else outcome({ error });
      }
    }
    if (entries.length === 0) return later;
    const record = await port.put(entries, state);
    if (record === null) return [...planned, ...ifPut.map(({ waiting }) => waiting), ...later];
    for (const waiting of planned) waiting.settle({ seq: record.seq });
    for (const { waiting, outcome } of ifPut) waiting.settle(outcome);
    return later;
  };

  const drain = async (): Promise<void> => {
    let losses = 0;
    draining = true;
    while (queue.length > 0) {
      const batch = queue.slice(0, RECORD_ENTRIES_MAX);
      queue = queue.slice(batch.length);
      let again: readonly Waiting<State, Entry>[];
      try {
        again = await round(batch);
      } catch (error) {
        for (const waiting of batch) waiting.settle({ error });
        continue;
      }
      losses = again.length === batch.length ? losses + 1 : 0;
      if (losses > APPEND_ROUNDS_MAX) {
        for (const waiting of again)
          waiting.settle({ error: new HoldfastError('CONTENTION', `lost ${losses} races for the head of the log`) });
        continue;
      }
      queue = [...again, ...queue];
      if (losses > 0) await port.backOff(losses);
    }
    // In the same turn as the look at the queue: an append that comes next starts a drain of its own.
    draining = false;
  };

  return {
    append: (plan) =>
      new Promise((resolve, reject) => {
        queue.push({ plan, settle: (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.seq)) });
        if (!draining) void drain();
      }),
  };
}
