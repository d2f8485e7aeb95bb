/**
 * The proof of a past state: what it holds, in numbers that another fold of the same cut must come to (docs/tables.md, section 9).
 */
import type { Duck } from '../archive/duck.ts';
import { sqlText } from '../archive/duck.ts';
import { cellColumn } from '../archive/rows.ts';

export interface ColumnProof {
  readonly name: string;
  /** Rows where it is null, and rows that do not have it. */
  readonly nulls: number;
  readonly absent: number;
  /** Least and greatest number, and text (its first 100 characters), as written; null where there is none. */
  readonly numbers: { readonly least: string; readonly greatest: string } | null;
  readonly texts: { readonly least: string; readonly greatest: string } | null;
}

export interface ContentProof {
  readonly rows: number;
  /** 32 hex digits. */
  readonly hash: string;
  /** Columns that at least one row has, ascending by name. */
  readonly columns: readonly ColumnProof[];
}

const MODULUS = 1n << 128n;

/** Proves the table `past`, whose cells have these names by number. */
export async function proveContent(duck: Duck, columns: readonly number[], names: readonly string[]): Promise<ContentProof> {
  const named = columns
    .map((column) => ({ cell: cellColumn(column), name: names[column] ?? '' }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  // concat passes over nulls: a column that a row does not have.
  const cells = named.map(({ cell, name }) => `CASE WHEN ${cell} IS NOT NULL THEN ${sqlText(`\n${JSON.stringify(name)}:`)} END, ${cell}`);
  const text = `concat(${['_key', ...cells].join(', ')})`;
  const [[rows, upper, lower] = []] = await duck.rows(
    `SELECT count(*), coalesce(sum(('0x' || left(h, 16))::UBIGINT), 0)::VARCHAR, coalesce(sum(('0x' || substr(h, 17, 16))::UBIGINT), 0)::VARCHAR
     FROM (SELECT sha256(${text}) AS h FROM past)`,
  );
  const hash = ((BigInt(String(upper)) << 64n) + BigInt(String(lower))) % MODULUS;
  const proofs = await proveColumns(duck, named);
  return { rows: Number(rows), hash: hash.toString(16).padStart(32, '0'), columns: proofs.filter((proof) => proof.absent < Number(rows)) };
}

/** One look for all columns. */
async function proveColumns(duck: Duck, named: readonly { readonly cell: string; readonly name: string }[]): Promise<ColumnProof[]> {
  if (named.length === 0) return [];
  const wanted = named.map(({ cell }) => {
    const isText = `starts_with(${cell}, '"')`;
    const number = `CASE WHEN NOT ${isText} THEN TRY_CAST(${cell} AS DOUBLE) END`;
    return `count(*) FILTER (WHERE ${cell} = 'null'), count(*) FILTER (WHERE ${cell} IS NULL), arg_min(${cell}, ${number}), arg_max(${cell}, ${number}),
      left(min(${cell}) FILTER (WHERE ${isText}), 100), left(max(${cell}) FILTER (WHERE ${isText}), 100)`;
  });
  const [found = []] = await duck.rows(`SELECT ${wanted.join(', ')} FROM past`);
  const range = (a: unknown, b: unknown) => (typeof a === 'string' && typeof b === 'string' ? { least: a, greatest: b } : null);
  return named.map(({ name }, i) => {
    const [nulls, absent, least, greatest, first, last] = found.slice(i * 6, i * 6 + 6);
    return { name, nulls: Number(nulls), absent: Number(absent), numbers: range(least, greatest), texts: range(first, last) };
  });
}
