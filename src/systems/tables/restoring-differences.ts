/** What would change in the live table if a past state were applied now, as lines for a file or a reader; nothing is applied. */
import type { Home } from '../../engine/catalog/home.ts';
import type { PastAsked } from '../../domain/past-states.ts';
import { HoldfastError } from '../../domain/errors.ts';
import { canonicalKey, parsed } from '../../engine/tables/events/json-text.ts';
import { jsonDifferences, sqlDifferences } from '../../engine/tables/diff/difference-lines.ts';
import { findDifferences, type DifferenceCounts, type DifferenceFilter } from '../../engine/tables/diff/differences.ts';
import { openLineFile } from '../../engine/tables/outputs/line-file.ts';
import { asideOf, clearAsides, land, prepareLanding } from '../../ground/stores/landing.ts';
import { parseSqlTable } from '../../engine/tables/outputs/sql-text.ts';
import type { ColumnReport } from '../../engine/tables/outputs/typed-rows.ts';
import { openTable } from './opening.ts';
import { openFold } from './restoring.ts';
import { builtOrThrow, proofReport, settleAsked, targetOf, type ProofReport } from './restoring-outcome.ts';

export interface DifferencesAsked extends DifferenceFilter {
  readonly table: string;
  readonly wanted: PastAsked;
  /** What it is held against. */
  readonly live: PastAsked;
  readonly format: 'jsonl' | 'sql';
  /** Of the live table, in SQL. */
  readonly sqlTable: string;
  /** A file that is not there yet; null: lines go to `onLine`. */
  readonly path: string | null;
}

export interface FoundDifferences {
  readonly counts: DifferenceCounts;
  readonly columns: readonly ColumnReport[];
  readonly wanted: ProofReport;
  readonly live: ProofReport;
}

/** Keys as a person writes them, as the archive has them. ARGUMENT_INVALID. */
export function parseKeys(texts: readonly string[]): string[] {
  return texts.map((text) => {
    if (parsed(text) === undefined)
      throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 80))} is no key`, {
        field: 'key',
        expected: 'JSON, as {"id":1}',
      });
    return canonicalKey(text.trim());
  });
}

export async function differencesOf(home: Home, asked: DifferencesAsked, onLine: (line: string) => void): Promise<FoundDifferences> {
  const { path, format } = asked;
  const sqlTable = parseSqlTable(asked.sqlTable);
  const { archive } = await openTable(home, asked.table);
  const state = archive.known();
  const [wanted, live] = [settleAsked(state, asked.wanted), settleAsked(state, asked.live)].map(targetOf);
  if (wanted === undefined || live === undefined) throw new HoldfastError('INTERNAL', 'a difference has two sides');
  const owner = archive.environment.random(8).toString('hex');
  if (path !== null) await prepareLanding(path, owner);
  await using duck = await openFold();
  const { keys, where, transaction } = asked;
  const found = builtOrThrow(
    await findDifferences(archive, duck, {
      ...{ wanted, live },
      ...(keys === undefined ? {} : { keys }),
      ...(where === undefined ? {} : { where }),
      ...(transaction === undefined ? {} : { transaction }),
    }),
  );
  const lines = format === 'sql' ? sqlDifferences(duck, found, sqlTable, {}) : jsonDifferences(duck, found, {});
  if (path === null) for await (const line of lines) onLine(line);
  else await writeLines(lines, path, owner);
  return { counts: found.counts, columns: found.columns, wanted: proofReport(found.wanted), live: proofReport(found.live) };
}

async function writeLines(lines: AsyncIterable<string>, path: string, owner: string): Promise<void> {
  try {
    const aside = asideOf(path, owner, 'only');
    await using file = await openLineFile(aside);
    for await (const line of lines) await file.write(line);
    await file.end();
    await land(path, aside);
  } finally {
    await clearAsides(path, owner);
  }
}
