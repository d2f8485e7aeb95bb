/** Moments in microseconds since 1970, as a source stamps its commits: more than a Date holds. */
const MICROS = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(Z|[+-]\d{2}:\d{2})$/;

/** `2026-03-01T14:32:07.123456Z`. */
export const formatMicros = (us: number): string => {
  const ms = Math.floor(us / 1000);
  return `${new Date(ms).toISOString().slice(0, -1)}${String(us - ms * 1000).padStart(3, '0')}Z`;
};

/** ISO 8601 with up to six digits of a second; null when it is none. */
export function parseMicros(text: string): number | null {
  const [, seconds, fraction = '', zone] = MICROS.exec(text) ?? [];
  const ms = Date.parse(`${seconds}${zone}`);
  return Number.isNaN(ms) || ms < 0 ? null : ms * 1000 + Number(fraction.padEnd(6, '0'));
}
