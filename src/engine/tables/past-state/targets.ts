/**
 * What a past state can be asked for by, and how a place in the log becomes a cut (docs/tables.md, section 3): transactions whole, and
 * only where all below the cut is known to have been archived.
 */
import { sqlText, type Duck } from '../archive/duck.ts';
import type { TableState } from '../archive/state.ts';
import type { TableArchive } from '../archive/archive.ts';
import { majorOf, parsePosition, startOfMajor, type Position } from '../events/position.ts';
import { loadEvents } from './loading.ts';
import { windowOf } from './window.ts';

/** A transaction by the name that its source gives it; the state just before it, or with it. */
export interface TransactionTarget {
  readonly kind: 'transaction';
  readonly id: string;
  readonly edge: 'before' | 'after';
}

/** A cut, null being above all there is; and the stamp of what stands there or next, null where that is not known. */
export interface Place {
  readonly cut: Position | null;
  readonly stampUs: number | null;
}

/** A number is PostgreSQL's: what it wrote stands under one last commit, and the number comes again some day. */
export const isNumbered = (transaction: string): boolean => /^[0-9]+$/.test(transaction);

export const truncatesOf = (state: TableState) =>
  [...state.partitions.values()].flatMap((partition) =>
    partition.truncates.map(({ position, stampUs }) => ({ position: parsePosition(position), stampUs })),
  );

/**
 * The cut of a position over the loaded events: the position, moved back to the beginning of the transaction that it falls into. The
 * stamp is of the first event at the position or beyond it.
 */
export async function cutOfPosition(duck: Duck, state: TableState, at: Position): Promise<Place> {
  const [[text, us, transaction] = []] = await duck.rows(
    `SELECT _pos::VARCHAR, _stamp::VARCHAR, _tx FROM events WHERE _pos >= ${at}::UHUGEINT AND _stamp IS NOT NULL ORDER BY _pos LIMIT 1`,
  );
  const event = typeof text === 'string' ? { position: BigInt(text), stampUs: Number(us) } : null;
  const next = truncatesOf(state).reduce(
    (first, one) => (one.position >= at && (first === null || one.position < first.position) ? one : first),
    event,
  );
  if (next === null) return { cut: at, stampUs: null };
  const id = next === event && typeof transaction === 'string' ? transaction : null;
  return { cut: await beginningOf(duck, state, id, next, at), stampUs: next.stampUs };
}

/** Where the transaction of what stands at `next` begins, if that is below `at`. `id` null: it is none, or a truncate, of which none is known. */
async function beginningOf(
  duck: Duck,
  state: TableState,
  id: string | null,
  next: { readonly position: Position; readonly stampUs: number },
  at: Position,
) {
  const start = startOfMajor(majorOf(next.position));
  const known = id ?? (await numberedSince(duck, start, at));
  // Several truncates and no row: they name nobody, but they stand under one last commit.
  const truncated = truncatesOf(state).some(({ position }) => position >= start && position < at);
  if (known === null) return id === null && truncated ? start : at;
  // A number comes again some day, with another stamp. A connector's first transaction after a snapshot has no last commit to stand under.
  const own = isNumbered(known) ? `AND _stamp = ${next.stampUs}` : '';
  const [[first] = []] = await duck.rows(
    `SELECT min(_pos)::VARCHAR FROM events WHERE _tx = ${sqlText(known)} AND _stamp IS NOT NULL AND _pos < ${at}::UHUGEINT ${own}`,
  );
  const beginnings = [at, ...(isNumbered(known) ? [start] : []), ...(typeof first === 'string' ? [BigInt(first)] : [])];
  return beginnings.reduce((least, one) => (one < least ? one : least));
}

/** PostgreSQL's transaction under one last commit, by its rows: a truncate has none. */
async function numberedSince(duck: Duck, start: Position, below: Position): Promise<string | null> {
  const [[id] = []] = await duck.rows(
    `SELECT _tx FROM events WHERE _pos >= ${start}::UHUGEINT AND _pos < ${below}::UHUGEINT AND _stamp IS NOT NULL LIMIT 1`,
  );
  return typeof id === 'string' && isNumbered(id) ? id : null;
}

export type FoundTransaction =
  | { readonly kind: 'found'; readonly first: Position; readonly last: Position; readonly stampUs: number }
  | { readonly kind: 'none' }
  /** The number was given to several. */
  | { readonly kind: 'several'; readonly stampsUs: readonly number[] };

/** Where a transaction stands, by a look through every segment there is: the log does not name transactions. */
export async function findTransaction(archive: TableArchive, duck: Duck, state: TableState, id: string): Promise<FoundTransaction> {
  const everything = [...state.partitions.values()].map(({ id: partition, number, parts }) => ({
    id: partition,
    number,
    base: null,
    parts: parts.filter((part) => part.rows > 0),
  }));
  await loadEvents(archive, duck, everything);
  // Whatever has one number and one stamp was committed at once.
  const group = isNumbered(id) ? '_stamp' : '_tx';
  const found = await duck.rows(
    `SELECT min(_pos)::VARCHAR, max(_pos)::VARCHAR, max(_stamp)::VARCHAR FROM events
     WHERE _tx = ${sqlText(id)} AND _stamp IS NOT NULL GROUP BY ${group} ORDER BY 1 LIMIT ${SEVERAL_SHOWN}`,
  );
  const [only] = found;
  if (only === undefined) return { kind: 'none' };
  if (found.length > 1) return { kind: 'several', stampsUs: found.map(([, , us]) => Number(us)) };
  const place = { first: BigInt(String(only[0])), last: BigInt(String(only[1])), stampUs: Number(only[2]) };
  return { kind: 'found', ...(isNumbered(id) ? withTruncates(state, place) : place) };
}

const SEVERAL_SHOWN = 10;

/** A truncate of the same commit is of the same transaction: it has no row that could say so. */
function withTruncates(state: TableState, place: Omit<Extract<FoundTransaction, { kind: 'found' }>, 'kind'>): typeof place {
  const own = truncatesOf(state).filter(({ position }) => majorOf(position) === majorOf(place.first));
  return own.reduce(
    (at, { position }) => ({
      ...at,
      first: position < at.first ? position : at.first,
      last: position > at.last ? position : at.last,
    }),
    place,
  );
}

/**
 * Whether all below a cut was archived, and nothing from before the window is needed for it. A partition is archived through a cut when it has shown
 * something at or beyond it, or by the word of a heartbeat. `place` has the stamp of what stands at the cut, or last below it (`after`).
 */
export function judgePlace(state: TableState, { cut, stampUs }: Place, edge: 'before' | 'after'): 'ok' | 'too early' | 'too late' {
  const { earliestUs } = windowOf(state);
  const passed = [...state.partitions.values()].every(
    ({ high, heartbeatUs }) =>
      (cut !== null && parsePosition(high) >= cut) || (heartbeatUs !== null && stampUs !== null && heartbeatUs >= stampUs),
  );
  if (stampUs === null || earliestUs === null || !passed) return 'too late';
  return stampUs > earliestUs || (edge === 'after' && stampUs === earliestUs) ? 'ok' : 'too early';
}
