/**
 * Who wrote what last: stretches of volumes, none overlapping another, each with the batch and place that its bytes come from.
 *
 * Rows come in the order of their numbers. They wait in a buffer; a full buffer is sorted by place, swept once (of the rows over a
 * place the latest wins), and merged over what was there before, which loses. So memory follows what is written to different
 * places, not how often: RECOVERY_STRETCHES_MAX of them, in typed arrays, and a refusal beyond.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { RECOVERY_ROWS_WAITING, RECOVERY_STRETCHES_MAX } from '../../../domain/limits.ts';

/** In place of a place: zeros. */
export const ZEROS = 0xffff_ffff;

/** Ascending by volume and offset. */
export interface Stretches {
  readonly count: number;
  readonly volumes: Uint16Array;
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
  /** By its number among the batches of the plan. */
  readonly batches: Uint32Array;
  /** Where in the batch's data the bytes begin, or ZEROS. */
  readonly places: Uint32Array;
}

export interface StretchMap {
  /** Takes a row, later than all before it. RECOVERY_TOO_LARGE. */
  add(volume: number, offset: number, length: number, batch: number, place: number): void;
  /** What it has come to; takes no more. */
  finish(): Stretches;
}

interface Growing extends Stretches {
  count: number;
}

const room = (most: number): Growing => ({
  count: 0,
  volumes: new Uint16Array(most),
  offsets: new Float64Array(most),
  lengths: new Uint32Array(most),
  batches: new Uint32Array(most),
  places: new Uint32Array(most),
});

const endOf = (of: Stretches, i: number): number => (of.offsets[i] ?? 0) + (of.lengths[i] ?? 0);

/** Adds bytes [from, to) of stretch `i` of `of`; what goes on where the last one ends, in place and in data, is one stretch with it. */
function append(into: Growing, of: Stretches, i: number, from: number, to: number): void {
  if (from >= to) return;
  const [volume = 0, batch = 0, offset = 0, begin = 0] = [of.volumes[i], of.batches[i], of.offsets[i], of.places[i]];
  const place = begin === ZEROS ? ZEROS : begin + (from - offset);
  const last = into.count - 1;
  const length = into.lengths[last] ?? 0;
  const follows =
    last >= 0 && into.volumes[last] === volume && into.batches[last] === batch && endOf(into, last) === from && length + to - from < ZEROS;
  const joins = place === ZEROS ? into.places[last] === ZEROS : into.places[last] !== ZEROS && (into.places[last] ?? 0) + length === place;
  if (follows && joins) {
    into.lengths[last] = length + to - from;
    return;
  }
  if (into.count === into.offsets.length)
    throw new HoldfastError('RECOVERY_TOO_LARGE', `more than ${into.count} stretches were written after the base`, {
      stretches: into.count,
    });
  const at = into.count++;
  into.volumes[at] = volume;
  into.offsets[at] = from;
  into.lengths[at] = to - from;
  into.batches[at] = batch;
  into.places[at] = place;
}

export function createStretchMap(
  { most, waiting }: { readonly most: number; readonly waiting: number } = { most: RECOVERY_STRETCHES_MAX, waiting: RECOVERY_ROWS_WAITING },
): StretchMap {
  let settled = room(0);
  const rows = room(waiting);
  const work = (): void => {
    if (rows.count === 0) return;
    const newer = swept(rows);
    settled = merged(settled, newer, Math.min(most, settled.count + 2 * newer.count));
    rows.count = 0;
  };
  return {
    add(volume, offset, length, batch, place) {
      const at = rows.count++;
      rows.volumes[at] = volume;
      rows.offsets[at] = offset;
      rows.lengths[at] = length;
      rows.batches[at] = batch;
      rows.places[at] = place;
      if (rows.count === waiting) work();
    },
    finish() {
      work();
      return settled;
    },
  };
}

/** Rows in the order of their arrival as stretches: over each place the latest. */
function swept(rows: Stretches): Stretches {
  const order = byPlace(rows);
  const into = room(2 * rows.count);
  const open = createLatest();
  let volume = -1;
  let at = 0;
  const advance = (until: number): void => {
    while (at < until) {
      const top = open.latest();
      if (top === undefined) return;
      const end = Math.min(endOf(rows, top), until);
      append(into, rows, top, at, end);
      at = Math.max(at, end);
      if (endOf(rows, top) <= at) open.drop();
    }
  };
  for (const row of order) {
    const [own = 0, offset = 0] = [rows.volumes[row], rows.offsets[row]];
    advance(own === volume ? offset : Infinity);
    volume = own;
    at = offset;
    open.add(row);
  }
  advance(Infinity);
  return into;
}

const DIGIT = 0x1_0000;
/** Up to so many rows are compared: a table of a digit's values takes longer to be cleared than they to be sorted. */
const COMPARED_MAX = 4096;

/**
 * Numbers of rows by volume, offset, and number: sorted digit by digit from the lowest on, each pass keeping the order of the one before. Half a
 * million rows take 30 ms; compared with each other they take a second, in which a process does nothing else.
 */
function byPlace({ count, volumes, offsets }: Stretches): Uint32Array {
  let [order, spare] = [new Uint32Array(count).map((_, i) => i), new Uint32Array(count)];
  if (count <= COMPARED_MAX)
    return order.sort((a, b) => (volumes[a] ?? 0) - (volumes[b] ?? 0) || (offsets[a] ?? 0) - (offsets[b] ?? 0) || a - b);
  const most = (of: Uint16Array | Float64Array): number => {
    let found = 0;
    for (let i = 0; i < count; i++) found = Math.max(found, of[i] ?? 0);
    return found;
  };
  const pass = (of: Uint16Array | Float64Array, unit: number): void => {
    const digitOf = (row: number): number => Math.floor((of[row] ?? 0) / unit) % DIGIT;
    const next = new Uint32Array(DIGIT + 1);
    for (let row = 0; row < count; row++) next[digitOf(row) + 1] = (next[digitOf(row) + 1] ?? 0) + 1;
    for (let digit = 1; digit <= DIGIT; digit++) next[digit] = (next[digit] ?? 0) + (next[digit - 1] ?? 0);
    for (const row of order) {
      const digit = digitOf(row);
      const at = next[digit] ?? 0;
      spare[at] = row;
      next[digit] = at + 1;
    }
    [order, spare] = [spare, order];
  };
  const furthest = most(offsets);
  for (let unit = 1; unit <= furthest; unit *= DIGIT) pass(offsets, unit);
  if (most(volumes) > 0) pass(volumes, 1);
  return order;
}

/** A heap of rows, of which the latest is on top. */
function createLatest() {
  const heap: number[] = [];
  const swap = (a: number, b: number): void => {
    [heap[a], heap[b]] = [heap[b] ?? 0, heap[a] ?? 0];
  };
  const at = (i: number): number => heap[i] ?? -1;
  return {
    latest: (): number | undefined => heap[0],
    add(row: number): void {
      let i = heap.push(row) - 1;
      for (let up = (i - 1) >> 1; i > 0 && at(up) < at(i); i = up, up = (i - 1) >> 1) swap(i, up);
    },
    drop(): void {
      const last = heap.pop();
      if (last === undefined || heap.length === 0) return;
      heap[0] = last;
      for (let i = 0; ;) {
        const larger = at(2 * i + 1) > at(2 * i + 2) ? 2 * i + 1 : 2 * i + 2;
        if (at(larger) < at(i)) return;
        swap(i, larger);
        i = larger;
      }
    },
  };
}

/** `newer` over `older`, both without overlaps. */
function merged(older: Stretches, newer: Stretches, most: number): Growing {
  const into = room(most);
  let j = 0;
  /** How far the older stretch `j` has been taken or hidden. */
  let from = older.offsets[0] ?? 0;
  const next = (): void => {
    from = older.offsets[++j] ?? 0;
  };
  const takeOlder = (volume: number, until: number): void => {
    for (; j < older.count; next()) {
      const own = older.volumes[j] ?? 0;
      if (own > volume) return;
      const end = own < volume ? Infinity : until;
      append(into, older, j, from, Math.min(endOf(older, j), end));
      if (endOf(older, j) > end) {
        from = Math.max(from, end);
        return;
      }
    }
  };
  const hideOlder = (volume: number, until: number): void => {
    for (; j < older.count && older.volumes[j] === volume && from < until; next()) {
      if (endOf(older, j) <= until) continue;
      from = until;
      return;
    }
  };
  for (let i = 0; i < newer.count; i++) {
    const volume = newer.volumes[i] ?? 0;
    takeOlder(volume, newer.offsets[i] ?? 0);
    append(into, newer, i, newer.offsets[i] ?? 0, endOf(newer, i));
    hideOlder(volume, endOf(newer, i));
  }
  takeOlder(Infinity, Infinity);
  const { count } = into;
  const { volumes, offsets, lengths, batches, places } = into;
  return {
    count,
    volumes: volumes.slice(0, count),
    offsets: offsets.slice(0, count),
    lengths: lengths.slice(0, count),
    batches: batches.slice(0, count),
    places: places.slice(0, count),
  };
}

/** The first stretch of a volume that ends after `offset`, as a number; `count` when there is none. */
export function firstAfter({ count, volumes, offsets, lengths }: Stretches, volume: number, offset: number): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const own = volumes[middle] ?? 0;
    const before = own < volume || (own === volume && (offsets[middle] ?? 0) + (lengths[middle] ?? 0) <= offset);
    if (before) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where stretches of a volume are, ascending, those that follow each other as one. */
export function* runsOf(stretches: Stretches, volume: number): Generator<{ readonly offset: number; readonly length: number }> {
  let offset = 0;
  let end = 0;
  for (let i = firstAfter(stretches, volume, 0); i < stretches.count && stretches.volumes[i] === volume; i++) {
    const begin = stretches.offsets[i] ?? 0;
    if (begin !== end) {
      if (end > offset) yield { offset, length: end - offset };
      offset = begin;
    }
    end = begin + (stretches.lengths[i] ?? 0);
  }
  if (end > offset) yield { offset, length: end - offset };
}
