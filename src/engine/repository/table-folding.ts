/**
 * The whole fold: ledger and table together, by reading every change that the records name.
 *
 * It begins from the local cache if that fits the log, else from the newest checkpoint, else from the beginning. Other
 * processes of the machine move the same cache on: what they brought is as good, and a write that meets it begins anew.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { StoredRecord } from '../log/log.ts';
import type { ChangeStore, FetchedChange } from './change-io.ts';
import { checkpoints, loadCheckpoint } from './checkpoint.ts';
import type { Entry } from './entries.ts';
import { foldRecords } from './fold.ts';
import type { FollowerParts, Folding, RepositoryLog } from './follower.ts';
import { emptyLedger, type Ledger } from './ledger.ts';
import type { Table } from './table.ts';

export interface TableFolding extends Folding {
  /** The table; a row that rotted on the local disk counts as not there, until the cache is built anew. */
  readonly table: Table;
  /** Packs that lost their last live value in records folded here since the last call. */
  takeEmptied(): readonly Buffer[];
}

/** Emptied packs remembered for a quick sweep; the rest is found by listing. */
const EMPTIED_MAX = 65_536;

/** A row of the local cache whose checksum does not fit. */
const isCacheDamage = (error: unknown): boolean => isHoldfastError(error, 'DAMAGED') && error.details['cache'] === 'row';

export function createTableFolding({ store, key, environment }: FollowerParts, cache: Table, changes: ChangeStore): TableFolding {
  /** Whether ledger and table belong together; false while the table is written, and after a write that failed. */
  let whole = false;
  let damaged = false;
  let emptied: Buffer[] = [];

  const stands = (n: number): boolean => whole && !damaged && (cache.stamp() ?? n) === n;

  /**
   * Starts from the newest checkpoint that can be read and stands at `least` or beyond; 0: from the beginning if there is
   * none. A part that is gone may mean that newer checkpoints were written meanwhile: then those are tried.
   */
  const skipTo = async (least: number): Promise<Ledger> => {
    for (let tried = -1; ;) {
      let newest = 0;
      let cause: unknown;
      for await (const checkpoint of checkpoints(store, key)) {
        newest ||= checkpoint.n;
        if (checkpoint.n < least || newest === tried) break;
        try {
          const ledger = await loadCheckpoint(store, key, checkpoint, cache);
          whole = true;
          return ledger;
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
      cache.loader().finish(emptyLedger());
      whole = true;
      return emptyLedger();
    }
  };

  return {
    table: {
      ...cache,
      get(fingerprint) {
        try {
          return cache.get(fingerprint);
        } catch (error) {
          if (!isCacheDamage(error)) throw error;
          damaged = true;
          return null;
        }
      },
    },
    stands,
    skipTo,

    async begin(log) {
      const cached = damaged ? null : await cachedLedger(cache, log, environment);
      if (damaged) environment.alarm('the local cache is damaged and is built anew', { n: cache.stamp() ?? 0 });
      const ledger = cached ?? (await skipTo(0));
      whole = true;
      damaged = false;
      return ledger;
    },

    async fold(from, records) {
      const fetched = new Map<string, FetchedChange>();
      try {
        for (const name of records.flatMap(changesOf)) {
          const change = await changes.fetch(name);
          if (change === null) return null;
          fetched.set(name.name, change);
        }
        whole = false;
        const result = foldRecords(from, cache, records, (root) => fetched.get(root)?.parts() ?? []);
        whole = true;
        for (const { entry, reason } of result.voided)
          environment.alarm(`the log holds an inadmissible ${entry.kind}: ${reason}`, { n: result.ledger.n });
        emptied = emptied.concat(result.emptied).slice(-EMPTIED_MAX);
        return result.ledger;
      } finally {
        for (const change of fetched.values()) change[Symbol.dispose]();
      }
    },

    mends(error) {
      if (isCacheDamage(error)) damaged = true;
      // Another process has moved the shared cache: what it stands at now is as good.
      else if (isHoldfastError(error, 'CONTENTION')) whole = false;
      else return false;
      return true;
    },

    takeEmptied() {
      const taken = emptied;
      emptied = [];
      return taken;
    },
  };
}

const changesOf = ({ entries }: StoredRecord<Entry>) => entries.flatMap((entry) => ('change' in entry ? [entry.change] : []));

/** The ledger that the cache keeps, or null when it keeps none or is not of this log. */
export async function cachedLedger(
  cache: Pick<Table, 'ledger'>,
  log: RepositoryLog,
  environment: FollowerParts['environment'],
): Promise<Ledger | null> {
  const cached = cache.ledger();
  if (cached === null || cached.n === 0) return null;
  const record = await log.read(cached.n);
  if (record === null)
    throw new HoldfastError('LOG_DIVERGED', `the log ends before record ${cached.n}, which was read before`, { known: cached.n });
  if (record.digest === cached.head) return cached;
  environment.alarm('the local cache does not fit the log and is discarded', { n: cached.n });
  return null;
}
