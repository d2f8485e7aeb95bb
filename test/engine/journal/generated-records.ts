/** Records of a journal by chance, for property tests: of each kind, at edges of volumes and numbers, in any order of places. */
import fc from 'fast-check';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';

type Unnumbered = JournalRecord extends infer R ? (R extends { readonly seq: number } ? Omit<R, 'seq'> : never) : never;

const volume = fc.constantFrom(0, 1, 65_534);
const offset = fc.oneof(
  fc.nat(4).map((block) => block * 512),
  fc.constantFrom(2 ** 40, 2 ** 52),
);
const unnumbered: fc.Arbitrary<Unnumbered> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), volume, offset, data: dataOf(1, 40) }) },
  fc.record({ kind: fc.constant('zero' as const), volume, offset, length: fc.constantFrom(1, 512, 0xffff_ffff) }),
  fc.record({ kind: fc.constantFrom('flush' as const, 'gap' as const) }),
);

function dataOf(minLength: number, maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength, maxLength }).map((bytes) => Buffer.from(bytes));
}

export const firstNumber = fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constant(2 ** 52));

/** Records that follow each other from `first` on. */
export const recordsFrom = (first: number, constraints: fc.ArrayConstraints = { maxLength: 12 }): fc.Arbitrary<JournalRecord[]> =>
  fc.array(unnumbered, constraints).map((some) => some.map((one, i) => ({ ...one, seq: first + i })));

/** A number and records from it on. */
export const someRecords = firstNumber.chain((first) => fc.tuple(fc.constant(first), recordsFrom(first)));
