/**
 * Captures give way to the clients of the disks.
 *
 * A disk server has one thread. While that is busy, those who read views, through the server or beside it, get on at a steady and modest rate:
 * what a capture takes (processor, memory, the disk, and a copy for each granule that is written for the first time since the freeze) is
 * spread over a longer time. Beside nobody they go as fast as they can.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { MIB } from '../../domain/limits.ts';

export interface Courtesy {
  isBusy(): boolean;
  /** Resolves when so many bytes of a view may be read. */
  pass(bytes: number): Promise<void>;
}

/** For all views of a busy server together. */
const BYTES_PER_SECOND = 48 * MIB;
/** Of the thread's time; from here on clients would notice. */
const BUSY_SHARE = 0.5;
const LOOK_MS = 50;

/** Who has nobody to give way to. */
export const NO_COURTESY: Courtesy = { isBusy: () => false, pass: () => Promise.resolve() };

/** By what Node says of the thread that this is called in. */
export function threadCourtesy(): Courtesy {
  let seen = performance.eventLoopUtilization();
  let seenMs = performance.now();
  let busy = false;
  /** When what has passed is paid for. */
  let dueMs = 0;
  let line: Promise<void> = Promise.resolve();

  const look = (nowMs: number): boolean => {
    if (nowMs - seenMs < LOOK_MS) return busy;
    const now = performance.eventLoopUtilization();
    busy = performance.eventLoopUtilization(now, seen).utilization >= BUSY_SHARE;
    seen = now;
    seenMs = nowMs;
    return busy;
  };
  const wait = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < dueMs && look(nowMs); nowMs = performance.now())
      await sleep(Math.min(LOOK_MS, dueMs - nowMs));
  };
  return {
    isBusy: () => look(performance.now()),
    pass(bytes) {
      if (!look(performance.now())) return Promise.resolve();
      const turn = line.then(wait).then(() => {
        dueMs = Math.max(dueMs, performance.now()) + (bytes / BYTES_PER_SECOND) * 1000;
      });
      line = turn;
      return turn;
    },
  };
}
