/**
 * A repository, open: the thin shell around the pure fold.
 *
 * It follows the log (`sync`), appends to it (`append`), finds where a value lies (`locate`) and reads nodes of maps. All
 * decisions are the ledger's; all that is here may be stale, killed or doubled without harm: a stale view loses the race
 * for n+1 and is judged again, a stale location gets a 404 and looks again.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { SYNC_WINDOW } from '../../domain/limits.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { createCommitter, type Committer, type Plan } from '../log/committer.ts';
import { createLog, type StoredRecord } from '../log/log.ts';
import type { ReadNode } from '../map/walk.ts';
import { createChangeStore, type ChangeStore, type FetchedChange } from './change-io.ts';
import { newestCheckpoint, loadCheckpoint } from './checkpoint.ts';
import { ENTRY_KINDS, entrySchema, type Entry } from './entries.ts';
import type { Environment } from './environment.ts';
import { foldRecords } from './fold.ts';
import { applyEntry, cloneLedger, emptyLedger, judge, type Ledger } from './ledger.ts';
import type { Location } from './location.ts';
import { logName } from './object-names.ts';
import { createValueReader, type ValueReader } from './value-reader.ts';
import type { Table } from './table.ts';

export interface RepositoryParts {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly table: Table;
  readonly environment: Environment;
}

export interface Repository {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly table: Table;
  readonly changes: ChangeStore;
  readonly environment: Environment;
  readonly values: ValueReader;
  /** Reads the log to its head. */
  sync(): Promise<Ledger>;
  /** The ledger as of the last sync. */
  ledger(): Ledger;
  /** Appends what `plan` asks for, judged at the head; null when it found nothing to do. */
  append(plan: Plan<Ledger, Entry>): Promise<number | null>;
  readonly readNode: ReadNode;
  /** Where a value lies, as of the last sync. */
  locate(fingerprint: Buffer): Location | null;
  /** Packs that lost their last live value in records folded here since the last call. */
  takeEmptied(): readonly Buffer[];
}

/** Emptied packs remembered for a quick sweep; the rest is found by listing. */
const EMPTIED_MAX = 65_536;

/** Entries that read or change the table: at most one of them in a record, so that its table is that of prefix n. */
const WITH_TABLE: ReadonlySet<Entry['kind']> = new Set(['CLAIM', 'COMMIT', 'RECLAIM', 'REPLACE']);

export function openRepository({ store, key, table, environment }: RepositoryParts): Repository {
  const changes = createChangeStore(store, key, environment.random);
  const log = createLog<Entry>({ store, sealing: key, nameOf: logName, entrySchema, kinds: ENTRY_KINDS, random: environment.random });
  let ledger: Ledger | null = null;
  let emptied: Buffer[] = [];
  let tail: Promise<unknown> = Promise.resolve();

  /** One at a time: a fold must not meet another one half-way. */
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const run = tail.then(work);
    tail = run.catch(() => undefined);
    return run;
  };

  /** The cache's ledger if it fits this log, else the newest checkpoint's, else the beginning. */
  const begin = async (): Promise<Ledger> => {
    const cached = table.ledger();
    if (cached !== null && cached.n > 0) {
      const record = await log.read(cached.n);
      if (record === null)
        throw new HoldfastError('LOG_DIVERGED', `the log ends before record ${cached.n}, which was read before`, { known: cached.n });
      if (record.digest === cached.head) return cached;
      environment.alarm('the local cache does not fit the log and is discarded', { n: cached.n });
    }
    table.reset([], []);
    return restart();
  };

  const restart = async (): Promise<Ledger> => {
    const newest = await newestCheckpoint(store, key);
    if (newest === null) {
      table.reset([], []);
      return emptyLedger();
    }
    return loadCheckpoint(store, key, newest, table);
  };

  /** Folds records that follow the ledger; null when a change they name is gone, which a newer checkpoint explains. */
  const fold = async (from: Ledger, records: readonly StoredRecord<Entry>[]): Promise<Ledger | null> => {
    const fetched = new Map<string, FetchedChange>();
    try {
      for (const record of records)
        for (const entry of record.entries) {
          if (!('change' in entry)) continue;
          const change = await changes.fetch(entry.change);
          if (change === null) return null;
          fetched.set(entry.change.name, change);
        }
      const result = foldRecords(from, table, records, (root) => fetched.get(root)?.parts() ?? []);
      for (const { entry, reason } of result.voided)
        environment.alarm(`the log holds an inadmissible ${entry.kind}: ${reason}`, { n: result.ledger.n });
      emptied = emptied.concat(result.emptied).slice(-EMPTIED_MAX);
      return result.ledger;
    } finally {
      for (const change of fetched.values()) change[Symbol.dispose]();
    }
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

  const syncNow = async (): Promise<Ledger> => {
    let at = ledger ?? (await begin());
    for (;;) {
      const records = await readAhead(at.n);
      if (records.length === 0) return (ledger = at);
      checkChain(at, records);
      try {
        at = (await fold(at, records)) ?? (await restart());
      } catch (error) {
        if (!(error instanceof HoldfastError && error.code === 'CONTENTION')) throw error;
        at = table.ledger() ?? (await begin());
      }
      ledger = at;
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
        if (record !== null) {
          try {
            ledger = (await fold(at, [record])) ?? at;
          } catch (error) {
            // The record stands. Whatever kept this process from folding it is found again by the next sync.
            if (!(error instanceof HoldfastError)) throw error;
            ledger = table.ledger() ?? null;
          }
        }
        return record;
      }),
    backOff: (round) => environment.sleep(5 * round * (1 + (environment.random(1)[0] ?? 0) / 64)),
  });

  const locate = (fingerprint: Buffer): Location | null => table.get(fingerprint)?.location ?? null;
  const values = createValueReader({ store, key, locate, refresh: sync });

  return {
    store,
    key,
    table,
    changes,
    environment,
    values,
    sync,
    ledger: current,
    append: (plan) => committer.append(plan),
    readNode: values.readNode,
    locate,
    takeEmptied() {
      const taken = emptied;
      emptied = [];
      return taken;
    },
  };
}
