/** `holdfast trigger`: which events of others start which jobs. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { NAME_PATTERN, storeName, volumeName, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import { SNAPSHOT_TABLE, TRIGGERED_JOBS } from '../../../domain/jobs.ts';
import type { EventFilter, TriggerRecord } from '../../../engine/catalog/triggers.ts';
import { receiverName, required } from '../arguments.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';

type Field = EventFilter['fields'][number];

interface AddOptions {
  readonly topic: string;
  readonly type?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly where?: readonly Field[];
  readonly capture?: VolumeName;
  readonly replicate?: VolumeName;
  readonly verify?: VolumeName;
  readonly snapshotTable?: string;
  readonly receiver?: string;
  readonly store?: StoreName;
  readonly start?: string;
  readonly input?: string;
}

function triggerName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', `trigger ${JSON.stringify(text.slice(0, 40))} is no name`, {
    field: 'trigger',
    expected: 'letters, digits, dots, dashes and underscores',
  });
}

/** "data.status=done": a member, and what it has to be; what is no JSON is text. */
function parseField(text: string, before: readonly Field[] | undefined): readonly Field[] {
  const [, path, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (path === undefined || value === undefined)
    throw new HoldfastError('ARGUMENT_INVALID', `--where ${JSON.stringify(text.slice(0, 40))} compares nothing`, {
      field: '--where',
      expected: 'MEMBER=VALUE, as in data.status=done',
    });
  return [...(before ?? []), { path: path.split('.'), equals: scalarOf(value) }];
}

function scalarOf(text: string): Field['equals'] {
  try {
    const value: unknown = JSON.parse(text);
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  } catch {
    // Text that needs no quotes.
  }
  return text;
}

function inputOf(text: string | undefined): unknown {
  try {
    return JSON.parse(required(text, '--input', "the job's input as JSON"));
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('ARGUMENT_INVALID', '--input is no JSON', { field: '--input', expected: 'as in {"volume":"db"}' }, error);
  }
}

/** One of the ways to say it; the schema of the trigger judges the rest. */
function startOf({ capture, replicate, verify, snapshotTable, receiver, store, start, input }: AddOptions): unknown {
  const ways = [
    capture === undefined
      ? null
      : { job: 'captureSnapshot', input: { volume: capture, ...(store === undefined ? {} : { stores: [store] }) } },
    replicate === undefined
      ? null
      : {
          job: 'replicateSnapshot',
          input: {
            volume: replicate,
            receiver: required(receiver, '--receiver', 'where to'),
            ...(store === undefined ? {} : { store }),
          },
        },
    verify === undefined ? null : { job: 'verifyStore', input: { volume: verify, store: required(store, '--store', 'which one') } },
    snapshotTable === undefined ? null : { job: SNAPSHOT_TABLE, input: { table: snapshotTable } },
    start === undefined ? null : { job: start, input: inputOf(input) },
  ].filter((way) => way !== null);
  const [way] = ways;
  if (way === undefined || ways.length > 1)
    throw new HoldfastError('ARGUMENT_INVALID', 'a trigger starts one thing', {
      field: '--capture',
      expected: 'one of --capture, --replicate, --verify, --snapshot-table and --start',
    });
  return way;
}

async function add(session: Session, name: string, options: AddOptions): Promise<void> {
  const [{ triggerRecord }, { parseInput }] = await Promise.all([
    import('../../../engine/catalog/triggers.ts'),
    import('../../../domain/job-inputs.ts'),
  ]);
  const { topic, type, source, subject, where } = options;
  const { catalog, environment } = await session.home();
  const trigger = parseInput(triggerRecord, 'trigger add', {
    ...{ name, topic, start: startOf(options), sinceMs: environment.nowMs() },
    filter: { type: type ?? null, source: source ?? null, subject: subject ?? null, fields: where ?? [] },
  });
  await catalog.append(() => ({ kind: 'TRIGGER_ADD', trigger }));
  session.print({ trigger }, () => `${name}: events on ${topic} ${filterText(trigger.filter)} start ${startText(trigger)}\n`);
}

const filterText = ({ type, source, subject, fields }: EventFilter): string => {
  const parts = [
    ...Object.entries({ type, source, subject }).flatMap(([attribute, pattern]) => (pattern === null ? [] : [`${attribute} ${pattern}`])),
    ...fields.map(({ path, equals }) => `${path.join('.')} = ${JSON.stringify(equals)}`),
  ];
  return parts.length === 0 ? '(all of them)' : `with ${parts.join(', ')}`;
};
const startText = ({ start: { job, input } }: TriggerRecord): string => `${job} ${JSON.stringify(input)}`;

async function list(session: Session): Promise<void> {
  const triggers = [...(await (await session.home()).catalog.sync()).triggers.values()];
  session.print(triggers, () =>
    renderTable(
      [
        { title: 'TRIGGER', cell: ({ name }) => name },
        { title: 'TOPIC', cell: ({ topic }) => topic },
        { title: 'EVENTS', cell: ({ filter }) => filterText(filter) },
        { title: 'STARTS', cell: startText },
      ],
      triggers,
      'no triggers yet; `holdfast trigger add NAME --topic TOPIC --capture VOLUME` adds one',
    ),
  );
}

async function remove(session: Session, name: string): Promise<void> {
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'TRIGGER_REMOVE', name }));
  session.print({ removed: name }, () => `trigger ${name} is removed; what it has started goes on\n`);
}

export function addTriggerCommands(program: Command, session: Session): void {
  const trigger = program.command('trigger').description('jobs that events of others start').helpGroup('Every day:');
  trigger
    .command('add')
    .description('start a job for each event of a topic that fits')
    .argument('<name>', 'a name for it', triggerName)
    .requiredOption('--topic <name>', 'of the brokers of `holdfast events configure`')
    .option('--type <pattern>', "the event's type; * stands for any characters")
    .option('--source <pattern>', 'its source')
    .option('--subject <pattern>', 'its subject')
    .option('--where <member=value>', 'a member of the event as JSON, as in data.status=done; may be given again', parseField)
    .option('--capture <volume>', 'take a snapshot of it', volumeName)
    .option('--replicate <volume>', 'bring its newest snapshot to --receiver', volumeName)
    .option('--verify <volume>', 'prove what --store has of it', volumeName)
    .option('--snapshot-table <table>', 'give its partitions new bases: that of a table that is archived')
    .option('--receiver <name>', 'for --replicate', receiverName)
    .option('-s, --store <name>', 'for --verify; for the others instead of those that the catalog says', storeName)
    .option('--start <job>', `any of ${TRIGGERED_JOBS.join(', ')}, with --input`)
    .option('--input <json>', "the job's input, for --start")
    .addHelpText('after', EXAMPLES)
    .action((name: string, options: AddOptions) => add(session, name, options));
  trigger
    .command('list')
    .description('all triggers')
    .action(() => list(session));
  trigger
    .command('remove')
    .description('start nothing for it any more')
    .argument('<name>', 'of the trigger', triggerName)
    .action((name: string) => remove(session, name));
}

const EXAMPLES = `
Examples:
  holdfast trigger add before-release --topic deploys --type 'com.example.release.*' --where data.stage=begin --capture db
  holdfast trigger add nightly-load --topic etl --where status=finished --where job=load --replicate warehouse --receiver offsite`;
