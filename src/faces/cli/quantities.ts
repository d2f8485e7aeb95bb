/** Bytes, durations and moments as people write and read them. */
import { HoldfastError } from '../../domain/errors.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** 1536 -> "1.5 KiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

/** 93,000 ms -> "1m33s". */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${String(Math.floor(seconds % 60)).padStart(2, '0')}s`;
  return `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, '0')}m`;
}

/** 1 -> "1 store", 2 -> "2 stores". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : /(ch|s|x)$/.test(noun) ? 'es' : 's'}`;

/** UTC, to the second: "2026-03-01 12:00:00Z". */
export const formatTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`;

const FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** "256KiB", "256k" and "262144" are the same number of bytes. */
export const parseBytes =
  (field: string) =>
  (text: string): number => {
    const match = /^(\d{1,15})\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim());
    const bytes = Number(match?.[1]) * (FACTORS[(match?.[2] ?? '').toLowerCase()] ?? 1);
    if (!match || !Number.isSafeInteger(bytes) || bytes < 1)
      throw new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 40))} is no size`, {
        field,
        expected: 'a number of bytes, or one with K, M, G or T (powers of 1024)',
      });
    return bytes;
  };

const MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "30d", "12h", "90m", "45s" -> ms. */
export const parseDuration =
  (field: string) =>
  (text: string): number => {
    const match = /^(\d{1,9})([smhd])$/.exec(text.trim());
    const ms = Number(match?.[1]) * (MS[match?.[2] ?? ''] ?? NaN);
    if (!Number.isSafeInteger(ms))
      throw new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 40))} is no duration`, {
        field,
        expected: 'a number with s, m, h or d, as in 30d',
      });
    return ms;
  };

/** A day (its beginning, UTC) or a moment of ISO 8601 -> ms since 1970. */
export const parseMoment =
  (field: string) =>
  (text: string): number => {
    const ms = /^\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : NaN;
    if (Number.isNaN(ms))
      throw new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 40))} is no moment`, {
        field,
        expected: 'a day as 2027-01-31, or a moment as 2027-01-31T18:00:00Z',
      });
    return ms;
  };

export const parseInteger =
  (field: string) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d{1,15}$/.test(text))
      throw new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 40))} is no whole number`, {
        field,
        expected: 'a whole number, 0 or more',
      });
    return value;
  };
