/** `holdfast table restore`, `diff` and `verify`: past states of tables, as something new, against today, and whether they can be relied on. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ERROR_KINDS, HoldfastError } from '../../../domain/errors.ts';
import type { PastAsked } from '../../../domain/past-states.ts';
import type { DifferencesAsked, FoundDifferences } from '../../../systems/tables/restoring-differences.ts';
import type { VerifiedTable } from '../../../systems/tables/restoring-verification.ts';
import {
  addAskedOptions,
  addOutputOptions,
  askedOf,
  outputOf,
  parsePastTime,
  type AskedOptions,
  type OutputOptions,
} from '../past-options.ts';
import { counted, formatBytes } from '../quantities.ts';
import type { Session } from '../session.ts';
import { tableName } from './table.ts';

interface RestoreOptions extends AskedOptions, OutputOptions {
  readonly host?: string;
  readonly detach?: boolean;
}

async function restore(session: Session, table: string, options: RestoreOptions): Promise<void> {
  const [{ parseInput }, { pastOutput }, { runJob }] = await Promise.all([
    import('../../../domain/job-inputs.ts'),
    import('../../../domain/past-states.ts'),
    import('../run-job.ts'),
  ]);
  const asked = askedOf(options);
  const output = parseInput(pastOutput, 'the target', outputOf(table, options));
  // A path is this machine's, unless another one is named.
  const host = output.kind === 'file' ? (options.host ?? (await session.configuration()).host) : options.host;
  await runJob(
    session,
    'restoreTable',
    { table, output, ...(asked === null ? {} : { at: asked }), ...(host === undefined ? {} : { host }) },
    options.detach === undefined ? {} : { detach: options.detach },
  );
}

interface DiffOptions extends AskedOptions {
  readonly against: PastAsked;
  readonly key?: readonly string[];
  readonly where?: string;
  readonly transaction?: string;
  readonly format?: string;
  readonly sqlTable?: string;
  readonly output?: string;
}

/** Of a transaction: what was just before it, unless something else is asked for. */
function wantedOf(options: DiffOptions): PastAsked {
  const asked = askedOf(options);
  if (asked !== null) return asked;
  if (options.transaction !== undefined) return { kind: 'transaction', id: options.transaction, edge: 'before' };
  throw new HoldfastError('ARGUMENT_INVALID', 'which past state is to be had again?', {
    field: '--at',
    expected: '--at TIME, --position PLACE, --before-transaction ID or --transaction ID',
  });
}

async function diff(session: Session, table: string, options: DiffOptions): Promise<void> {
  const { differencesOf, parseKeys } = await import('../../../systems/tables/restoring-differences.ts');
  const { key, where, transaction, output } = options;
  const format = options.format ?? (output?.endsWith('.sql') === true ? 'sql' : 'jsonl');
  if (format !== 'jsonl' && format !== 'sql')
    throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(format.slice(0, 40))} is no form of differences`, {
      field: '--format',
      expected: 'jsonl or sql',
    });
  if (session.settings.json && output === undefined)
    throw new HoldfastError('ARGUMENT_INVALID', 'the lines and the report cannot both be the output', {
      field: '--output',
      expected: 'with --json a file for the lines',
    });
  const asked: DifferencesAsked = {
    ...{ table, wanted: wantedOf(options), live: options.against, sqlTable: options.sqlTable ?? table },
    format,
    ...(key === undefined ? {} : { keys: parseKeys(key) }),
    ...(where === undefined ? {} : { where }),
    ...(transaction === undefined ? {} : { transaction }),
    path: output === undefined ? null : resolve(output),
  };
  const found = await differencesOf(await session.home(), asked, (line) => session.terminal.out(`${line}\n`));
  if (output !== undefined)
    session.print({ table, output: asked.path, ...found }, () => `${diffText(table, found)}\n  they are in ${output}\n`);
  else session.say(diffText(table, found));
}

function diffText(table: string, { counts, wanted, live }: FoundDifferences): string {
  const { insert, update, delete: removed, changedSince } = counts;
  return [
    `${table}: ${counted(insert, 'row')} to insert, ${update} to change, ${removed} to delete`,
    `  the wanted state has ${counted(wanted.rows, 'row')} (hash ${wanted.hash}), the younger one ${live.rows} (hash ${live.hash})`,
    ...(changedSince > 0 ? [`  ${changedSince} of them were changed again since the transaction; look at those first`] : []),
    ...(wanted.unresolved > 0
      ? [`  ${counted(wanted.unresolved, 'value')} of the wanted state were never archived, and count as null`]
      : []),
  ].join('\n');
}

interface VerifyOptions extends AskedOptions {
  readonly depth: string;
}

async function verify(session: Session, table: string, options: VerifyOptions): Promise<void> {
  const { depth } = options;
  if (depth !== 'structure' && depth !== 'all')
    throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(depth.slice(0, 40))} is no depth`, {
      field: '--depth',
      expected: 'structure or all',
    });
  const { verifyTable } = await import('../../../systems/tables/restoring-verification.ts');
  const found = await verifyTable(await session.home(), table, askedOf(options) ?? { kind: 'latest' }, {
    depth,
    onFile: (done, files) => {
      if (done % FILES_TOLD === 0) session.say(`${done} of ${files} files`);
    },
  });
  if (!found.sound) session.fail(ERROR_KINDS.DAMAGED.exitCode);
  session.print(found, () => `${verifyLines(found, depth).join('\n')}\n`);
}

const FILES_TOLD = 1000;

function verifyLines({ table, sound, packs, fold }: VerifiedTable, depth: string): readonly string[] {
  const looked = depth === 'all' ? `opened, ${counted(packs.rows, 'row')}` : 'there, of their size';
  return [
    `${table}: ${sound ? 'sound' : 'NOT SOUND'}; ${counted(packs.files - packs.damagedFiles, 'file')} of ${packs.files} ${looked} (${formatBytes(packs.bytes)})`,
    ...packs.damaged.map(({ kind, object, partitions, reason }) => `  damaged: ${kind} ${object} of ${partitions.join(', ')}: ${reason}`),
    ...(packs.damagedFiles > packs.damaged.length ? [`  and ${packs.damagedFiles - packs.damaged.length} more`] : []),
    ...(fold === null ? [] : foldLines(fold)),
  ];
}

function foldLines({ same, independent, proof, other }: NonNullable<VerifiedTable['fold']>): readonly string[] {
  const ways = independent ? 'from the newest bases and from the oldest' : 'twice; there is one base to begin from, so it was the same way';
  if (same) return [`  ${counted(proof.rows, 'row')}, hash ${proof.hash}: the same ${ways}`];
  return [
    `  folded ${ways} it is not the same: ${proof.rows} rows, hash ${proof.hash}; ${other.rows} rows, hash ${other.hash}`,
    '  a snapshot of a partition is not what the events make; take past states before it, or let it go',
  ];
}

const several = (text: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), text];

/** Adds to the group `table`. */
export function addTableRestoringCommands(table: Command, session: Session): void {
  const named = (name: string, description: string): Command =>
    table.command(name).description(description).argument('<name>', 'of the table', tableName);
  addOutputOptions(addAskedOptions(named('restore', 'a past state as a new file, topic or table of PostgreSQL; the live one goes on')))
    .option('--host <name>', 'the machine whose file system the path is on (default: this one)')
    .option('-d, --detach', 'start it and leave')
    .addHelpText(
      'after',
      '\nExamples:\n  holdfast table restore orders --at 2026-03-01T14:32:07Z --to orders.parquet\n' +
        '  holdfast table restore orders --before-transaction 571 --to postgres://me@db/shop --sql-table restored.orders --password env:PGPASSWORD',
    )
    .action((name: string, options: RestoreOptions) => restore(session, name, options));
  addAskedOptions(named('diff', 'what would change if a past state were applied now; nothing is applied'))
    .option('--against <time>', 'the younger state', parsePastTime('--against'), { kind: 'latest' })
    .option('--key <json>', 'only this key, as {"id":1}; may be given again', several)
    .option('--where <sql>', "only rows of which this holds, as amount > 100 AND city = 'Rome', before or after")
    .option('--transaction <id>', 'only what this transaction touched; the state before it, unless another one is asked for')
    .option('--format <format>', 'jsonl, or sql: statements that undo (default: as --output ends, else jsonl)')
    .option('--sql-table <name>', 'NAME or SCHEMA.NAME of the live table (default: the name of the table)')
    .option('-o, --output <file>', 'lines go there, and not to the standard output')
    .addHelpText('after', '\nExample:\n  holdfast table diff orders --transaction 571 --sql-table public.orders --output undo.sql')
    .action((name: string, options: DiffOptions) => diff(session, name, options));
  addAskedOptions(named('verify', 'whether its past can be relied on: what the log names, and one past state by two ways'))
    .option('--depth <depth>', 'structure: what the log names is there; all: it is opened and counted', 'structure')
    .action((name: string, options: VerifyOptions) => verify(session, name, options));
}
