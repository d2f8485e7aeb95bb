import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { decodeChangePart, encodeChangePart, type ChangePart } from '../../../src/engine/repository/change.ts';

const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size }).map((array) => Buffer.from(array));
const u32 = fc.nat(2 ** 32 - 1);
const location = fc.record({ pack: bytes(16), offset: u32, length: fc.integer({ min: 1, max: 2 ** 32 - 1 }) });
const part: fc.Arbitrary<ChangePart> = fc.record({
  diff: fc.array(fc.record({ level: fc.nat(4), index: fc.nat(2 ** 32 - 1), old: bytes(32), new: bytes(32) }), { maxLength: 5 }),
  values: fc.array(fc.record({ fingerprint: bytes(32), location }), { maxLength: 5 }),
  minus: fc.array(fc.record({ fingerprint: bytes(32), runs: u32 }), { maxLength: 5 }),
  packs: fc.array(
    fc.record({ id: bytes(16), kind: fc.constantFrom('extent' as const, 'node' as const), blobs: fc.nat(2 ** 24 - 1), bytes: u32 }),
    { maxLength: 5 },
  ),
  parts: fc.array(fc.record({ name: fc.stringMatching(/^[a-z0-9/-]{0,64}$/), digest: bytes(32).map((digest) => digest.toString('hex')) }), {
    maxLength: 5,
  }),
});

test('what is encoded is decoded', () => {
  fc.assert(fc.property(part, (one) => expect(decodeChangePart(encodeChangePart(one), 'part')).toEqual(one)));
});

const decodesOrIsDamaged = (malformed: Buffer): void => {
  const newer = /^HFC[2-\xff]/.test(malformed.toString('latin1', 0, 4));
  try {
    decodeChangePart(malformed, 'part');
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === (newer ? 'UPGRADE_REQUIRED' : 'DAMAGED'))) throw error;
  }
};

test('cut short or longer by whatever: DAMAGED', () => {
  fc.assert(
    fc.property(part, fc.nat(), bytes(3), (one, at, rest) => {
      const whole = encodeChangePart(one);
      expect(() => decodeChangePart(whole.subarray(0, at % whole.length), 'part')).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
      expect(() => decodeChangePart(Buffer.concat([whole, rest]), 'part')).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
    }),
  );
});

test('any byte changed, any counts: decoded, DAMAGED or marked as newer, never anything else', () => {
  fc.assert(
    fc.property(part, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }), (one, edits) => {
      const changed = encodeChangePart(one);
      for (const [at, value] of edits) changed[at % changed.length] = value;
      decodesOrIsDamaged(changed);
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => decodesOrIsDamaged(Buffer.concat([Buffer.from('HFC1'), noise]))));
});

test('a name that ends where the next should begin: DAMAGED', () => {
  const two = encodeChangePart({ diff: [], values: [], minus: [], packs: [], parts: [{ name: 'x'.repeat(33), digest: '0'.repeat(64) }] });
  two.writeUInt32BE(2, 4 + 4 * 4);
  expect(() => decodeChangePart(two, 'part')).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});
