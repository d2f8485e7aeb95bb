/** `holdfast table`: which tables there are, and their archives: begun, ended, looked at, kept small. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { NAME_PATTERN, storeName, type StoreName } from '../../../domain/ids.ts';
import { JOB_IDS, PAUSE_UPDATE, RESUME_UPDATE, SNAPSHOT_NOW_UPDATE } from '../../../domain/jobs.ts';
import type { TableDefinition } from '../../../engine/catalog/tables.ts';
import type { TableForm } from '../../../engine/tables/archive/entries.ts';
import { addKafkaOptions, clusterOf, type KafkaOptions } from '../kafka-options.ts';
import { counted, formatDuration, parseBytes, parseDuration } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { retentionText, tableStatusText } from '../table-texts.ts';

/** Commander takes a null that a parser gives for an empty text. */
type OrNone = number | 'none';

interface TableOptions extends KafkaOptions {
  readonly store: StoreName;
  readonly topic: readonly string[];
  readonly form: string;
  readonly placeholder?: string;
  readonly rowKey?: string;
  readonly time?: string;
  readonly transactions?: string;
  readonly heartbeat?: readonly string[];
  readonly snapshotBytes: OrNone;
  readonly snapshotChanged: OrNone;
  readonly snapshotAge: OrNone;
  readonly retain?: number;
}

const invalid = (field: string, message: string, expected: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', message, { field, expected });

export function tableName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw invalid('table', `${JSON.stringify(text.slice(0, 40))} is no name of a table`, 'letters, digits, dots, dashes and underscores');
}

const several = (text: string, before: readonly string[] | undefined): readonly string[] => [
  ...new Set([...(before ?? []), ...text.split(',').map((one) => one.trim())]),
];

const orNone =
  (parse: (text: string) => number) =>
  (text: string): OrNone =>
    text === 'none' ? 'none' : parse(text);
const numberOf = (value: OrNone): number | null => (value === 'none' ? null : value);

function parseShare(text: string): number {
  const share = Number(text);
  if (text.trim() !== '' && share > 0 && share <= 1000) return share;
  throw invalid('--snapshot-changed', `${JSON.stringify(text.slice(0, 20))} is no share`, 'a number above 0, as in 0.5; or none');
}

const PLACEHOLDER = '__debezium_unavailable_value';

function formOf({ form, placeholder, rowKey, time }: TableOptions): TableForm {
  if (form === 'debezium') {
    if (rowKey !== undefined || time !== undefined)
      throw invalid(rowKey === undefined ? '--time' : '--row-key', "Debezium's events say their key and time themselves", '--form plain');
    return { form: 'debezium', placeholder: placeholder ?? PLACEHOLDER };
  }
  if (form !== 'plain') throw invalid('--form', `${JSON.stringify(form.slice(0, 20))} is no form of events`, 'debezium or plain');
  if (placeholder !== undefined) throw invalid('--placeholder', "only Debezium's events have placeholders", '--form debezium');
  return { form: 'plain', key: keyOf(rowKey ?? 'json'), time: timeOf(time ?? 'record') };
}

const keyOf = (text: string): Extract<TableForm, { form: 'plain' }>['key'] =>
  text === 'json' || text === 'text' ? text : text.split(',').map((field) => field.trim());

function timeOf(text: string): Extract<TableForm, { form: 'plain' }>['time'] {
  if (text === 'record') return 'record';
  const match = /^(.+):(ms|us|iso)$/.exec(text);
  if (match?.[1] === undefined)
    throw invalid('--time', `${JSON.stringify(text.slice(0, 40))} is no time of an event`, 'record, or FIELD:ms, FIELD:us, FIELD:iso');
  return { field: match[1], unit: match[2] as 'ms' | 'us' | 'iso' };
}

/** What does not fit is refused by the catalog's schema, with the field's name. */
async function definitionOf(name: string, options: TableOptions): Promise<TableDefinition> {
  const [{ tableDefinition }, { parseInput }] = await Promise.all([
    import('../../../engine/catalog/tables.ts'),
    import('../../../domain/job-inputs.ts'),
  ]);
  const { store, topic, transactions, heartbeat, snapshotBytes, snapshotChanged, snapshotAge, retain } = options;
  return parseInput(tableDefinition, 'the table', {
    ...{ name, store, form: formOf(options), retainMs: retain ?? null },
    source: { ...clusterOf(options), topics: topic, transactions: transactions ?? null, heartbeats: heartbeat ?? [] },
    snapshots: { bytes: numberOf(snapshotBytes), changed: numberOf(snapshotChanged), ageMs: numberOf(snapshotAge) },
  });
}

async function enter(session: Session, kind: 'TABLE_ADD' | 'TABLE_SET', name: string, options: TableOptions): Promise<void> {
  const table = await definitionOf(name, options);
  // A secret or a certificate that is not there is told now, and not by a worker that waits.
  const { createKafka } = await import('../../../ground/kafka/kafka-cluster.ts');
  await createKafka(table.source, { clientId: 'holdfast', variables: session.variables });
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind, table }));
  session.print({ table }, () =>
    kind === 'TABLE_ADD'
      ? `table ${name} is added; \`holdfast table archive start ${name}\` begins its archive in ${table.store}\n`
      : `table ${name} is changed; an archiver that runs follows within seconds\n`,
  );
  const { sasl } = table.source;
  if (sasl?.password.startsWith('env:') === true)
    session.say(`workers that were started without ${sasl.password.slice(4)} in their environment have to be started again with it`);
}

async function remove(session: Session, name: string): Promise<void> {
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'TABLE_REMOVE', name }));
  session.print({ removed: name }, () => `table ${name} is no longer known, and its archiver ends; what was archived stays in the store\n`);
}

async function list(session: Session): Promise<void> {
  const { tables, jobs } = await (await session.home()).catalog.sync();
  const rows = [...tables.values()].map((table) => {
    const job = jobs.get(JOB_IDS.archiveTable({ table: table.name }));
    return { ...table, archiving: job !== undefined && job.ended === null };
  });
  session.print(rows, () =>
    renderTable(
      [
        { title: 'TABLE', cell: ({ name }) => name },
        { title: 'STORE', cell: ({ store }) => store },
        { title: 'FORM', cell: ({ form }) => form.form },
        { title: 'TOPICS', cell: ({ source }) => source.topics.join(',') },
        { title: 'KEPT', align: 'right', cell: ({ retainMs }) => (retainMs === null ? 'all' : formatDuration(retainMs)) },
        { title: 'ARCHIVE', cell: ({ archiving }) => (archiving ? 'begun' : 'not begun') },
      ],
      rows,
      'no tables yet; `holdfast table add NAME --store S --brokers HOST:PORT --topic T` adds one',
    ),
  );
}

async function start(session: Session, table: string): Promise<void> {
  const { findTable } = await import('../../../engine/catalog/tables.ts');
  findTable(await (await session.home()).catalog.sync(), table);
  const { startJob } = await import('../run-job.ts');
  const { id, runId, joined } = await startJob(session, 'archiveTable', { table });
  session.print(
    { job: id, runId, joined },
    () => `${joined ? 'joined' : 'started'} ${id}; \`holdfast table status ${table}\` shows how far it is\n`,
  );
}

async function serve(session: Session, { metricsPort }: { readonly metricsPort?: string }): Promise<void> {
  const { runWorker } = await import('../run-worker.ts');
  await runWorker(session, 'tables', { HOLDFAST_METRICS_PORT: metricsPort });
}

async function stop(session: Session, table: string): Promise<void> {
  const id = JOB_IDS.archiveTable({ table });
  await (await session.jobs()).cancel(id);
  session.print({ job: id, asked: 'stop' }, () => `${id} ends; \`holdfast table archive start ${table}\` goes on where it stood\n`);
}

async function steer(session: Session, table: string, update: string, done: string): Promise<void> {
  const id = JOB_IDS.archiveTable({ table });
  await (await session.jobs()).update(id, update);
  session.print({ job: id, asked: update }, () => `${id} ${done}\n`);
}

async function status(session: Session, name: string): Promise<void> {
  const [{ tableStatus }, home] = await Promise.all([import('../../../systems/tables/table-status.ts'), session.home()]);
  const found = await tableStatus(home, name);
  const job = home.catalog.known().jobs.get(JOB_IDS.archiveTable({ table: name })) ?? null;
  session.print({ ...found, job }, () => tableStatusText(found, job));
}

async function retain(
  session: Session,
  name: string,
  { dryRun, keep }: { readonly dryRun?: boolean; readonly keep?: number },
): Promise<void> {
  const { retainTable } = await import('../../../systems/tables/upkeep.ts');
  const found = await retainTable(await session.home(), name, keep ?? null, dryRun === true);
  session.print(found, () => retentionText(found));
}

async function whole(session: Session, name: string, { partition }: { readonly partition?: readonly string[] }): Promise<void> {
  const { declareWhole } = await import('../../../systems/tables/upkeep.ts');
  const said = await declareWhole(await session.home(), name, partition ?? null);
  session.print({ table: name, whole: said }, () =>
    said.length === 0
      ? `no partition of ${name} is broken\n`
      : `${counted(said.length, 'partition')} of ${name} begin anew: ${said.join(', ')}\n`,
  );
}

function addEntering(table: Command, session: Session, name: string, description: string, kind: 'TABLE_ADD' | 'TABLE_SET'): void {
  addKafkaOptions(table.command(name).description(description).argument('<name>', 'a name for it', tableName))
    .requiredOption('--store <store>', 'the archive lies there', storeName)
    .requiredOption('--topic <name>', 'of its events; * stands for any characters; may be given again', several)
    .option('--form <form>', 'debezium, or plain: keyed JSON', 'debezium')
    .option('--placeholder <text>', `of columns that were not logged (default: ${PLACEHOLDER})`)
    .option('--row-key <key>', 'with plain: json or text, how the key is read, or FIELD,... of the value (default: json)')
    .option('--time <time>', 'with plain: record, or FIELD:ms, FIELD:us, FIELD:iso (default: record)')
    .option('--transactions <topic>', "Debezium's transaction topic")
    .option('--heartbeat <topic>', 'another topic of the same connector, which tells how far the source is; may be given again', several)
    .option(
      '--snapshot-bytes <bytes>',
      'a partition gets a snapshot after so many bytes of segments, or none',
      orNone(parseBytes('--snapshot-bytes')),
      parseBytes('')('64M'),
    )
    .option('--snapshot-changed <share>', 'after changes of such a share of its rows, or none', orNone(parseShare), 1)
    .option('--snapshot-age <duration>', 'after so long, or none', orNone(parseDuration('--snapshot-age')), parseDuration('')('1d'))
    .option('--retain <duration>', 'past states of so long ago are wanted, as in 30d (default: all)', parseDuration('--retain'))
    .action((given: string, options: TableOptions) => enter(session, kind, given, options));
}

/** The group `table`, for those who add to it. */
export function addTableCommands(program: Command, session: Session): Command {
  const table = program.command('table').description('tables of databases, archived by their change events').helpGroup('Every day:');
  const named = (parent: Command, name: string, description: string): Command =>
    parent.command(name).description(description).argument('<name>', 'of the table', tableName);
  addEntering(table, session, 'add', 'add a table', 'TABLE_ADD');
  addEntering(table, session, 'set', 'say anew where its events come from and what is kept', 'TABLE_SET');
  named(table, 'remove', 'forget a table; its archive stays').action((name: string) => remove(session, name));
  table
    .command('list')
    .description('all tables')
    .action(() => list(session));
  table
    .command('serve')
    .description('archive tables in the foreground: the process that `holdfast up` starts')
    .option('--metrics-port <port>', 'serve metrics for Prometheus there')
    .action((options: { readonly metricsPort?: string }) => serve(session, options));
  const archive = table.command('archive').description('the archiver of a table');
  named(archive, 'start', 'archive its events from now on, and those that are there').action((name: string) => start(session, name));
  named(archive, 'stop', 'end it; it can be begun again').action((name: string) => stop(session, name));
  named(archive, 'pause', 'rest until it is resumed').action((name: string) => steer(session, name, PAUSE_UPDATE, 'pauses'));
  named(archive, 'resume', 'go on').action((name: string) => steer(session, name, RESUME_UPDATE, 'goes on'));
  named(archive, 'status', 'the same as `table status`').action((name: string) => status(session, name));
  named(table, 'status', 'of which times past states can be had, and what came of each partition').action((name: string) =>
    status(session, name),
  );
  named(table, 'snapshot', 'ask for a snapshot of each partition now').action((name: string) =>
    steer(session, name, SNAPSHOT_NOW_UPDATE, 'makes a snapshot of each partition'),
  );
  named(table, 'retain', 'let go of what is older than the window')
    .option('--dry-run', 'only say what would go')
    .option('--keep <duration>', "instead of the table's own, as in 30d", parseDuration('--keep'))
    .action((name: string, options: { readonly dryRun?: boolean; readonly keep?: number }) => retain(session, name, options));
  named(table, 'whole', 'say that a new snapshot of the source has passed through partitions that had lost records')
    .option('--partition <id>', 'only this one; may be given again', several)
    .action((name: string, options: { readonly partition?: readonly string[] }) => whole(session, name, options));
  return table;
}
