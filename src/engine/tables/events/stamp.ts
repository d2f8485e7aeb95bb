/** Stamps: microseconds since 1970 as a safe integer, checked against the broker's own time. */
import { STAMP_AHEAD_US_MAX } from '../../../domain/limits.ts';
import { quarantined, type Quarantined, type TableRecord } from './event.ts';

/** A stamp that is none, or lies so far ahead that it would hold back every cut for as long, is a reason to quarantine. */
export function checkStamp(stampUs: number | null, record: TableRecord): Quarantined | null {
  if (stampUs === null || !Number.isSafeInteger(stampUs) || stampUs < 0) return quarantined('STAMP_INVALID');
  const aheadOf = record.timeMs * 1000;
  return record.timeMs > 0 && stampUs > aheadOf + STAMP_AHEAD_US_MAX ? quarantined('STAMP_IN_FUTURE') : null;
}

const DIGITS = /^"?(-?[0-9]{1,20})"?$/;

/** A whole number written as a number or as a string of digits; null when the text is neither (or absent). */
export function wholeNumber(text: string | undefined): bigint | null {
  const digits = text === undefined ? null : DIGITS.exec(text)?.[1];
  return digits === null || digits === undefined ? null : BigInt(digits);
}

/** The same as a safe integer. */
export function safeInteger(text: string | undefined): number | null {
  const whole = wholeNumber(text);
  const number = whole === null ? NaN : Number(whole);
  return Number.isSafeInteger(number) ? number : null;
}
