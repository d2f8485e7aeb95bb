/**
 * A past state of a table: chosen, loaded, cut, folded and proved, in one DuckDB session, as its table `past`.
 *
 * The source and the archive are only read. Outside the window the answer is the window.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { READ_ROUNDS_MAX } from '../../../domain/limits.ts';
import type { TableArchive } from '../archive/archive.ts';
import type { Duck } from '../archive/duck.ts';
import type { Gap } from '../archive/entries.ts';
import type { TableState } from '../archive/state.ts';
import type { QuarantineReason } from '../events/event.ts';
import { parsePosition, positionText, type Position } from '../events/position.ts';
import { cutOfTime, foldPast } from './fold.ts';
import { loadEvents, type LoadedEvents } from './loading.ts';
import { planPastState, type PastPlan, type PlanOptions, type Target } from './plan.ts';
import { proveContent, type ContentProof } from './proof.ts';
import { cutOfPosition, findTransaction, judgePlace, truncatesOf, type Place, type TransactionTarget } from './targets.ts';
import { judgeTime, windowOf, type PastWindow } from './window.ts';

export interface PartitionProof {
  readonly id: string;
  /** Offset of the base, or null. */
  readonly base: number | null;
  /** Offsets [from, to) of the parts that were read; from the base on, parts above the cut are left out. */
  readonly read: readonly { readonly from: number; readonly to: number }[];
}

export interface PastProof extends ContentProof {
  /** All below it is in; null: all that was archived. */
  readonly cut: string | null;
  readonly window: PastWindow;
  readonly partitions: readonly PartitionProof[];
  /** What was not taken as it came, over all that was archived. */
  readonly late: number;
  readonly contradicted: number;
  readonly quarantined: Readonly<Partial<Record<QuarantineReason, number>>>;
  readonly gaps: readonly (Gap & { readonly partition: string })[];
  /** Cells that hold a placeholder for which no value was archived; they are absent. */
  readonly unresolved: number;
}

export interface PastColumn {
  readonly number: number;
  readonly name: string;
  /** Some of its cells may be from an older row of their key, and so of another version of the schema than their row. */
  readonly merged: boolean;
}

export type PastOutcome =
  | { readonly kind: 'built'; readonly proof: PastProof; readonly columns: readonly PastColumn[] }
  /** No transaction of that name was archived, or segments that held it were dropped. */
  | { readonly kind: 'unknown'; readonly window: PastWindow }
  /** The source gave the transaction's number to several: of these stamps, and perhaps more. */
  | { readonly kind: 'several'; readonly stampsUs: readonly number[] }
  | { readonly kind: 'outside'; readonly window: PastWindow; readonly nearestUs: number | null };

export async function buildPastState(
  archive: TableArchive,
  duck: Duck,
  target: Target | TransactionTarget,
  options: Pick<PlanOptions, 'withoutBases' | 'oldestBases'> = {},
): Promise<PastOutcome> {
  for (let round = 1; ; round++) {
    const state = archive.known();
    try {
      return await buildFrom(state, archive, duck, target, options);
    } catch (error) {
      // What a merge or retention has taken away meanwhile lies elsewhere in a newer state, or is outside of its window.
      if (!isHoldfastError(error, 'OBJECT_MISSING') || round === READ_ROUNDS_MAX || (await archive.sync()).n === state.n) throw error;
    }
  }
}

async function buildFrom(
  state: TableState,
  archive: TableArchive,
  duck: Duck,
  asked: Target | TransactionTarget,
  options: Pick<PlanOptions, 'withoutBases' | 'oldestBases'>,
): Promise<PastOutcome> {
  const target = asked.kind === 'transaction' ? await targetOf(state, archive, duck, asked) : asked;
  if (isOutcome(target)) return target;
  if (target.kind === 'time') {
    const asked = judgeTime(state, target.us);
    if (asked.kind === 'outside') return asked;
  }
  const settled = await settle(archive, duck, state, target, options);
  if (settled === null) return { kind: 'outside', window: windowOf(state), nearestUs: windowOf(state).earliestUs };
  const { plan, cut, stampUs, loaded } = settled;
  const against = target.kind === 'position' ? outsideOf(state, judgePlace(state, { cut, stampUs }, 'before')) : null;
  if (against !== null) return against;
  const unresolved = await foldPast(duck, loaded, cut, truncatedAt(state, cut));
  const content = await proveContent(duck, loaded.columns, state.columns);
  const merged = new Set(loaded.unavailable);
  const columns = loaded.columns.map((number) => ({ number, name: state.columns[number] ?? '', merged: merged.has(number) }));
  return {
    kind: 'built',
    columns,
    proof: { ...content, cut: cut === null ? null : positionText(cut), ...account(state, plan), unresolved },
  };
}

const isOutcome = (found: Target | PastOutcome): found is PastOutcome => !['time', 'position', 'cut'].includes(found.kind);

/** The cut just before a transaction, or just after it. */
async function targetOf(
  state: TableState,
  archive: TableArchive,
  duck: Duck,
  { id, edge }: TransactionTarget,
): Promise<Target | PastOutcome> {
  const found = await findTransaction(archive, duck, state, id);
  if (found.kind === 'none') return { kind: 'unknown', window: windowOf(state) };
  if (found.kind === 'several') return found;
  // What has no place of its own and stands right after its last event is not in.
  const cut = edge === 'before' ? found.first : found.last + 1n;
  return outsideOf(state, judgePlace(state, { cut, stampUs: found.stampUs }, edge)) ?? { kind: 'cut', cut };
}

function outsideOf(state: TableState, judged: ReturnType<typeof judgePlace>): PastOutcome | null {
  if (judged === 'ok') return null;
  const window = windowOf(state);
  return { kind: 'outside', window, nearestUs: judged === 'too early' ? window.earliestUs : window.latestUs };
}

/** Plans and loads until the cut lies above every base: once, but where transactions or clocks reach back over one. */
async function settle(
  archive: TableArchive,
  duck: Duck,
  state: TableState,
  target: Target,
  options: PlanOptions,
): Promise<(Place & { readonly plan: PastPlan; readonly loaded: LoadedEvents }) | null> {
  // Each round gives up one base at the least.
  const rounds = 2 + [...state.partitions.values()].reduce((sum, partition) => sum + partition.snapshots.length, 0);
  let below: Position | undefined;
  for (let round = 0; round < rounds; round++) {
    const plan = planPastState(state, target, below === undefined ? options : { ...options, below });
    if (plan === null) return null;
    const loaded = await loadEvents(archive, duck, plan.partitions);
    const { cut, stampUs } = await placeOf(duck, state, target);
    const inside = plan.partitions.every(({ base }) => base === null || cut === null || parsePosition(base.high) < cut);
    if (inside) return { plan, cut, stampUs, loaded };
    below = cut ?? undefined;
  }
  throw new HoldfastError('INTERNAL', 'the cut of a past state did not settle', { rounds });
}

const lowest = (a: Position | null, b: Position | null): Position | null => (a === null ? b : b === null || a < b ? a : b);

async function placeOf(duck: Duck, state: TableState, target: Target): Promise<Place> {
  switch (target.kind) {
    case 'cut':
      return { cut: target.cut, stampUs: null };
    case 'position':
      return cutOfPosition(duck, state, target.position);
    case 'time':
      return { cut: lowest(await cutOfTime(duck, target.us), truncateAfter(state, target.us)), stampUs: null };
  }
}

/** The least position of a truncate that was committed after T: it has no row in a segment. */
const truncateAfter = (state: TableState, timeUs: number): Position | null =>
  truncatesOf(state).reduce<Position | null>(
    (least, truncate) => (truncate.stampUs > timeUs ? lowest(least, truncate.position) : least),
    null,
  );

/** The last truncate below a cut. */
export const truncatedAt = (state: TableState, cut: Position | null): Position | null =>
  truncatesOf(state).reduce<Position | null>(
    (last, { position }) => ((cut === null || position < cut) && (last === null || position > last) ? position : last),
    null,
  );

function account(state: TableState, plan: PastPlan): Omit<PastProof, keyof ContentProof | 'cut' | 'unresolved'> {
  const partitions = [...state.partitions.values()];
  const quarantined: Partial<Record<QuarantineReason, number>> = {};
  for (const { parts } of partitions)
    for (const part of parts) for (const { reason } of part.quarantined) quarantined[reason] = (quarantined[reason] ?? 0) + 1;
  return {
    window: windowOf(state),
    partitions: plan.partitions.map(({ id, base, parts }) => ({
      id,
      base: base?.offset ?? null,
      read: parts.map(({ from, to }) => ({ from, to })),
    })),
    late: partitions.reduce((sum, { parts }) => sum + parts.reduce((of, part) => of + part.late, 0), 0),
    contradicted: partitions.reduce((sum, partition) => sum + partition.contradicted, 0),
    quarantined,
    gaps: partitions.flatMap(({ id, parts }) => parts.flatMap((part) => part.gaps.map((gap) => ({ partition: id, ...gap })))),
  };
}
