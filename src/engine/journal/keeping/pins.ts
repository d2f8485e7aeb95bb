/**
 * Pins: a point that somebody reads, or wants to keep, stays until the pin is taken off. One that nobody takes off lapses: the
 * retention pass unpins it when its time has come, by the log, so that all who collect see the same.
 */
import { PIN_MS_DEFAULT } from '../../../domain/limits.ts';
import type { PinEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import type { Point } from '../recovery/plan.ts';
import type { JournalState } from '../state.ts';

export interface PinWanted {
  readonly pin: string;
  readonly point: Point;
  readonly untilMs: number;
  readonly why: string;
}

/** Pins a point, or renews the pin. RECORD_REFUSED when the point is gone, or the pin stands on another. */
export async function pinPoint({ log }: Journal, { pin, point, untilMs, why }: PinWanted): Promise<void> {
  const { epoch, seq } = point;
  await log.append(({ pins }) => {
    const known = pins.get(pin);
    const same = known?.epoch === epoch && known.seq === seq && known.untilMs >= untilMs;
    return same ? null : { kind: 'PIN', pin, epoch, seq, untilMs, why };
  });
}

/** Takes a pin off; one that is not there is no error. */
export async function unpin({ log }: Journal, pin: string): Promise<void> {
  await log.append(({ pins }) => (pins.has(pin) ? { kind: 'UNPIN', pin } : null));
}

/** Renews the pin of a long reader once a third of its time has passed; nothing once it was taken off. */
export async function renewPin({ log }: Journal, pin: string, nowMs: number): Promise<void> {
  const due = ({ pins }: JournalState): PinEntry | null => {
    const known = pins.get(pin);
    return known !== undefined && known.untilMs - nowMs < (PIN_MS_DEFAULT * 2) / 3 ? known : null;
  };
  if (due(await log.sync()) === null) return;
  await log.append((state) => {
    const known = due(state);
    return known && { ...known, untilMs: nowMs + PIN_MS_DEFAULT };
  });
}
