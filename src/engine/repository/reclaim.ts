/**
 * Reclaiming a snapshot S between its neighbours P and N, from two stored diffs alone: at a cost that follows what changed.
 *
 * Counts are runs: a value counts once for each unbroken row of snapshots that hold it at one position. Dropping S:
 *     position in both diffs    S's value loses a run; and if P's value = N's, their two runs become one: -1 for it
 *     position in one only      no run begins or ends
 *     S first                   every `old` of diff(N) loses a run, and N needs no diff any more
 *     S last                    every `new` of diff(S) loses a run
 *     S alone                   every value of its tree loses a run
 * diff(N) becomes diff(S) then diff(N), without the positions where P and N agree. This is the deadlist, over names; the
 * walk of the tree is its audit (test/engine/repository).
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import { reclaimObstacle } from '../../domain/lifecycle.ts';
import { isAbsent } from '../map/node.ts';
import { mapRoot, walkMap } from '../map/walk.ts';
import { comparePositions, groupOf, type DiffRow, type MinusRow, type PartRef } from './change.ts';
import { writeBlocks, type ChangeBlock } from './change-io.ts';
import type { ChangeRef, Entry } from './entries.ts';
import { factsOf, neighboursOf, type Ledger, type Snapshot } from './ledger.ts';
import type { Repository } from './repository.ts';

/** Reclaims one snapshot under a collector's claim. False: it is gone, or something stands against it now. */
export async function reclaimSnapshot(repository: Repository, id: SnapshotId, epoch: number, nextName: () => string): Promise<boolean> {
  let computed: { readonly from: string; readonly change: ChangeRef } | null = null;
  const plan = async (ledger: Ledger): Promise<Entry | null> => {
    const snapshot = ledger.snapshots.get(id);
    if (!snapshot || reclaimObstacle(factsOf(ledger, snapshot)) !== null) return null;
    const { previous, next } = neighboursOf(ledger, snapshot);
    const from = [snapshot.diff?.name, previous, next, next === null ? null : ledger.snapshots.get(next)?.diff?.name].join();
    // A lost race to another lineage changes neither neighbours nor diffs: what was computed still holds.
    if (computed?.from !== from) computed = { from, change: await writeReclaim(repository, ledger, snapshot, nextName) };
    return { kind: 'RECLAIM', epoch, snapshot: id, previous, next, change: computed.change };
  };
  try {
    return (await repository.append(plan)) !== null;
  } catch (error) {
    // Another collector has reclaimed it while its tree was walked.
    if (isHoldfastError(error, 'SNAPSHOT_GONE')) return false;
    throw error;
  }
}

const writeReclaim = (repository: Repository, ledger: Ledger, snapshot: Snapshot, nextName: () => string): Promise<ChangeRef> =>
  writeBlocks(repository.changes, reclaimBlocks(repository, ledger, snapshot), nextName);

/** What dropping a snapshot ends and composes, block by block; writes nothing, so that a plan can be printed from it. */
export function reclaimBlocks(repository: Repository, ledger: Ledger, snapshot: Snapshot): AsyncIterable<ChangeBlock> {
  const { previous, next } = neighboursOf(ledger, snapshot);
  const after = next === null ? undefined : ledger.snapshots.get(next);
  const own = previous === null ? null : snapshot.diff;
  const successor = after?.diff ?? null;
  if (own === null && successor === null) return wholeTree(repository, snapshot);
  if (own === null)
    return mapBlocks(diffBlocks(repository, ledger.n, successor), (rows) => ({ diff: [], minus: runsOf(rows.map((row) => row.old)) }));
  if (successor === null)
    return mapBlocks(diffBlocks(repository, ledger.n, own), (rows) => ({ diff: [], minus: runsOf(rows.map((row) => row.new)) }));
  return joinBlocks(diffBlocks(repository, ledger.n, own), diffBlocks(repository, ledger.n, successor));
}

/** Rows of one group of one diff. */
interface Block {
  readonly group: number;
  readonly rows: readonly DiffRow[];
}

/** A stored diff by groups, ascending, one part in memory at a time; as a ledger of n records names it. */
async function* diffBlocks(repository: Repository, n: number, root: ChangeRef | null): AsyncGenerator<Block> {
  if (root === null) return;
  const read = async (ref: PartRef) => {
    const part = await repository.changes.read(ref);
    if (part !== null) return part;
    // Another collector was faster, and what it made unnecessary is swept: plan again on what it left.
    if ((await repository.sync()).n > n) throw new HoldfastError('CONTENTION', `${ref.name} is gone`, { object: ref.name });
    throw new HoldfastError('OBJECT_MISSING', `${ref.name} is not in the store`, { object: ref.name });
  };
  const top = await read(root);
  for (const ref of top.parts) yield* groupsOf((await read(ref)).diff);
  yield* groupsOf(top.diff);
}

function* groupsOf(rows: readonly DiffRow[]): Generator<Block> {
  for (let from = 0; from < rows.length;) {
    const first = rows[from];
    if (!first) return;
    const group = groupOf(first.level, first.index);
    let to = from;
    for (let row = rows[to]; row && groupOf(row.level, row.index) === group; row = rows[to]) to++;
    yield { group, rows: rows.slice(from, to) };
    from = to;
  }
}

async function* mapBlocks(blocks: AsyncIterable<Block>, change: (rows: readonly DiffRow[]) => ChangeBlock): AsyncGenerator<ChangeBlock> {
  for await (const block of blocks) yield change(block.rows);
}

/** Merges two diffs group by group. */
async function* joinBlocks(own: AsyncGenerator<Block>, successor: AsyncGenerator<Block>): AsyncGenerator<ChangeBlock> {
  let a = await own.next();
  let b = await successor.next();
  while (!a.done || !b.done) {
    const groupA = a.done ? Infinity : a.value.group;
    const groupB = b.done ? Infinity : b.value.group;
    const rowsA = !a.done && groupA <= groupB ? a.value.rows : [];
    const rowsB = !b.done && groupB <= groupA ? b.value.rows : [];
    yield dropBetween(rowsA, rowsB);
    if (groupA <= groupB) a = await own.next();
    if (groupB <= groupA) b = await successor.next();
  }
}

/** The heart: rows of diff(S) and diff(N) of one group, both ascending. */
function dropBetween(own: readonly DiffRow[], successor: readonly DiffRow[]): ChangeBlock {
  const diff: DiffRow[] = [];
  const ended: Buffer[] = [];
  let j = 0;
  for (const s of own) {
    for (let n = successor[j]; n && comparePositions(n, s) < 0; n = successor[++j]) diff.push(n);
    const n = successor[j];
    if (!n || comparePositions(n, s) !== 0) {
      diff.push(s);
      continue;
    }
    j++;
    ended.push(s.new);
    if (s.old.equals(n.new)) ended.push(s.old);
    else diff.push({ level: s.level, index: s.index, old: s.old, new: n.new });
  }
  diff.push(...successor.slice(j));
  return { diff, minus: runsOf(ended) };
}

/** How often each value stands in the list; absent ones have no runs. */
export function runsOf(values: readonly Buffer[]): MinusRow[] {
  const runs = new Map<string, MinusRow>();
  for (const fingerprint of values) {
    if (isAbsent(fingerprint)) continue;
    const key = fingerprint.toString('hex');
    runs.set(key, { fingerprint, runs: (runs.get(key)?.runs ?? 0) + 1 });
  }
  return [...runs.values()];
}

/** Values taken from a tree walk before they become a block. */
const WALK_BLOCK = 65_536;

async function* wholeTree(repository: Repository, snapshot: Snapshot): AsyncGenerator<ChangeBlock> {
  let values: Buffer[] = [];
  for await (const value of walkMap(mapRoot(snapshot.root, snapshot.rootLocation), repository.readNode)) {
    values.push(Buffer.from(value.fingerprint));
    if (values.length < WALK_BLOCK) continue;
    yield { diff: [], minus: runsOf(values) };
    values = [];
  }
  yield { diff: [], minus: runsOf(values) };
}
