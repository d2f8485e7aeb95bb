/**
 * A repository, open: the thin shell around the pure fold.
 *
 * It follows the log (`sync`), appends to it (`append`), finds where a value lies (`locate`) and reads nodes of maps. All
 * decisions are the ledger's; all that is here may be stale, killed or doubled without harm: a stale view loses the race
 * for n+1 and is judged again, a stale location gets a 404 and looks again.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { SYNC_WINDOW } from '../../domain/limits.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { createCommitter, type Committer, type Plan } from '../log/committer.ts';
import { createLog, type StoredRecord } from '../log/log.ts';
import type { ReadNode } from '../map/walk.ts';
import { createChangeStore, type ChangeStore, type FetchedChange } from './change-io.ts';
import { checkpoints, loadCheckpoint } from './checkpoint.ts';
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
  /** Looks again where values lie: after a 404, and before the table is believed. */
  relook(): Promise<unknown>;
  /** Whether the table is that of the first n records now; a cache that is shared moves under this process. */
  standsAt(n: number): boolean;
  /** Packs that lost their last live value in records folded here since the last call. */
  takeEmptied(): readonly Buffer[];
}

/** Emptied packs remembered for a quick sweep; the rest is found by listing. */
const EMPTIED_MAX = 65_536;

/** A row of the local cache whose checksum does not fit. */
const isCacheDamage = (error: unknown): boolean => isHoldfastError(error, 'DAMAGED') && error.details['cache'] === 'row';

/** Entries that read or change the table: at most one of them in a record, so that its table is that of prefix n. */
const WITH_TABLE: ReadonlySet<Entry['kind']> = new Set(['CLAIM', 'COMMIT', 'RECLAIM', 'REPLACE']);

export function openRepository(parts: RepositoryParts): Repository {
  const { store, key, environment } = parts;
  const changes = createChangeStore(store, key, environment.random);
  const log = createLog<Entry>({ store, sealing: key, nameOf: logName, entrySchema, kinds: ENTRY_KINDS, random: environment.random });
  let ledger: Ledger | null = null;
  /** Whether `ledger` and the table belong together; false while the table is written, and after a write that failed. */
  let whole = false;
  let damaged = false;
  /** The newest record that this process knows to stand; its fold may have failed. */
  let standing = 0;
  let emptied: Buffer[] = [];
  let tail: Promise<unknown> = Promise.resolve();

  /** One at a time: a fold must not meet another one half-way. */
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const run = tail.then(work);
    tail = run.catch(() => undefined);
    return run;
  };

  /** A row that rotted on the local disk counts as not there until the cache is built anew: then a value is sent or sought again. */
  const table: Table = {
    ...parts.table,
    get(fingerprint) {
      try {
        return parts.table.get(fingerprint);
      } catch (error) {
        if (!isCacheDamage(error)) throw error;
        damaged = true;
        return null;
      }
    },
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
    return restart(0);
  };

  /**
   * Starts from the newest checkpoint that can be read and stands at `least` or beyond; 0: from the beginning if there is
   * none. A part that is gone may mean that newer checkpoints were written meanwhile: then those are tried.
   */
  const restart = async (least: number): Promise<Ledger> => {
    for (let tried = -1; ;) {
      let newest = 0;
      let cause: unknown;
      for await (const checkpoint of checkpoints(store, key)) {
        newest ||= checkpoint.n;
        if (checkpoint.n < least || newest === tried) break;
        try {
          return await loadCheckpoint(store, key, checkpoint, table);
        } catch (error) {
          if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING')) throw error;
          environment.alarm('a checkpoint cannot be read and is passed over', { n: checkpoint.n, code: error.code });
          cause = error;
        }
      }
      if (cause !== undefined) {
        tried = newest;
        continue;
      }
      if (least > 0)
        throw new HoldfastError('OBJECT_MISSING', `a change that the log names from record ${least} on is not in the store`, {
          seq: least,
        });
      table.loader().finish(emptyLedger());
      return emptyLedger();
    }
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
      whole = false;
      const result = foldRecords(from, parts.table, records, (root) => fetched.get(root)?.parts() ?? []);
      whole = true;
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

  /** A record that is missing below the head: nothing may be put in its place. Asked once, when the log is first followed. */
  const refuseGap = async (n: number): Promise<void> => {
    const [beyond] = await store.list('log/', { after: logName(n), limit: 1 });
    if (beyond === undefined || beyond.name === logName(n + 1) || (await log.read(n + 1)) !== null) return;
    throw new HoldfastError('OBJECT_MISSING', `${logName(n + 1)} is not in the store, though ${beyond.name} is`, {
      object: logName(n + 1),
    });
  };

  /** Reads to the head, from where this process stands, or from where another one has brought the cache that they share. */
  const follow = async (): Promise<Ledger> => {
    const first = ledger === null;
    let at = whole && ledger !== null && standsAt(ledger.n) ? ledger : await begin();
    for (;;) {
      whole = true;
      ledger = at;
      const records = await readAhead(at.n);
      if (records.length === 0) {
        if (first) await refuseGap(at.n);
        return at;
      }
      checkChain(at, records);
      at = (await fold(at, records)) ?? (await restart(at.n + 1));
    }
  };

  const syncNow = async (): Promise<Ledger> => {
    for (;;) {
      try {
        if (damaged) {
          environment.alarm('the local cache is damaged and is built anew', { n: ledger?.n ?? 0 });
          ledger = await restart(0);
          whole = true;
          damaged = false;
        }
        return await follow();
      } catch (error) {
        if (isCacheDamage(error)) damaged = true;
        // Another process has moved the shared cache: what it stands at now is as good.
        else if (isHoldfastError(error, 'CONTENTION')) whole = false;
        else throw error;
      }
    }
  };

  const standsAt = (n: number): boolean => (table.stamp() ?? n) === n;

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
          const folded = await fold(at, [record]);
          if (folded !== null) ledger = folded;
        } catch (error) {
          // The record stands. What kept this process from folding it, the next sync meets again.
          if (!(error instanceof HoldfastError)) throw error;
          damaged ||= isCacheDamage(error);
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
    async append(plan) {
      const seq = await committer.append(plan);
      // Whoever appends may look at what came of it, or of the entry of the same batch that left nothing to do.
      if (!whole || current().n < standing) await sync();
      return seq;
    },
    relook: sync,
    standsAt,
    readNode: values.readNode,
    locate,
    takeEmptied() {
      const taken = emptied;
      emptied = [];
      return taken;
    },
  };
}
