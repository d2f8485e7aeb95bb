/** Ledger and table as one text, for comparing two folds; equal texts mean equal states. */
import type { Ledger } from '../../src/engine/repository/ledger.ts';
import type { Table } from '../../src/engine/repository/table.ts';

const byName = (a: readonly [string, unknown], b: readonly [string, unknown]): number => (a[0] < b[0] ? -1 : 1);

export function describeState(ledger: Ledger, table: Table): string {
  const rows = [...table.rows()].map(
    ({ fingerprint, runs, location }) =>
      `${fingerprint.toString('hex')} ${runs} ${location.pack.toString('hex')} ${location.offset} ${location.length}`,
  );
  const packs = [...table.packs()].map((pack) => ({ ...pack, id: pack.id.toString('hex') }));
  const { order, snapshots, used, retired, claims, pins, n, head } = ledger;
  return JSON.stringify({
    ...{ n, head, rows, packs, parts: [...table.parts()] },
    order: [...order].sort(byName),
    snapshots: [...snapshots].sort(byName),
    used: [...used].sort(byName),
    retired: [...retired].sort(),
    claims: [...claims].sort(byName),
    pins: [...pins].sort(byName),
  });
}
