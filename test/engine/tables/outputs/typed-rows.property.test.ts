/**
 * Values of every type through a past state's outputs: what a reader of Parquet or CSV gets is what the database had, to the last digit.
 *
 * HOLDFAST_SEED=n repeats one case, HOLDFAST_RUNS=n runs that many. A failure names its seed.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Duck, sqlText } from '../../../../src/engine/tables/archive/duck.ts';
import { writeColumnar } from '../../../../src/engine/tables/outputs/columnar-file.ts';
import { writeJsonLines } from '../../../../src/engine/tables/outputs/row-files.ts';
import { typeRows } from '../../../../src/engine/tables/outputs/typed-rows.ts';
import { seededRandom } from '../../../../src/ground/stores/faulty.ts';
import type { Random } from '../source-model.ts';
import { VALUE_KINDS, type Value } from './values.ts';

const seeds =
  process.env['HOLDFAST_SEED'] === undefined
    ? Array.from({ length: Number(process.env['HOLDFAST_RUNS'] ?? 20) }, (_, i) => i + 1)
    : [Number(process.env['HOLDFAST_SEED'])];

let duck: Duck;
let folder: string;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-types-'));
});
afterAll(async () => {
  await duck[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const NULL: Value = { cell: 'null', text: null };

/** A table of one column of each type, as a fold leaves it. */
async function makeTable(random: Random): Promise<readonly (readonly (Value | null)[])[]> {
  const rows = Array.from({ length: 1 + Math.floor(random() * 30) }, () =>
    VALUE_KINDS.map((kind) => {
      const dice = random();
      return dice < 0.08 ? NULL : dice < 0.12 ? null : kind.value(random);
    }),
  );
  const cells = VALUE_KINDS.map((_, i) => `c${i + 1} VARCHAR`);
  await duck.run(`CREATE OR REPLACE TABLE past (_key VARCHAR, _schema INTEGER, c0 VARCHAR, ${cells.join(', ')})`);
  const values = rows.map(
    (row, i) => `('{"id":${i}}', 0, '${i}', ${row.map((value) => (value === null ? 'NULL' : sqlText(value.cell))).join(', ')})`,
  );
  await duck.run(`INSERT INTO past VALUES ${values.join(', ')}`);
  return rows;
}

const NAMES = VALUE_KINDS.map((kind, i) => `${kind.type}_${i}`);
const schema = [
  { name: 'id', type: 'int64', semantic: null, optional: false, scale: null },
  ...VALUE_KINDS.map(({ type, semantic, scale }, i) => ({ name: NAMES[i]!, type, semantic, scale, optional: true })),
];
const columns = ['id', ...NAMES].map((name, number) => ({ name, number, merged: false }));

/** What the table's text is, whatever the file's types are. */
const plainText = (kind: string): string => {
  if (kind.startsWith('BLOB')) return String.raw`'\x' || lower(hex(%))`;
  if (kind === 'TIMESTAMP WITH TIME ZONE') return `make_timestamp(epoch_us(%))::VARCHAR || '+00'`;
  return '%::VARCHAR';
};

test.each(seeds)('seed %i', async (seed) => {
  const random = seededRandom(seed);
  const rows = await makeTable(random);
  const expected = rows.map((row) => row.map((value) => value?.text ?? null));
  const typed = await typeRows(duck, { schemas: [schema] }, columns, 'past');
  expect(
    typed.columns.filter(({ misfits, type }) => misfits > 0 || (type.kind === 'json' && type.of === 'cell')).map(({ name }) => name),
  ).toEqual([NAMES.at(-1)]);
  expect(typed.columns.filter(({ key }) => key).map(({ name }) => name)).toEqual(['id']);

  for (const format of ['parquet', 'csv'] as const) {
    const file = path.join(folder, `${seed}.${format}`);
    await writeColumnar(duck, typed, format, file);
    await using reader = await Duck.open({ memoryBytes: 256e6, threads: 1, parent: folder });
    const copy = reader.file(`copy.${format}`);
    copyFileSync(file, copy);
    const from =
      format === 'parquet'
        ? `read_parquet(${sqlText(copy)})`
        : `read_csv(${sqlText(copy)}, header = true, all_varchar = true, allow_quoted_nulls = false, delim = ',', quote = '"', escape = '"')`;
    const described = await reader.rows(`SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM ${from})`);
    const texts = described.slice(1).map(([name, type]) => plainText(String(type)).replaceAll('%', `"${String(name)}"`));
    const read = await reader.rows(`SELECT ${texts.join(', ')} FROM ${from} ORDER BY id::BIGINT`);
    expect(read).toEqual(expected);
  }

  const lines = path.join(folder, `${seed}.jsonl`);
  await writeJsonLines(duck, typed, lines, {});
  const written = readFileSync(lines, 'utf8').split('\n').slice(0, -1);
  expect(written).toEqual(
    rows.map((row, i) => {
      const members = row.flatMap((value, n) => (value === null ? [] : [`${JSON.stringify(NAMES[n])}:${value.cell}`]));
      return `{${[`"id":${i}`, ...members].join(',')}}`;
    }),
  );
});
