/** `holdfast events`: where every record of every log goes as an event, how far that is, and what comes out there. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import type { EventsRecord } from '../../../engine/catalog/events.ts';
import type { EventsStatus, LogLag } from '../../../systems/events/status.ts';
import { addKafkaOptions, clusterOf, type KafkaOptions } from '../kafka-options.ts';
import { formatDuration } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderFields, renderTable } from '../table.ts';
import { INTERRUPTED_EXIT } from '../watch-job.ts';

interface ConfigureOptions extends KafkaOptions {
  readonly topic: string;
  readonly partitions: number;
  readonly fromBeginning?: boolean;
}

const TOPIC_DEFAULT = 'holdfast.events';
const PARTITIONS_DEFAULT = 3;

const countOf =
  (field: string) =>
  (text: string): number => {
    const count = Number(text);
    if (!Number.isSafeInteger(count) || count < 1)
      throw new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 20))} is no number of things`, {
        field,
        expected: 'a whole number from 1 on',
      });
    return count;
  };

/** A record of what is given; what does not fit is refused by the catalog's schema, with the field's name. */
async function recordOf(options: ConfigureOptions, before: EventsRecord | null): Promise<EventsRecord> {
  const { topic, partitions, fromBeginning } = options;
  const [{ eventsRecord }, { parseInput }] = await Promise.all([
    import('../../../engine/catalog/events.ts'),
    import('../../../domain/job-inputs.ts'),
  ]);
  const anew = before === null || before.topic !== topic || fromBeginning === true;
  return parseInput(eventsRecord, 'events configure', {
    cluster: clusterOf(options),
    ...{ topic, partitions, generation: (before?.generation ?? 0) + (anew ? 1 : 0) },
  });
}

async function configure(session: Session, options: ConfigureOptions): Promise<void> {
  const { catalog } = await session.home();
  const before = (await catalog.sync()).events;
  const events = await recordOf(options, before);
  // A secret or a certificate that is not there is told now, and not by a worker that waits.
  const { createKafka } = await import('../../../ground/kafka/kafka-cluster.ts');
  await createKafka(events.cluster, { clientId: 'holdfast', variables: session.variables });
  await catalog.append(() => ({ kind: 'EVENTS_SET', events }));
  session.print({ events }, () => `every record of every log goes to ${events.topic} at ${events.cluster.brokers.join(', ')}\n`);
  if (events.cluster.sasl?.password.startsWith('env:') === true)
    session.say(
      `workers that were started without ${events.cluster.sasl.password.slice(4)} in their environment have to be started again with it`,
    );
}

async function off(session: Session): Promise<void> {
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'EVENTS_REMOVE' }));
  session.print({ events: null }, () => 'no events are sent any more, and no triggers are served; what was sent stays\n');
}

const lagText = ({ lagRecords, lagMs, error }: LogLag): string => {
  if (error !== null) return `not known: ${error}`;
  return lagRecords === 0 ? 'nothing' : `${lagRecords} records, ${formatDuration(lagMs)}`;
};

function statusText({ events, holder, logs, passed }: EventsStatus): string {
  if (events === null) return 'no events are sent; `holdfast events configure --brokers HOST:PORT` begins that\n';
  const fields = renderFields([
    ['topic', events.topic],
    ['brokers', events.cluster.brokers.join(', ')],
    ['relayed by', holder ?? 'nobody: no controller runs'],
  ]);
  const lags = renderTable(
    [
      { title: 'LOG', cell: ({ log }) => log },
      { title: 'SENT', align: 'right', cell: ({ sent }) => String(sent) },
      { title: 'BEHIND', cell: lagText },
    ],
    logs,
    'no logs',
  );
  if (passed.length === 0) return `${fields}\n${lags}`;
  const bad = renderTable(
    [
      { title: 'PASSED OVER', cell: ({ atMs }) => new Date(atMs).toISOString() },
      { title: 'RECORD', cell: ({ topic, partition, offset }) => `${topic}/${partition}/${offset}` },
      { title: 'REASON', cell: ({ reason }) => reason },
    ],
    passed.slice(-10),
    '',
  );
  return `${fields}\n${lags}\n${bad}`;
}

async function status(session: Session): Promise<void> {
  const { eventsStatus } = await import('../../../systems/events/status.ts');
  const found = await eventsStatus(await session.home());
  session.print(found, () => statusText(found));
}

interface TailOptions {
  readonly topic?: string;
  readonly fromBeginning?: boolean;
  readonly limit?: number;
}

/** One line an event: when, what, of what; with --json the event as it stands there. */
function lineOf(value: Buffer | null, json: boolean): string {
  const text = value?.toString() ?? '';
  if (json) return text;
  try {
    const { time, type, subject, id } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return [time, type, subject, id].map((part) => (typeof part === 'string' ? part : '-')).join('  ');
  } catch {
    return `no event: ${JSON.stringify(text.slice(0, 60))}`;
  }
}

async function tail(session: Session, { topic, fromBeginning = false, limit = Infinity }: TailOptions): Promise<void> {
  const [{ requireEvents }, { tailTopic }] = await Promise.all([
    import('../../../engine/catalog/events.ts'),
    import('../../../systems/events/tail.ts'),
  ]);
  const events = requireEvents(await (await session.home()).catalog.sync());
  const leaving = new AbortController();
  const ignore = session.terminal.onInterrupt(() => {
    session.fail(INTERRUPTED_EXIT);
    leaving.abort();
  });
  let shown = 0;
  try {
    await tailTopic(
      {
        ...{ cluster: events.cluster, topic: topic ?? events.topic, fromBeginning },
        client: { clientId: 'holdfast-tail', variables: session.variables },
        onBegun: () => session.say(`${topic ?? events.topic} from ${fromBeginning ? 'its beginning' : 'now'} on; Ctrl-C leaves`),
        onValue(value) {
          session.terminal.out(`${lineOf(value, session.settings.json)}\n`);
          shown += 1;
          return shown >= limit;
        },
      },
      leaving.signal,
    );
  } finally {
    ignore();
  }
}

async function schemas(session: Session): Promise<void> {
  const { eventSchemaDocument } = await import('../../../engine/events/schemas.ts');
  session.terminal.out(`${JSON.stringify(eventSchemaDocument(), null, session.settings.json ? 0 : 2)}\n`);
}

export function addEventsCommands(program: Command, session: Session): void {
  const events = program.command('events').description('every record of every log as an event on Kafka').helpGroup('Every day:');
  addKafkaOptions(
    events.command('configure').description('say where events go, and where those of triggers come from; a controller does the rest'),
  )
    .option('--topic <name>', 'the topic, made where it is not there', TOPIC_DEFAULT)
    .option('--partitions <n>', 'of a topic that has to be made', countOf('--partitions'), PARTITIONS_DEFAULT)
    .option('--from-beginning', 'send all records again, for a topic that was emptied or moved')
    .addHelpText('after', EXAMPLES)
    .action((options: ConfigureOptions) => configure(session, options));
  events
    .command('status')
    .description('how far each log is behind, who relays, and which events of others could not be used')
    .action(() => status(session));
  events
    .command('tail')
    .description('show events as they come; with --json one document a line')
    .option('--from-beginning', 'all that the topic has')
    .option('--topic <name>', 'another topic of the same brokers')
    .option('-n, --limit <n>', 'leave after so many', countOf('--limit'))
    .action((options: TailOptions) => tail(session, options));
  events
    .command('schemas')
    .description('print what is in each type of event, as JSON Schema')
    .action(() => schemas(session));
  events
    .command('off')
    .description('send none any more')
    .action(() => off(session));
}

const EXAMPLES = `
Examples:
  holdfast events configure --brokers kafka1:9092,kafka2:9092
  holdfast events configure --brokers kafka:9093 --ca /etc/holdfast/kafka-ca.pem --sasl scram-sha-512 --username holdfast --password file:/etc/holdfast/kafka
  holdfast events tail --from-beginning --json | jq -r .type`;
