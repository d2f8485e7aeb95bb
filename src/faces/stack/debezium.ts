/**
 * Debezium's connector for PostgreSQL in a Kafka Connect of one process (`standalone`): from a database's log to Kafka's topics.
 *
 * Where it stands is in a file of its folder, so the same folder started again goes on there, after sending again what it had sent
 * since it last wrote that down: what a crash of a connector does to everybody who reads its topics. Topics are made by the caller, who knows
 * how many partitions they are to have, or by Connect with one. Settings hold the database's password, so their file is the owner's alone.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureDebezium, DEBEZIUM } from './components.ts';
import type { FinderOptions } from './component.ts';
import { findJava, JVM_SMALL } from './java.ts';
import { LOOPBACK, freePorts } from './ports.ts';
import type { PostgresAddress } from './postgres.ts';
import { ServerProcess } from './server-process.ts';

const READY_WITHIN_MS = 90_000;
const JVM_CONNECT = ['-Xms128m', '-Xmx384m', ...JVM_SMALL, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'] as const;
const CONNECTOR = 'tables';

export interface DebeziumOptions {
  /** Settings and the connector's own position live here; made if it is not there. */
  readonly dir: string;
  readonly brokers: readonly string[];
  readonly postgres: PostgresAddress;
  /** First part of the topics' names: `<prefix>.<schema>.<table>`. */
  readonly prefix: string;
  /** `<schema>.<table>`, ... */
  readonly tables: readonly string[];
  /** Whether records carry their schemas. */
  readonly withSchemas: boolean;
  /** How often it writes down where it stands; what came since is sent again after a crash. */
  readonly positionEveryMs?: number;
  /** Settings of the connector beside those and above them. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface RunningDebezium extends AsyncDisposable {
  readonly pid: number;
  /** Where its log is. */
  readonly logFile: string;
  /** What it writes at times to know where to go on. */
  readonly positionFile: string;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** The format of Java's property files, in which a backslash escapes. */
const properties = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([key, value]) => `${key}=${value.replaceAll('\\', '\\\\')}\n`)
    .join('');

const positionIn = (dir: string): string => path.join(dir, 'position');

const workerSettings = ({ dir, brokers, withSchemas, positionEveryMs = 1000 }: DebeziumOptions, port: number): string =>
  properties({
    'bootstrap.servers': brokers.join(','),
    listeners: `http://${LOOPBACK}:${port}`,
    'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'key.converter.schemas.enable': String(withSchemas),
    'value.converter.schemas.enable': String(withSchemas),
    'offset.storage.file.filename': positionIn(dir),
    'offset.flush.interval.ms': String(positionEveryMs),
    'plugin.discovery': 'service_load',
  });

const connectorSettings = ({ postgres, prefix, tables, settings }: DebeziumOptions): string =>
  properties({
    name: CONNECTOR,
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': postgres.host,
    'database.port': String(postgres.port),
    'database.user': postgres.user,
    'database.password': postgres.password,
    'database.dbname': postgres.database,
    'plugin.name': 'pgoutput',
    'slot.name': CONNECTOR,
    'publication.autocreate.mode': 'filtered',
    'topic.prefix': prefix,
    'table.include.list': tables.join(','),
    'skipped.operations': 'none',
    'decimal.handling.mode': 'string',
    'provide.transaction.metadata': 'true',
    'heartbeat.interval.ms': '500',
    'poll.interval.ms': '20',
    'topic.creation.default.replication.factor': '1',
    'topic.creation.default.partitions': '1',
    ...settings,
  });

/** True once the connector's one task runs, as Connect says over HTTP. */
async function taskRuns(port: number): Promise<boolean> {
  const response = await fetch(`http://${LOOPBACK}:${port}/connectors/${CONNECTOR}/tasks/0/status`, { signal: AbortSignal.timeout(2000) });
  const status: unknown = await response.json();
  return response.ok && typeof status === 'object' && status !== null && 'state' in status && status.state === 'RUNNING';
}

/** Starts it and waits until its task runs, which is before it has read all that was there. */
export async function startDebezium(options: DebeziumOptions, finder: FinderOptions): Promise<RunningDebezium> {
  const java = await findJava(DEBEZIUM, finder);
  const libs = await ensureDebezium(finder);
  const { dir } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const [port] = await freePorts([0]);
  const [worker, connector] = [path.join(dir, 'worker.properties'), path.join(dir, 'connector.properties')];
  await writeFile(worker, workerSettings(options, port), { mode: 0o600 });
  await writeFile(connector, connectorSettings(options), { mode: 0o600 });
  const logFile = path.join(dir, 'connect.log');
  const classPath = path.join(libs.path, '*');
  const server = await ServerProcess.start({
    ...{ name: 'debezium', command: java, env: process.env, logFile, lifetime: 'session', disposable: false },
    args: [...JVM_CONNECT, '-cp', classPath, 'org.apache.kafka.connect.cli.ConnectStandalone', worker, connector],
    isReady: () => taskRuns(port),
    readyWithinMs: READY_WITHIN_MS,
  });
  const stop = (): Promise<void> => server.stop();
  const files = { logFile, positionFile: positionIn(dir) };
  return { pid: server.pid, ...files, stop, kill: () => server.kill(), [Symbol.asyncDispose]: stop };
}
