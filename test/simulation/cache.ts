/**
 * A cache of one simulated machine: a table and the ledger that goes with it, shared by the processes of that machine, with
 * the rules of the SQLite table (src/engine/repository/sqlite-table.ts): every call is one transaction, and a write that
 * does not stand where its process believes is refused. A copy is a machine that was switched off for a while; a row of it
 * may have rotted meanwhile, which its checksum tells.
 */
import { HoldfastError } from '../../src/domain/errors.ts';
import { cloneLedger, type Ledger } from '../../src/engine/repository/ledger.ts';
import { createMemoryTable, type MemoryTable } from '../../src/engine/repository/memory-table.ts';
import type { Table } from '../../src/engine/repository/table.ts';

export interface LocalCache {
  /** The table as one process sees it. */
  view(): Table;
  /** What the cache holds now, as another machine's, less a row if `rots`; null while it holds nothing. */
  copy(rots: ((values: readonly string[]) => string) | null): LocalCache | null;
  n(): number;
}

export function createLocalCache(
  table: MemoryTable = createMemoryTable(),
  ledger: Ledger | null = null,
  rottenRow: string | null = null,
): LocalCache {
  let held = ledger;
  let rotten = rottenRow;
  const standsAt = (): number => held?.n ?? 0;
  return {
    n: standsAt,
    copy(rots) {
      if (held === null) return null;
      const values = rots === null ? [] : [...table.rows()].map(({ fingerprint }) => fingerprint.toString('hex'));
      return createLocalCache(table.clone(), cloneLedger(held), rots === null || values.length === 0 ? null : rots(values));
    },
    view() {
      let seen = 0;
      return {
        ...table,
        get(fingerprint) {
          if (rotten !== null && fingerprint.toString('hex') === rotten)
            throw new HoldfastError('DAMAGED', 'the local cache is damaged', { fingerprint: rotten, cache: 'row' });
          return table.get(fingerprint);
        },
        stamp: standsAt,
        ledger() {
          seen = standsAt();
          return held === null ? null : cloneLedger(held);
        },
        write(from, work, next) {
          if (standsAt() !== from || seen !== from) throw new HoldfastError('CONTENTION', 'another process has moved the shared cache on');
          const emptied = table.write(from, work, next);
          held = cloneLedger(next);
          seen = next.n;
          return emptied;
        },
        loader() {
          const from = standsAt();
          const loader = table.loader();
          return {
            ...loader,
            finish(next) {
              if (standsAt() !== from) throw new HoldfastError('CONTENTION', 'another process has moved the shared cache on');
              loader.finish(next);
              rotten = null;
              held = cloneLedger(next);
              seen = next.n;
            },
          };
        },
      };
    },
  };
}
