/**
 * How far the source is known to be, and since when: what heartbeats rest on (docs/tables.md, section 4). Pure, but for what it remembers.
 *
 * A stamp settles when it was seen a while ago: a connector's requests to several partitions are under way at once, so one of an older event may
 * still come after it, but not for long. A partition that is read to its end by a fetch that began then has shown all below.
 */
interface Seen {
  stampUs: number;
  /** The end of the moment in which it was seen. */
  readonly atMs: number;
}

export interface SourceClock {
  note(stampUs: number, nowMs: number): void;
  /** The highest stamp that was settled when a fetch began; null: none. */
  settled(begunMs: number): number | null;
  /** The highest stamp that was seen. */
  highestUs(): number | null;
}

/** Stamps of one moment are kept as one. */
const MOMENT_MS = 50;

export function createSourceClock(graceMs: number): SourceClock {
  /** Ascending in both. */
  const seen: Seen[] = [];
  return {
    note(stampUs, nowMs) {
      const last = seen.at(-1);
      if (last !== undefined && stampUs <= last.stampUs) return;
      const atMs = (Math.floor(nowMs / MOMENT_MS) + 1) * MOMENT_MS;
      if (last !== undefined && atMs <= last.atMs) last.stampUs = stampUs;
      else seen.push({ stampUs, atMs });
      // One settled stamp is enough to know; none that may be asked for is forgotten.
      while ((seen[1]?.atMs ?? Infinity) < nowMs - 10 * graceMs) seen.shift();
    },
    settled(begunMs) {
      const found = seen.findLast(({ atMs }) => atMs + graceMs <= begunMs);
      return found?.stampUs ?? null;
    },
    highestUs: () => seen.at(-1)?.stampUs ?? null,
  };
}
