/**
 * The follower: reads a repository's log to its head, record after record, and appends to it.
 *
 * It owns the ledger; how records become state beyond that is its folding's business. A view that is stale, killed or
 * doubled harms nobody: it loses the race for n+1 and is judged again (R3).
 */
import { HoldfastError } from '../../domain/errors.ts';
import { SYNC_WINDOW } from '../../domain/limits.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { createCommitter, type Committer, type Plan } from '../log/committer.ts';
import { createLog, type LogPort, type StoredRecord } from '../log/log.ts';
import { ENTRY_KINDS, entrySchema, type Entry } from './entries.ts';
import type { Environment } from './environment.ts';
import { applyEntry, cloneLedger, judge, type Ledger } from './ledger.ts';
import { logName } from './object-names.ts';

/** How records become state. */
export interface Folding {
  /** The state to begin from; asked again whenever `stands` says no. */
  begin(log: RepositoryLog): Promise<Ledger>;
  /** Whether the state is that of the first n records now. */
  stands(n: number): boolean;
  /** Folds records that follow `from`; null: they cannot be read any more, and a state beyond the first of them is needed. */
  fold(from: Ledger, records: readonly StoredRecord<Entry>[]): Promise<Ledger | null>;
  /** A state of `least` records or more that does not need the log before it. */
  skipTo(least: number): Promise<Ledger>;
  /** Takes note of a failure; true when beginning anew mends it. */
  mends(error: unknown): boolean;
}

export interface Follower {
  /** Reads the log to its head. */
  sync(): Promise<Ledger>;
  /** The ledger as of the last sync. */
  ledger(): Ledger;
  /** Appends what `plan` asks for, judged at the head; null when it found nothing to do. */
  append(plan: Plan<Ledger, Entry>): Promise<number | null>;
}

export type RepositoryLog = LogPort<Entry>;

export const openLog = (store: ObjectStore, key: SealingKey, random: Environment['random']): RepositoryLog =>
  createLog<Entry>({ store, sealing: key, nameOf: logName, entrySchema, kinds: ENTRY_KINDS, random });

/** Entries that read or change the table: at most one of them in a record, so that its table is that of prefix n. */
const WITH_TABLE: ReadonlySet<Entry['kind']> = new Set(['CLAIM', 'COMMIT', 'RECLAIM', 'REPLACE', 'HEAL']);

export interface FollowerParts {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
}

export function createFollower({ store, key, environment }: FollowerParts, folding: Folding): Follower {
  const log = openLog(store, key, environment.random);
  let ledger: Ledger | null = null;
  /** The newest record that this process knows to stand; its fold may have failed. */
  let standing = 0;
  let tail: Promise<unknown> = Promise.resolve();

  /** One at a time: a fold must not meet another one half-way. */
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const run = tail.then(work);
    tail = run.catch(() => undefined);
    return run;
  };

  /** Up to SYNC_WINDOW records after n; the first one alone tells whether there is anything to read. */
  const readAhead = async (n: number): Promise<StoredRecord<Entry>[]> => {
    const first = await log.read(n + 1);
    if (first === null) return [];
    const more = await Promise.all(Array.from({ length: SYNC_WINDOW - 1 }, (_, i) => log.read(n + 2 + i)));
    const end = more.indexOf(null);
    return [first, ...(end < 0 ? more : more.slice(0, end)).filter((record) => record !== null)];
  };

  const checkChain = (at: Ledger, records: readonly StoredRecord<Entry>[]): void => {
    let head = at.head;
    for (const record of records) {
      if (record.previous !== head)
        throw new HoldfastError('LOG_DIVERGED', `record ${record.seq} does not follow the one before it`, { seq: record.seq });
      head = record.digest;
    }
  };

  /** A record that is missing below the head: nothing may be put in its place. Asked once, when the log is first followed. */
  const refuseGap = async (n: number): Promise<void> => {
    const [beyond] = await store.list('log/', { after: logName(n), limit: 1 });
    if (beyond === undefined || beyond.name === logName(n + 1) || (await log.read(n + 1)) !== null) return;
    throw new HoldfastError('OBJECT_MISSING', `${logName(n + 1)} is not in the store, though ${beyond.name} is`, {
      object: logName(n + 1),
    });
  };

  /** Reads to the head, from where this process stands, or from where another one has brought the state that they share. */
  const follow = async (): Promise<Ledger> => {
    const first = ledger === null;
    for (let at = ledger !== null && folding.stands(ledger.n) ? ledger : await folding.begin(log); ;) {
      ledger = at;
      const records = await readAhead(at.n);
      if (records.length === 0) {
        if (first) await refuseGap(at.n);
        return at;
      }
      checkChain(at, records);
      at = (await folding.fold(at, records)) ?? (await folding.skipTo(at.n + 1));
    }
  };

  const syncNow = async (): Promise<Ledger> => {
    for (;;) {
      try {
        return await follow();
      } catch (error) {
        if (!folding.mends(error)) throw error;
      }
    }
  };

  const current = (): Ledger => {
    if (ledger === null) throw new HoldfastError('INTERNAL', 'a repository was asked before its first sync');
    return ledger;
  };

  const sync = (): Promise<Ledger> => exclusively(syncNow);

  const committer: Committer<Ledger, Entry> = createCommitter({
    sync,
    judge(state, entry) {
      const refusal = judge(state, entry);
      if (refusal)
        throw new HoldfastError(refusal.code, `${entry.kind} is refused: ${refusal.reason}`, { kind: entry.kind, reason: refusal.reason });
    },
    advance(state, entry) {
      const next = cloneLedger(state);
      applyEntry(next, entry, state.n + 1);
      return next;
    },
    compatible: (batch, next) => !WITH_TABLE.has(next.kind) || !batch.some((entry) => WITH_TABLE.has(entry.kind)),
    put: (entries, judgedOn) =>
      exclusively(async () => {
        const at = current();
        // Another task of this process has synced since: what was judged at n must not be put at n+2 (R3).
        if (at.n !== judgedOn.n) return null;
        const record = await log.put({
          seq: at.n + 1,
          previous: at.head,
          writer: environment.writer,
          attempt: environment.random(16).toString('hex'),
          timeMs: environment.nowMs(),
          entries,
        });
        if (record === null) return null;
        standing = record.seq;
        try {
          const folded = await folding.fold(at, [record]);
          if (folded !== null) ledger = folded;
        } catch (error) {
          // The record stands. What kept this process from folding it, the next sync meets again.
          if (!(error instanceof HoldfastError)) throw error;
          folding.mends(error);
        }
        return record;
      }),
    backOff: (round) => environment.sleep(5 * round * (1 + (environment.random(1)[0] ?? 0) / 64)),
  });

  return {
    sync,
    ledger: current,
    async append(plan) {
      const seq = await committer.append(plan);
      // Whoever appends may look at what came of it, or of the entry of the same batch that left nothing to do.
      if (current().n < standing || !folding.stands(current().n)) await sync();
      return seq;
    },
  };
}
