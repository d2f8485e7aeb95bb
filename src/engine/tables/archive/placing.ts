/**
 * Gives each change of a partition its position (docs/tables.md, section 3). Pure but for the cursor that it moves on.
 *
 * The partition's order is the source's order, except for what is sent again; so an event below the highest position is
 * late and keeps its own place, and one without a place of its own stands right after what stood last. Only what is not late
 * moves the cursor, so sending again moves nothing.
 */
import { createHash } from 'node:crypto';
import { quarantined, type ChangeEvent, type Quarantined } from '../events/event.ts';
import { positionOf, POSITION_ZERO, samePlace, stepAfter, type Position } from '../events/position.ts';

/** What has to be known of a partition's offsets [0, next) to place what comes next. */
export interface PlacingCursor {
  high: Position;
  /** Highest stamp shown so far. */
  runningUs: number | null;
  /** Whether anything but rows of an initial snapshot was seen. */
  streaming: boolean;
  /** The key of a delete that stands last, hashed. */
  afterDelete: string | null;
}

export interface Placed {
  readonly kind: 'placed';
  readonly position: Position;
  /** Null where the event has no stamp that cuts: it goes with its place. */
  readonly stampUs: number | null;
  readonly late: boolean;
  /** One row of an initial snapshot before anything else: past states begin no earlier than its own stamp. */
  readonly initialUs: number | null;
  /** The first row of a snapshot that a connector without memory took: what was committed since it last sent anything was never sent. */
  readonly anew?: true;
}

const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, 16);

export function placeEvent(cursor: PlacingCursor, event: ChangeEvent, offset: number): Placed | Quarantined | { readonly kind: 'nothing' } {
  const deleted = event.op === 'delete' && event.key !== null ? hashOf(event.key) : null;
  if (event.tombstone && deleted === cursor.afterDelete) {
    cursor.afterDelete = null;
    return { kind: 'nothing' };
  }
  const placed = positionFor(cursor, event, offset);
  if (placed.kind === 'quarantined') return placed;
  cursor.afterDelete = event.tombstone ? null : deleted;
  return placed;
}

function positionFor(cursor: PlacingCursor, event: ChangeEvent, offset: number): Placed | Quarantined {
  switch (event.place.kind) {
    case 'source': {
      const own = positionOf(event.place.major, event.place.minor);
      if (own === null) return quarantined('POSITION_INVALID');
      const late = own < cursor.high && !samePlace(own, cursor.high);
      if (late) return { kind: 'placed', position: own, stampUs: event.stampUs, late, initialUs: null };
      const position = cursor.streaming && samePlace(own, cursor.high) ? stepAfter(cursor.high) : own;
      return moveOn(cursor, position, event.stampUs, event.stampUs);
    }
    case 'time': {
      const runningUs = Math.max(cursor.runningUs ?? 0, event.stampUs ?? 0);
      const position = positionOf(BigInt(runningUs), BigInt(offset));
      return position === null ? quarantined('POSITION_INVALID') : moveOn(cursor, position, runningUs, runningUs);
    }
    case 'here':
    case 'initial': {
      const least = event.place.least === null ? POSITION_ZERO : positionOf(event.place.least.major, event.place.least.minor);
      if (least === null) return quarantined('POSITION_INVALID');
      if (event.place.kind === 'initial' && !cursor.streaming) return beforeAll(cursor, event.stampUs, offset);
      // Of a snapshot that a connector without memory took, nothing is in before it was taken; all that it sends later comes after it.
      const takenUs = event.place.kind === 'initial' && event.place.anew ? event.stampUs : null;
      if (least > cursor.high) return { ...moveOn(cursor, least, takenUs, null), ...(takenUs === null ? {} : { anew: true }) };
      return cursor.streaming ? moveOn(cursor, stepAfter(cursor.high), takenUs, null) : beforeAll(cursor, null, offset);
    }
  }
}

function moveOn(cursor: PlacingCursor, position: Position, stampUs: number | null, shownUs: number | null): Placed {
  cursor.high = position;
  cursor.streaming = true;
  if (shownUs !== null) cursor.runningUs = Math.max(cursor.runningUs ?? 0, shownUs);
  return { kind: 'placed', position, stampUs, late: false, initialUs: null };
}

/** Major 0 is below every source's: rows of the initial snapshot stand before all changes, in the order they came. */
function beforeAll(cursor: PlacingCursor, stampUs: number | null, offset: number): Placed | Quarantined {
  const position = positionOf(0n, BigInt(offset));
  if (position === null) return quarantined('POSITION_INVALID');
  cursor.high = position > cursor.high ? position : cursor.high;
  if (stampUs !== null) cursor.runningUs = Math.max(cursor.runningUs ?? 0, stampUs);
  return { kind: 'placed', position, stampUs: null, late: false, initialUs: stampUs };
}
