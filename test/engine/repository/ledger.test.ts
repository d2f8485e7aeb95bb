/** The rules of docs/protocol.md, row by row: what may stand, what may not, and why. */
import { describe, expect, test } from '@jest/globals';
import { lineageOf, newSnapshotId, volumeName, type SnapshotId } from '../../../src/domain/ids.ts';
import { CLAIMS_KEPT_MAX } from '../../../src/domain/limits.ts';
import { COLLECTOR, type Entry, type EntryOf } from '../../../src/engine/repository/entries.ts';
import { applyEntry, cloneLedger, emptyLedger, isClosed, judge, type Ledger } from '../../../src/engine/repository/ledger.ts';

const V = lineageOf(volumeName('v'), 1);
const W = lineageOf(volumeName('w'), 1);
const id = (n: number): SnapshotId => newSnapshotId(n, () => 0);
const change = (n: number) => ({ name: `a/${n}/c`, digest: '0'.repeat(64) });

const claim = (actor: EntryOf<'CLAIM'>['actor'], attempt = 1, owner = 'run', snapshot: SnapshotId | null = null): Entry => ({
  ...{ kind: 'CLAIM', actor, snapshot, owner, attempt, adopt: true },
});
const commit = (epoch: number, snapshot: SnapshotId, parent: SnapshotId | null, lineage = V): Entry => ({
  ...{ kind: 'COMMIT', lineage, epoch, snapshot, parent, root: null, rootLocation: null, sizeBytes: 0, extentBytes: 65_536 },
  ...{ change: change(epoch), takenMs: 0, consistency: 'crash', label: null },
});
const hide = (snapshot: SnapshotId, version = 0, purge = false): Entry => ({ kind: 'HIDE', snapshot, version, purge });
const reclaim = (epoch: number, snapshot: SnapshotId, previous: SnapshotId | null, next: SnapshotId | null): Entry => ({
  ...{ kind: 'RECLAIM', epoch, snapshot, previous, next, change: change(epoch) },
});

/** Applies entries, one a record; each must be admissible. */
function after(...entries: Entry[]): Ledger {
  const ledger = emptyLedger();
  for (const entry of entries) {
    expect([entry, judge(ledger, entry)]).toEqual([entry, null]);
    applyEntry(ledger, entry, ++ledger.n);
  }
  return ledger;
}
const refused = (ledger: Ledger, entry: Entry): string | undefined => judge(ledger, entry)?.code;

/** Three snapshots of one lineage: records 1 to 6. */
const three = (...more: Entry[]): Ledger =>
  after(claim(V), commit(1, id(1), null), claim(V), commit(3, id(2), id(1)), claim(V), commit(5, id(3), id(2)), ...more);

describe('claims', () => {
  test('the number of the record is the epoch, and closing it is final', () => {
    const ledger = after(claim(V), { kind: 'ABORT', actor: V, epoch: 1 }, claim(V));
    expect(ledger.claims.get(V)?.epoch).toBe(3);
    expect([1, 2, 3, 4].map((epoch) => isClosed(ledger, epoch))).toEqual([true, true, false, false]);
    expect(refused(ledger, { kind: 'ABORT', actor: V, epoch: 1 })).toBe('CLAIM_LOST');
    expect(refused(ledger, commit(1, id(1), null))).toBe('CLAIM_LOST');
  });

  test('a claim that adopts keeps earlier ones open until it closes, up to a bound', () => {
    const ledger = after(...Array.from({ length: CLAIMS_KEPT_MAX + 2 }, (_, i) => claim(V, i + 1)));
    const open = CLAIMS_KEPT_MAX + 2;
    expect([1, 2, open].map((epoch) => isClosed(ledger, epoch))).toEqual([true, false, false]);
    applyEntry(ledger, commit(open, id(1), null), ++ledger.n);
    expect([2, open].map((epoch) => isClosed(ledger, epoch))).toEqual([true, true]);
  });

  test('a woken older attempt of the same run is refused; another run takes over', () => {
    const ledger = after(claim(V, 2, 'run', id(1)));
    expect(refused(ledger, claim(V, 1, 'run', id(1)))).toBe('CLAIM_LOST');
    expect(refused(ledger, claim(V, 3, 'run', id(1)))).toBeUndefined();
    expect(refused(ledger, claim(V, 1, 'other', id(1)))).toBeUndefined();
  });

  test('a retired lineage takes no claims, and its open one is closed', () => {
    const ledger = after(claim(V), { kind: 'RETIRE', lineage: V });
    expect(isClosed(ledger, 1)).toBe(true);
    expect(refused(ledger, claim(V))).toBe('VOLUME_RETIRED');
  });
});

describe('commits', () => {
  test('an id is used once; the parent is the newest live one, hidden ones included', () => {
    const ledger = three(hide(id(3)), claim(V));
    expect(refused(ledger, commit(8, id(2), id(3)))).toBe('RECORD_REFUSED');
    expect(refused(ledger, commit(8, id(4), id(2)))).toBe('PARENT_MOVED');
    expect(refused(ledger, commit(8, id(4), id(3)))).toBeUndefined();
  });

  test('the first of a lineage has no diff; a later one has', () => {
    const ledger = three();
    expect(ledger.snapshots.get(id(1))?.diff).toBeNull();
    expect(ledger.snapshots.get(id(2))?.diff).toEqual(change(3));
  });

  test('an id stays used when its snapshot is gone', () => {
    const ledger = three(hide(id(1)), claim(COLLECTOR), reclaim(8, id(1), null, id(2)), claim(W));
    expect(refused(ledger, commit(10, id(1), null, W))).toBe('RECORD_REFUSED');
  });
});

describe('visibility', () => {
  test('a request carries the version it saw: delivered again, it is refused', () => {
    const ledger = three(hide(id(2)), { kind: 'UNHIDE', snapshot: id(2), version: 1 });
    expect(refused(ledger, hide(id(2), 0))).toBe('VISIBILITY_CHANGED');
    expect(refused(ledger, hide(id(2), 2))).toBeUndefined();
    expect(refused(ledger, hide(id(9)))).toBe('SNAPSHOT_NOT_FOUND');
  });

  test('a purge stays one until the snapshot is shown again', () => {
    const ledger = three(hide(id(3), 0, true), hide(id(3), 1, false));
    expect(ledger.snapshots.get(id(3))?.purge).toBe(true);
    applyEntry(ledger, { kind: 'UNHIDE', snapshot: id(3), version: 2 }, ++ledger.n);
    expect(ledger.snapshots.get(id(3))).toMatchObject({ hidden: false, purge: false, version: 3 });
  });
});

describe('reclaims', () => {
  test('only under the open collector claim: a second collector fences the first', () => {
    const ledger = three(hide(id(2)), claim(COLLECTOR), claim(COLLECTOR, 2));
    expect(refused(ledger, reclaim(8, id(2), id(1), id(3)))).toBe('CLAIM_LOST');
    expect(refused(ledger, reclaim(9, id(2), id(1), id(3)))).toBeUndefined();
    expect(refused(ledger, { kind: 'REPLACE', epoch: 8, from: [], change: change(8) })).toBe('CLAIM_LOST');
  });

  test('only between the neighbours that it names', () => {
    const ledger = three(hide(id(2)), claim(COLLECTOR));
    expect(refused(ledger, reclaim(8, id(2), id(1), null))).toBe('RECORD_REFUSED');
    expect(refused(ledger, reclaim(8, id(2), null, id(3)))).toBe('RECORD_REFUSED');
  });

  const obstacles: readonly (readonly [string, Ledger, SnapshotId])[] = [
    ['shown', three(claim(COLLECTOR)), id(2)],
    ['pinned', three(hide(id(2)), { kind: 'PIN', pin: 'p', snapshot: id(2), untilMs: 0, why: '' }, claim(COLLECTOR)), id(2)],
    ['the newest of a living lineage', three(hide(id(3)), claim(COLLECTOR)), id(3)],
    ['the base of an open attempt, purged or not', three(hide(id(3), 0, true), claim(V), claim(COLLECTOR)), id(3)],
  ];
  test.each(obstacles)('not while it is %s', (_, ledger, snapshot) => {
    const ids = [id(1), id(2), id(3)];
    const at = ids.indexOf(snapshot);
    const epoch = ledger.claims.get(COLLECTOR)?.epoch ?? 0;
    expect(refused(ledger, reclaim(epoch, snapshot, ids[at - 1] ?? null, ids[at + 1] ?? null))).toBe('SNAPSHOT_PINNED');
  });

  test('the newest goes once it is purged, or its lineage retired', () => {
    expect(refused(three(hide(id(3), 0, true), claim(COLLECTOR)), reclaim(8, id(3), id(2), null))).toBeUndefined();
    expect(refused(three(hide(id(3)), { kind: 'RETIRE', lineage: V }, claim(COLLECTOR)), reclaim(9, id(3), id(2), null))).toBeUndefined();
  });

  test('the successor takes the composed diff, or none when it becomes the first', () => {
    const middle = three(hide(id(2)), claim(COLLECTOR), reclaim(8, id(2), id(1), id(3)));
    expect(middle.snapshots.get(id(3))?.diff).toEqual(change(8));
    expect(middle.order.get(V)).toEqual([id(1), id(3)]);
    const first = three(hide(id(1)), claim(COLLECTOR), reclaim(8, id(1), null, id(2)));
    expect(first.snapshots.get(id(2))?.diff).toBeNull();
  });
});

describe('heals', () => {
  const heal = (actor: EntryOf<'CLAIM'>['actor'], epoch: number): Entry => ({
    ...{ kind: 'HEAL', actor, epoch, from: [], change: change(epoch) },
  });

  test('only under the open claim that has brought the values: not a fenced one, not a closed one, not that of another lineage', () => {
    const open = after(claim(W), claim(V), claim(V, 2));
    expect(refused(open, heal(V, 3))).toBeUndefined();
    expect(refused(open, heal(W, 1))).toBeUndefined();
    expect([heal(V, 2), heal(V, 1), heal(W, 3), heal(COLLECTOR, 3)].map((entry) => refused(open, entry))).toEqual(
      Array.from({ length: 4 }, () => 'CLAIM_LOST'),
    );
    applyEntry(open, commit(3, id(1), null), ++open.n);
    applyEntry(open, { kind: 'ABORT', actor: W, epoch: 1 }, ++open.n);
    expect([heal(V, 3), heal(W, 1)].map((entry) => refused(open, entry))).toEqual(['CLAIM_LOST', 'CLAIM_LOST']);
  });

  test('the claim stays open, so that it may heal again and commit', () => {
    const ledger = after(claim(V), heal(V, 1), heal(V, 1), commit(1, id(1), null));
    expect(ledger.snapshots.has(id(1))).toBe(true);
  });
});

test('judging changes nothing, and a clone is independent', () => {
  const ledger = three();
  const before = JSON.stringify([...ledger.order]);
  const copy = cloneLedger(ledger);
  applyEntry(copy, claim(V), 7);
  applyEntry(copy, commit(7, id(4), id(3)), 8);
  judge(ledger, hide(id(1)));
  expect(JSON.stringify([...ledger.order])).toBe(before);
  expect(ledger.claims.size).toBe(0);
});
