/**
 * How fast an owner of mode `local` takes records, so that what is in no region yet is not older than it must be, whatever its store takes
 * (docs/journal.md, section 8).
 *
 *     load = what is in no region / what the store takes in LOCAL_SHIP_MS          taken is what the store takes / load²
 *
 * So nobody is slowed while little waits, and who is, by no more than it needs: at twice what the store takes the load comes to rest near 1. It
 * follows from what is measured alone. What the store takes is the best that it took lately; but batches that were formed while little waited tell of the client,
 * not of the store, and can only show that it takes more; and it is never more than the oldest batch under way lets it be, but for a small one. A
 * store that answers nothing is waited for by nobody: the owner's bound is there for that.
 *
 * Bytes are counted from the owner's beginning on; times are of its steady clock.
 */
import { LOCAL_PACE_BYTES_MIN, LOCAL_PACE_MS_MAX, LOCAL_SHIP_MS, LOCAL_SILENT_MS, MIB } from '../../../domain/limits.ts';

/** What the store takes is what it took in so long, as far as it had anything to take; in less than the shorter time nothing is measured. */
const RATE_MS = 2000;
const RATE_MS_MIN = 100;
/** The best that was measured in so long counts ... */
const KEPT_MS = 6000;
/** ... and so often, for so long, so much more is taken: a store that is slow to answer, and takes more all the same, shows it then. */
const PROBE_EVERY_MS = 3000;
const PROBE_MS = 750;
const PROBE = 1.5;
/** Until there was a batch that tells more. */
const ASSUMED_PER_MS = (4 * MIB) / 1000;
/** From here on records are slowed; and a load that is higher slows no further. */
const LOAD_MIN = 0.5;
const LOAD_MAX = 4;

interface UnderWay {
  /** All up to here is in a region when it is. */
  readonly throughBytes: number;
  readonly atMs: number;
  /** What was in a region when it was formed. */
  readonly closedBytes: number;
  /** Whether it was formed under load. */
  readonly isPressed: boolean;
}

/** So much was in a region when the store had been busy for so long. */
interface Mark {
  readonly busyMs: number;
  readonly bytes: number;
}

interface Measured {
  readonly atMs: number;
  readonly bytesPerMs: number;
}

export class Pace {
  #underWay: UnderWay[] = [];
  /** Oldest first; never without one. */
  #marks: Mark[] = [{ busyMs: 0, bytes: 0 }];
  #measured: readonly Measured[] = [];
  #takesPerMs = ASSUMED_PER_MS;
  #closedBytes = 0;
  #answeredAtMs = 0;
  #busyMs = 0;
  #busySinceMs = 0;
  /** When what has been taken is paid for. */
  #dueMs = 0;

  /** A batch was formed of all up to here. */
  formed(throughBytes: number, nowMs: number): void {
    if (throughBytes <= (this.#underWay.at(-1)?.throughBytes ?? this.#closedBytes)) return;
    if (this.#underWay.length === 0) this.#busySinceMs = nowMs;
    const isPressed = this.#load(throughBytes, nowMs) >= LOAD_MIN;
    this.#underWay.push({ throughBytes, atMs: nowMs, closedBytes: this.#closedBytes, isPressed });
  }

  /** All up to here is in a region. */
  closed(throughBytes: number, nowMs: number): void {
    if (throughBytes <= this.#closedBytes) return;
    const isPressed = this.#underWay.some((batch) => batch.throughBytes <= throughBytes && batch.isPressed);
    if (this.#underWay.length > 0) this.#busyMs += nowMs - this.#busySinceMs;
    this.#busySinceMs = nowMs;
    this.#closedBytes = throughBytes;
    this.#answeredAtMs = nowMs;
    this.#underWay = this.#underWay.filter((batch) => batch.throughBytes > throughBytes);
    this.#measure(isPressed, nowMs);
  }

  #measure(isPressed: boolean, nowMs: number): void {
    const mark = { busyMs: this.#busyMs, bytes: this.#closedBytes };
    const since = this.#marks.find(({ busyMs }) => mark.busyMs - busyMs <= RATE_MS) ?? this.#marks.at(-1) ?? mark;
    const measured = (mark.bytes - since.bytes) / Math.max(RATE_MS_MIN, mark.busyMs - since.busyMs);
    if (isPressed || measured >= this.#takesPerMs) {
      this.#measured = [...this.#measured.filter(({ atMs }) => nowMs - atMs <= KEPT_MS), { atMs: nowMs, bytesPerMs: measured }];
      this.#takesPerMs = Math.max(...this.#measured.map(({ bytesPerMs }) => bytesPerMs));
    }
    this.#marks = isPressed ? [...this.#marks.slice(this.#marks.indexOf(since)), mark] : [mark];
  }

  /** What was under way goes out again. */
  rewind(): void {
    this.#underWay = [];
  }

  /** How long it is until `bytes` more, the last of `takenBytes`, count as taken. */
  waitMs(bytes: number, takenBytes: number, nowMs: number): number {
    const load = this.#load(takenBytes, nowMs);
    if (load < LOAD_MIN) return 0;
    const probe = nowMs % PROBE_EVERY_MS < PROBE_MS ? PROBE : 1;
    const costsMs = (bytes * Math.min(load, LOAD_MAX) ** 2) / (this.#bytesPerMs(nowMs) * probe);
    this.#dueMs = Math.min(Math.max(this.#dueMs, nowMs) + costsMs, nowMs + LOCAL_PACE_MS_MAX);
    return this.#dueMs - nowMs;
  }

  #load(takenBytes: number, nowMs: number): number {
    return (takenBytes - this.#closedBytes) / Math.max(this.#bytesPerMs(nowMs) * LOCAL_SHIP_MS, LOCAL_PACE_BYTES_MIN);
  }

  /** Infinity: there is nobody to wait for. */
  #bytesPerMs(nowMs: number): number {
    const [oldest] = this.#underWay;
    if (oldest === undefined) return this.#takesPerMs;
    if (nowMs - Math.max(oldest.atMs, this.#answeredAtMs) > LOCAL_SILENT_MS) return Infinity;
    const bytes = oldest.throughBytes - oldest.closedBytes;
    // A small one may wait for the way there and back alone.
    return oldest.isPressed || bytes >= LOCAL_PACE_BYTES_MIN
      ? Math.min(this.#takesPerMs, bytes / Math.max(1, nowMs - oldest.atMs))
      : this.#takesPerMs;
  }
}
