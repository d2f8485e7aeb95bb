/**
 * The order of reading: which extents of a subtree are read, in batches, each exactly once for all destinations.
 *
 * Leaf by leaf, so that memory does not grow with the volume and the bases' leaves are loaded a few ahead. What lies in a
 * hole or past the end is settled as zeros without being read. A leaf that nobody looks at costs nothing.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { MAP_FANOUT, SUBTREE_EXTENTS } from '../../domain/limits.ts';
import { batchExtents } from '../../ground/threads/tasks.ts';
import { ABSENT } from '../map/node.ts';
import type { SourceView } from './contract.ts';
import type { OnProgress } from './progress.ts';
import type { Recipient } from './recipient.ts';
import { leafRoles, ROLE_COMPARE, ROLE_NONE, rolesOf, type Selection } from './selection.ts';

/** Leaves of the bases loaded ahead: at 50 ms a read and 64 MiB of volume a leaf, 10 GiB/s of unchanged volume. */
const LEAVES_AHEAD = 8;

/** An extent to read, and what each recipient (by number) wants it for. */
export interface Reading {
  readonly extent: number;
  readonly roles: readonly number[];
}

export interface ReadingPlanDeps {
  readonly source: SourceView;
  readonly extentBytes: number;
  readonly subtree: number;
  readonly recipients: readonly Recipient[];
  readonly selections: readonly Selection[];
  readonly progress: OnProgress;
}

/** Takes note of what an extent is for a recipient; true when it has to be pushed there. */
export function settleFor(recipient: Recipient, role: number, extent: number, fingerprint: Buffer): boolean {
  if (recipient.failure !== null || role === ROLE_NONE) return false;
  if (role === ROLE_COMPARE) return recipient.settle(extent, fingerprint);
  if (!recipient.differs(extent, fingerprint)) return false;
  throw new HoldfastError('HINT_INVALID', `extent ${extent} has changed, which the list of changed extents does not say`, {
    extent,
    store: recipient.destination.store,
  });
}

/** Which extents of [first, first + count) may hold data. Asked only for stretches that somebody looks at. */
function withData(deps: ReadingPlanDeps, first: number, wanted: readonly boolean[]): boolean[] {
  const { source, extentBytes } = deps;
  const data = wanted.map(() => false);
  for (let from = wanted.indexOf(true); from >= 0;) {
    const gap = wanted.indexOf(false, from);
    const to = gap < 0 ? wanted.length : gap;
    const offset = (first + from) * extentBytes;
    const length = Math.min((first + to) * extentBytes, source.sizeBytes) - offset;
    for (const range of length > 0 ? source.dataRanges(offset, length) : []) {
      const lastByte = range.offset + range.length - 1;
      for (let e = Math.floor(range.offset / extentBytes); e <= Math.floor(lastByte / extentBytes); e++) data[e - first] = true;
    }
    from = wanted.indexOf(true, to);
  }
  return data;
}

export async function* readingPlan(deps: ReadingPlanDeps): AsyncGenerator<readonly Reading[]> {
  const { source, extentBytes, recipients } = deps;
  const span = { firstExtent: deps.subtree * SUBTREE_EXTENTS, extentCount: SUBTREE_EXTENTS };
  const roles = deps.selections.map((selection) => rolesOf(selection, span, { sizeBytes: source.sizeBytes, extentBytes }));
  const leaves = leavesInUse(roles);
  const settled = settledCounter(deps, span.firstExtent);
  let batch: Reading[] = [];
  for (const [i, leaf] of leaves.entries()) {
    for (const ahead of leaves.slice(i, i + LEAVES_AHEAD)) prefetch(deps, roles, ahead);
    await loadLeaf(deps, roles, leaf);
    const first = span.firstExtent + leaf * MAP_FANOUT;
    if (first * extentBytes >= source.sizeBytes && recipients.every((r) => !r.hasLeaf(leafNumber(deps, leaf)))) continue;
    const own = roles.map((r) => r.subarray(leaf * MAP_FANOUT, (leaf + 1) * MAP_FANOUT));
    const wanted = Array.from({ length: MAP_FANOUT }, (_, at) => own.some((r) => r[at] !== ROLE_NONE));
    const data = withData(deps, first, wanted);
    for (let at = 0; at < MAP_FANOUT; at++) {
      if (wanted[at] !== true) continue;
      if (data[at] === true) batch.push({ extent: first + at, roles: own.map((r) => r[at] ?? ROLE_NONE) });
      else recipients.forEach((r, d) => settleFor(r, own[d]?.[at] ?? ROLE_NONE, first + at, ABSENT));
      if (batch.length < batchExtents(extentBytes)) continue;
      yield batch;
      batch = [];
    }
    settled(leaf + 1);
  }
  if (batch.length > 0) yield batch;
  settled(SUBTREE_EXTENTS / MAP_FANOUT);
}

const leavesInUse = (roles: readonly Uint8Array[]): number[] =>
  Array.from({ length: SUBTREE_EXTENTS / MAP_FANOUT }, (_, leaf) => leaf).filter((leaf) => roles.some((r) => leafRoles(r, leaf) !== null));

const leafNumber = (deps: ReadingPlanDeps, leaf: number): number => (deps.subtree * SUBTREE_EXTENTS) / MAP_FANOUT + leaf;

function prefetch(deps: ReadingPlanDeps, roles: readonly Uint8Array[], leaf: number): void {
  deps.recipients.forEach((recipient, d) => {
    const own = roles[d];
    if (recipient.failure === null && own !== undefined && leafRoles(own, leaf) !== null) recipient.prefetchLeaf(leafNumber(deps, leaf));
  });
}

async function loadLeaf(deps: ReadingPlanDeps, roles: readonly Uint8Array[], leaf: number): Promise<void> {
  await Promise.all(
    deps.recipients.map(async (recipient, d) => {
      const own = roles[d];
      if (recipient.failure !== null || own === undefined || leafRoles(own, leaf) === null) return;
      await recipient.loadLeaf(leafNumber(deps, leaf)).catch((error: unknown) => recipient.fail(error));
    }),
  );
}

/** Tells how far the plan has come, in plain bytes of the volume. */
function settledCounter(deps: ReadingPlanDeps, firstExtent: number): (leaves: number) => void {
  const start = firstExtent * deps.extentBytes;
  const ofBytes = Math.max(0, Math.min(SUBTREE_EXTENTS * deps.extentBytes, deps.source.sizeBytes - start));
  let told = 0;
  return (leaves) => {
    const reached = Math.min(ofBytes, leaves * MAP_FANOUT * deps.extentBytes);
    if (reached > told) deps.progress({ kind: 'settled', bytes: reached - told, ofBytes });
    told = Math.max(told, reached);
  };
}
