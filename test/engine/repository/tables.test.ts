/** Two tables, one behaviour: whatever is written to the one in memory and to SQLite, both say the same. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { emptyLedger, type Ledger } from '../../../src/engine/repository/ledger.ts';
import type { Location } from '../../../src/engine/repository/location.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { openSqliteTable } from '../../../src/engine/repository/sqlite-table.ts';
import type { Table, TableWriter } from '../../../src/engine/repository/table.ts';

const PACKS = 5;
const VALUES = 8;
const PACK_BYTES = 1000;
const packId = (n: number): Buffer => Buffer.alloc(16, n + 1);
const fingerprint = (n: number): Buffer => Buffer.alloc(32, n + 1);
const place = (pack: number, value: number): Location => ({ pack: packId(pack), offset: 8 + value * 100, length: 40 + 60 * (value % 5) });
const packRow = (n: number) => ({
  id: packId(n),
  kind: n % 2 === 0 ? ('extent' as const) : ('node' as const),
  blobs: VALUES,
  bytes: PACK_BYTES,
});

type Step =
  | { readonly kind: 'bring'; readonly value: number; readonly pack: number; readonly runs: number }
  | { readonly kind: 'count'; readonly value: number; readonly runs: number }
  | { readonly kind: 'end'; readonly value: number; readonly runs: number }
  | { readonly kind: 'move'; readonly value: number; readonly from: number; readonly to: number }
  | { readonly kind: 'hold'; readonly root: string; readonly names: readonly string[] }
  | { readonly kind: 'drop'; readonly root: string };

const value = fc.nat(VALUES - 1);
const pack = fc.nat(PACKS - 1);
const runs = fc.integer({ min: 1, max: 3 });
const root = fc.constantFrom('a', 'b', 'c');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('bring' as const), value, pack, runs }) },
  fc.record({ kind: fc.constant('count' as const), value, runs }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), value, runs }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('move' as const), value, from: pack, to: pack }) },
  fc.record({ kind: fc.constant('hold' as const), root, names: fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { minLength: 1 }) }),
  fc.record({ kind: fc.constant('drop' as const), root }),
);

function apply(writer: TableWriter, one: Step): void {
  switch (one.kind) {
    case 'bring':
      writer.addPacks([packRow(one.pack)]);
      return writer.add(fingerprint(one.value), one.runs, place(one.pack, one.value));
    case 'count':
      return writer.add(fingerprint(one.value), one.runs, null);
    case 'end':
      return writer.subtract(fingerprint(one.value), one.runs);
    case 'move':
      writer.addPacks([packRow(one.to)]);
      return writer.move(fingerprint(one.value), new Set([packId(one.from).toString('hex')]), place(one.to, one.value));
    case 'hold':
      writer.dropParts(one.root);
      return writer.holdParts(one.root, one.names);
    case 'drop':
      return writer.dropParts(one.root);
  }
}

const all = (table: Table) => ({
  rows: [...table.rows()],
  packs: [...table.packs()],
  parts: [...table.parts()].map(({ root: of, name }) => `${of} ${name}`).sort(),
  thin: table.thinPacks(10),
  size: table.size(),
  each: Array.from({ length: VALUES }, (_, i) => {
    const row = table.get(fingerprint(i));
    return row === null ? null : { runs: row.runs, location: row.location };
  }),
  uses: Array.from({ length: PACKS }, (_, i) => table.pack(packId(i))),
  held: ['x', 'y', 'z'].map((name) => table.holdsPart(name)),
});

/** Writes the steps as record n+1; those that a table refuses are no record at all. */
function write(table: Table, before: Ledger, steps: readonly Step[]): { readonly ledger: Ledger; readonly emptied: readonly string[] } {
  const ledger = { ...before, n: before.n + 1 };
  const emptied = table.write(before.n, (writer) => steps.forEach((one) => apply(writer, one)), ledger);
  return { ledger, emptied: emptied.map((id) => id.toString('hex')).sort() };
}

test('whatever is written: rows, packs, parts, thin packs and emptied ones are the same', () => {
  fc.assert(
    fc.property(fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 12 }), (records) => {
      const memory = createMemoryTable();
      using sqlite = openSqliteTable(':memory:');
      let ledger = emptyLedger();
      for (const steps of records) {
        // A table in memory cannot take a half-made record back: what is refused is found out on a copy.
        try {
          write(memory.clone(), ledger, steps);
        } catch (error) {
          expect(error).toMatchObject({ code: 'RECORD_INVALID' });
          const before = all(sqlite);
          expect(() => write(sqlite, ledger, steps)).toThrow(HoldfastError);
          expect(all(sqlite)).toEqual(before);
          continue;
        }
        const one = write(memory, ledger, steps);
        expect(write(sqlite, ledger, steps)).toEqual(one);
        ledger = one.ledger;
        expect(all(sqlite)).toEqual(all(memory));
        expect(sqlite.stamp()).toBe(ledger.n);
      }
      const copies = [createMemoryTable(), openSqliteTable(':memory:')];
      for (const copy of copies) {
        load(copy, memory, ledger);
        expect(all(copy)).toEqual(all(memory));
      }
    }),
    { numRuns: 150 },
  );
});

function load(into: Table, from: Table, ledger: Ledger): void {
  const loader = into.loader();
  loader.packs(from.packs());
  loader.parts(from.parts());
  loader.rows(from.rows());
  loader.finish(ledger);
}

test.each(['memory', 'sqlite'] as const)('a table in the making shows nothing before it is finished (%s)', (kind) => {
  const table = kind === 'memory' ? createMemoryTable() : openSqliteTable(':memory:');
  const bring: Step = { kind: 'bring', value: 1, pack: 1, runs: 2 };
  write(table, emptyLedger(), [bring]);
  const other = createMemoryTable();
  write(other, emptyLedger(), [{ ...bring, value: 2, pack: 2 }]);
  const before = all(table);
  const loader = table.loader();
  loader.packs(other.packs());
  loader.rows(other.rows());
  expect(all(table)).toEqual(before);
  loader.finish({ ...emptyLedger(), n: 7 });
  expect(all(table)).toEqual(all(other));
});

test('of two processes that fill one cache the first to finish wins; the other one is told', () => {
  using sqlite = openSqliteTable(':memory:');
  const loader = sqlite.loader();
  write(sqlite, emptyLedger(), [{ kind: 'bring', value: 1, pack: 1, runs: 1 }]);
  expect(() => loader.finish({ ...emptyLedger(), n: 3 })).toThrow(expect.objectContaining({ code: 'CONTENTION' }));
  expect(sqlite.stamp()).toBe(1);
  // One that was given up does not stand in the way of the next.
  sqlite.loader().packs([]);
  load(sqlite, createMemoryTable(), { ...emptyLedger(), n: 5 });
  expect(sqlite.stamp()).toBe(5);
});
