/**
 * Whatever the bytes: a decoder answers, and does not throw; what it takes for text is what JSON.parse takes for it.
 * A case that fails prints fast-check's seed; HOLDFAST_SEED=... repeats it.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createDebeziumDecoder, PLACEHOLDER_DEFAULT } from '../../../../src/engine/tables/events/debezium.ts';
import { QUARANTINE_REASONS, type Decoder } from '../../../../src/engine/tables/events/event.ts';
import { canonicalKey, canonicalText, membersOf } from '../../../../src/engine/tables/events/json-text.ts';
import { createPlainDecoder } from '../../../../src/engine/tables/events/plain.ts';
import { createTransactionDecoder } from '../../../../src/engine/tables/events/transactions.ts';
import { envelope, json, withSchema } from './samples.ts';

const seed = process.env['HOLDFAST_SEED'];
const runs = (numRuns: number) => ({ numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) });

const decoders: readonly Decoder[] = [
  createDebeziumDecoder({ placeholder: PLACEHOLDER_DEFAULT }),
  createPlainDecoder({ key: 'json', time: 'record' }),
  createPlainDecoder({ key: 'text', time: { field: 'at', unit: 'iso' } }),
  createPlainDecoder({ key: ['id', 'op'], time: { field: 'ts_ms', unit: 'ms' } }),
];
const transactions = createTransactionDecoder();

const whole = Buffer.from(json(envelope('u')));
const full = Buffer.from(withSchema(envelope('r')));
/** A good record with bytes changed, cut or put in. */
const spoilt = fc
  .tuple(
    fc.constantFrom(whole, full),
    fc.nat(),
    fc.nat(),
    fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc.constantFrom('"', '{', '}', '\\', ',', ':', 'null').map((text) => Buffer.from(text)),
    ),
  )
  .map(([bytes, at, length, put]) => {
    const from = at % bytes.length;
    return Buffer.concat([bytes.subarray(0, from), put, bytes.subarray(from + (length % 40))]);
  });
const bytes = fc.option(
  fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.json().map((text) => Buffer.from(text)),
    spoilt,
  ),
  { nil: null },
);

test('any bytes are answered, and quarantined only for a reason of the table', () => {
  fc.assert(
    fc.property(bytes, bytes, fc.integer(), (key, value, timeMs) => {
      const record = { offset: 1, timeMs, key, value };
      for (const decode of decoders) {
        const decoded = decode(record);
        if (decoded.kind === 'quarantined') expect(QUARANTINE_REASONS).toContain(decoded.reason);
        if (decoded.kind !== 'change') continue;
        expect(decoded.op === 'truncate').toBe(decoded.key === null);
        expect(decoded.op === 'put').toBe(decoded.row !== null);
        for (const text of decoded.row?.values() ?? []) if (text !== '?') JSON.parse(text);
      }
      transactions(record);
    }),
    runs(3000),
  );
});

test('canonical text says what the text said, is the same for the same value, and its members are those of the object', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      const text = JSON.stringify(value, null, space);
      expect(canonicalText(text)).toBe(JSON.stringify(value));
      const members = membersOf(` ${text}\n`);
      const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
      expect(members === null).toBe(!isObject);
      if (members === null || !isObject) return;
      expect([...members.keys()].sort()).toEqual(Object.keys(value).sort());
      for (const [name, written] of members)
        expect(JSON.stringify(JSON.parse(written))).toBe(JSON.stringify((value as Record<string, unknown>)[name]));
      const shuffled = Object.fromEntries(Object.entries(value).reverse());
      expect(canonicalKey(JSON.stringify(shuffled))).toBe(canonicalKey(text));
    }),
    runs(1000),
  );
});
