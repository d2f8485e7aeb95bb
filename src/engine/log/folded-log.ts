/**
 * A log that is folded in memory: read to its head record by record, appended to through a committer.
 *
 * What the state is, and what is admissible, is the caller's; that records follow each other, that nothing is put at n+2
 * that was judged at n (R3), and that reading and putting of one process do not meet half-way, is kept here.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { SYNC_WINDOW } from '../../domain/limits.ts';
import type { Environment } from '../repository/environment.ts';
import { createCommitter, type Plan } from './committer.ts';
import type { LogPort, StoredRecord } from './log.ts';

/** Where a folded state stands: the first n records, the last of which has the digest `head`. */
export interface Standing {
  readonly n: number;
  readonly head: string;
}

export interface Folding<State, Entry> {
  /** Whose log it is, as messages name it. */
  readonly of: string;
  readonly empty: State;
  /** What stands against an entry; an entry that is in the log all the same is void. */
  refusal(state: State, entry: Entry): HoldfastError | null;
  /** The state after an admissible entry of a record, leaving `state` as it is. */
  apply(state: State, entry: Entry, record: { readonly seq: number; readonly timeMs: number }): State;
  /** A state that the log is known to lead to, to fold on from; null: from the beginning. Asked for at the first sync. */
  begin?(log: LogPort<Entry>): Promise<State | null>;
}

export interface FoldedLog<State, Entry> {
  sync(): Promise<State>;
  /** The state that was last seen, without asking the store. */
  known(): State;
  append(plan: Plan<State, Entry>): Promise<number | null>;
}

export function createFoldedLog<State extends Standing, Entry extends { readonly kind: string }>(
  log: LogPort<Entry>,
  folding: Folding<State, Entry>,
  environment: Environment,
): FoldedLog<State, Entry> {
  let state = folding.empty;
  let begun = folding.begin === undefined;
  let tail: Promise<unknown> = Promise.resolve();
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const run = tail.then(work);
    tail = run.catch(() => undefined);
    return run;
  };

  const fold = (record: StoredRecord<Entry>): void => {
    if (record.previous !== state.head)
      throw new HoldfastError('LOG_DIVERGED', `record ${record.seq} of ${folding.of} does not follow the one before it`, {
        seq: record.seq,
      });
    let next = state;
    for (const entry of record.entries) {
      if (folding.refusal(next, entry) === null) next = folding.apply(next, entry, record);
      else environment.alarm(`${folding.of} holds an inadmissible ${entry.kind}`, { n: record.seq });
    }
    state = { ...next, n: record.seq, head: record.digest };
  };

  const syncNow = async (): Promise<State> => {
    if (!begun) state = (await folding.begin?.(log)) ?? state;
    begun = true;
    for (;;) {
      const first = await log.read(state.n + 1);
      if (first === null) return state;
      const from = state.n + 2;
      const more = await Promise.all(Array.from({ length: SYNC_WINDOW - 1 }, (_, i) => log.read(from + i)));
      for (const record of [first, ...more]) {
        if (record === null) return state;
        fold(record);
      }
    }
  };

  const sync = (): Promise<State> => exclusively(syncNow);
  const committer = createCommitter<State, Entry>({
    sync,
    judge(at, entry) {
      const against = folding.refusal(at, entry);
      if (against) throw against;
    },
    advance: (at, entry) => folding.apply(at, entry, { seq: at.n + 1, timeMs: environment.nowMs() }),
    compatible: () => true,
    put: (entries, judgedOn) =>
      exclusively(async () => {
        // Another task of this process has synced since: what was judged at n must not be put at n+2 (R3).
        if (state.n !== judgedOn.n) return null;
        const record = await log.put({
          seq: state.n + 1,
          previous: state.head,
          writer: environment.writer,
          attempt: environment.random(16).toString('hex'),
          timeMs: environment.nowMs(),
          entries,
        });
        if (record !== null) fold(record);
        return record;
      }),
    backOff: (round) => environment.sleep(5 * round * (1 + (environment.random(1)[0] ?? 0) / 64)),
  });
  return { sync, known: () => state, append: (plan) => committer.append(plan) };
}
