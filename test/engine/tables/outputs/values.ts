/** Values of every type, as Connect's JSON writes them into a cell, and as PostgreSQL would print them. By the dice, extremes first. */
import type { SchemaColumn } from '../../../../src/engine/tables/events/event.ts';
import type { Random } from '../source-model.ts';

export interface Value {
  /** Canonical JSON. */
  readonly cell: string;
  /** As a reader of CSV gets it; null is null. */
  readonly text: string | null;
}

export interface ValueKind extends Omit<SchemaColumn, 'name' | 'optional'> {
  value(random: Random): Value;
}

const int = (random: Random, bits: number): bigint => {
  const low = -(1n << BigInt(bits - 1));
  const high = -low - 1n;
  const dice = random();
  if (dice < 0.1) return low;
  if (dice < 0.2) return high;
  if (dice < 0.25) return 0n;
  return BigInt.asIntN(
    bits,
    BigInt(Math.floor(random() * 2 ** 31)) * BigInt(Math.floor(random() * 2 ** 33)) + BigInt(Math.floor(random() * 2 ** 31)),
  );
};
const whole = (n: bigint): Value => ({ cell: String(n), text: String(n) });
const between = (random: Random, low: bigint, high: bigint): bigint => {
  const dice = random();
  if (dice < 0.05) return low;
  if (dice < 0.1) return high;
  return low + ((high - low) * BigInt(Math.floor(random() * 2 ** 40))) / BigInt(2 ** 40);
};
const CHARS = [
  'a',
  'Z',
  '0',
  ' ',
  '"',
  "'",
  '\\',
  '\n',
  '\r\n',
  '\t',
  ',',
  ';',
  '{',
  '$',
  'é',
  'ß',
  '漢',
  '😀',
  '\u007f',
  '\u2028',
  '--',
  '/*',
  'null',
  '?',
];
const text = (random: Random): string =>
  random() < 0.1 ? '' : Array.from({ length: Math.floor(random() * 12) }, () => CHARS[Math.floor(random() * CHARS.length)] ?? '').join('');
const bytesOf = (random: Random, length: number): Buffer => Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
const quoted = (said: string, text_ = said): Value => ({ cell: JSON.stringify(said), text: text_ });

const pad = (n: bigint, digits: number): string => n.toString().padStart(digits, '0');
/** Digits after the point without the zeros at the end, as PostgreSQL and DuckDB print them. */
const fraction = (us: bigint): string => (us === 0n ? '' : `.${pad(us, 6).replace(/0+$/, '')}`);
const floorDiv = (a: bigint, b: bigint): bigint => (a - (((a % b) + b) % b)) / b;
const DAY_US = 86_400_000_000n;
const timeText = (us: bigint): string =>
  `${pad(us / 3_600_000_000n, 2)}:${pad((us / 60_000_000n) % 60n, 2)}:${pad((us / 1_000_000n) % 60n, 2)}${fraction(us % 1_000_000n)}`;
const dateText = (days: bigint): string => new Date(Number(days) * 86_400_000).toISOString().slice(0, 10);
const stampText = (us: bigint): string => `${dateText(floorDiv(us, DAY_US))} ${timeText(us - floorDiv(us, DAY_US) * DAY_US)}`;
/** Years 1 to 9999. */
const [FIRST_DAY, LAST_DAY] = [-719_162n, 2_932_896n];
const stampUs = (random: Random): bigint => between(random, FIRST_DAY * DAY_US, (LAST_DAY + 1n) * DAY_US - 1n);

/** Two's complement, big-endian, as short as it can be. */
export function unscaled(n: bigint): Buffer {
  let length = 1;
  while (BigInt.asIntN(length * 8, n) !== n) length++;
  return Buffer.from(
    BigInt.asUintN(length * 8, n)
      .toString(16)
      .padStart(length * 2, '0'),
    'hex',
  );
}
const point = (n: bigint, scale: number): string => {
  const digits = (n < 0n ? -n : n).toString().padStart(scale + 1, '0');
  return `${n < 0n ? '-' : ''}${scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`}`;
};
const decimal = (scale: number, bits: number): ValueKind => ({
  ...{ type: 'bytes', semantic: 'org.apache.kafka.connect.data.Decimal', scale },
  value(random) {
    const n = bits <= 64 ? int(random, bits) : int(random, 64) * (1n << BigInt(bits - 64)) + BigInt(Math.floor(random() * 1e9));
    return quoted(unscaled(n).toString('base64'), point(n, scale));
  },
});

const kind = (type: string, semantic: string | null, value: (random: Random) => Value): ValueKind => ({
  type,
  semantic,
  scale: null,
  value,
});

export const VALUE_KINDS: readonly ValueKind[] = [
  kind('boolean', null, (random) => (random() < 0.5 ? { cell: 'true', text: 'true' } : { cell: 'false', text: 'false' })),
  kind('int16', null, (random) => whole(int(random, 16))),
  kind('int32', null, (random) => whole(int(random, 32))),
  kind('int64', null, (random) => whole(int(random, 64))),
  kind('string', null, (random) => quoted(text(random))),
  kind('string', 'io.debezium.data.Enum', (random) => quoted(text(random))),
  kind('bytes', null, (random) => {
    const bytes = bytesOf(random, Math.floor(random() * 20));
    return quoted(bytes.toString('base64'), `\\x${bytes.toString('hex')}`);
  }),
  kind('string', 'io.debezium.data.Uuid', (random) => {
    const hex = bytesOf(random, 16).toString('hex');
    return quoted(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`);
  }),
  decimal(0, 64),
  decimal(2, 40),
  decimal(10, 120),
  decimal(30, 300),
  kind('struct', 'io.debezium.data.VariableScaleDecimal', (random) => {
    const [n, scale] = [int(random, 64), Math.floor(random() * 25)];
    return { cell: `{"scale":${scale},"value":"${unscaled(n).toString('base64')}"}`, text: point(n, scale) };
  }),
  kind('int32', 'io.debezium.time.Date', (random) => {
    const days = between(random, FIRST_DAY, LAST_DAY);
    return { cell: String(days), text: dateText(days) };
  }),
  kind('int32', 'org.apache.kafka.connect.data.Time', (random) => {
    const ms = between(random, 0n, 86_399_999n);
    return { cell: String(ms), text: timeText(ms * 1000n) };
  }),
  kind('int64', 'io.debezium.time.MicroTime', (random) => {
    const us = between(random, 0n, DAY_US - 1n);
    return { cell: String(us), text: timeText(us) };
  }),
  kind('int64', 'io.debezium.time.Timestamp', (random) => {
    const ms = floorDiv(stampUs(random), 1000n);
    return { cell: String(ms), text: stampText(ms * 1000n) };
  }),
  kind('int64', 'io.debezium.time.MicroTimestamp', (random) => {
    const us = stampUs(random);
    return { cell: String(us), text: stampText(us) };
  }),
  kind('string', 'io.debezium.time.ZonedTimestamp', (random) => {
    const us = stampUs(random);
    return quoted(`${stampText(us).replace(' ', 'T')}Z`, `${stampText(us)}+00`);
  }),
  kind('string', 'io.debezium.data.Json', (random) => {
    const json = JSON.stringify({ a: text(random), n: [1, null, { b: Math.floor(random() * 1e9) }] });
    return quoted(json);
  }),
  kind('array', null, (random) => {
    const json = JSON.stringify([text(random), Math.floor(random() * 1e9), null]);
    return { cell: json, text: json };
  }),
];
