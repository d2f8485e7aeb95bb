/**
 * A Kafka broker of one node (KRaft: broker and controller in one process), started from a folder of jars.
 *
 * Small on purpose: 256 MiB of heap, the serial collector and the first compiler tier make it ready in 3 to 7 s on two cores.
 * Topics are never created by accident. The folder keeps its cluster: start again on it and the topics are there.
 */
import { execFile } from 'node:child_process';
import { access, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '../../domain/errors.ts';
import { ensureKafka, KAFKA } from './components.ts';
import type { FinderOptions } from './component.ts';
import { findJava, JVM_SMALL } from './java.ts';
import { kafkaIsReady } from './kafka-probe.ts';
import { LOOPBACK, freePorts } from './ports.ts';
import { sessionFolder } from './session-folder.ts';
import { ServerProcess } from './server-process.ts';
import type { ServerLifetime } from './server-process.ts';

const READY_WITHIN_MS = 60_000;
const JVM_SERVER = ['-Xms256m', '-Xmx256m', ...JVM_SMALL] as const;
const JVM_TOOL = ['-Xmx128m', ...JVM_SMALL] as const;

/** A second way in, at `localhost`: TLS with certificates of both sides, and a name with its password (PLAIN, SCRAM). */
export interface SecureListener {
  /** PEM: the broker's key and certificate in one file, and the authority of its clients. */
  readonly keyFile: string;
  readonly clientAuthorityFile: string;
  /** Of letters and digits. */
  readonly username: string;
  readonly password: string;
}

export interface KafkaOptions {
  /** Settings and topics live here; made if it is not there. */
  readonly dir: string;
  readonly port?: number;
  readonly secure?: SecureListener;
  readonly logFile?: string;
  readonly durability?: 'disposable' | 'durable';
  readonly lifetime?: ServerLifetime;
}

export interface RunningKafka extends AsyncDisposable {
  readonly brokers: readonly string[];
  /** The way in that asks for credentials. */
  readonly secureBrokers: readonly string[];
  /** Null: somebody else's broker, which stop() leaves alone. */
  readonly pid: number | null;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const INTERNAL_TOPICS = ['offsets.topic', 'transaction.state.log', 'share.coordinator.state.topic'] as const;

const MECHANISMS = ['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;

const secureProperties = ({ keyFile, clientAuthorityFile, username, password }: SecureListener): Readonly<Record<string, string>> => {
  const login = (module: string, rest = ''): string => `org.apache.kafka.common.security.${module} required${rest};`;
  const scram = login('scram.ScramLoginModule');
  return {
    'sasl.enabled.mechanisms': ['PLAIN', ...MECHANISMS].join(),
    'listener.name.secure.plain.sasl.jaas.config': login('plain.PlainLoginModule', ` user_${username}="${password}"`),
    ...Object.fromEntries(MECHANISMS.map((name) => [`listener.name.secure.${name.toLowerCase()}.sasl.jaas.config`, scram])),
    'listener.name.secure.ssl.client.auth': 'required',
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': keyFile,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': clientAuthorityFile,
  };
};

interface Ports {
  readonly plain: number;
  readonly controller: number;
  readonly secure: number;
}

const properties = ({ dir, secure }: KafkaOptions, ports: Ports): string => {
  const ways = [`PLAINTEXT://${LOOPBACK}:${ports.plain}`, ...(secure === undefined ? [] : [`SECURE://localhost:${ports.secure}`])];
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.bootstrap.servers': `${LOOPBACK}:${ports.controller}`,
    listeners: [...ways, `CONTROLLER://${LOOPBACK}:${ports.controller}`].join(),
    'advertised.listeners': ways.join(),
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL',
    ...(secure === undefined ? {} : secureProperties(secure)),
    'log.dirs': path.join(dir, 'data'),
    'num.partitions': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.num.partitions': '4',
    ...Object.fromEntries(INTERNAL_TOPICS.map((topic) => [`${topic}.replication.factor`, '1'])),
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    // After kill -9 a broker may not return before its old session has lapsed: 9 s by default.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    'auto.create.topics.enable': 'false',
    'log.cleaner.dedupe.buffer.size': '4194304',
  })
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
};

async function format(java: string, classPath: string, settingsFile: string, secure: SecureListener | undefined): Promise<void> {
  const run = promisify(execFile);
  const tool = [...JVM_TOOL, '-cp', classPath, 'kafka.tools.StorageTool'];
  const { stdout } = await run(java, [...tool, 'random-uuid']);
  const users = secure === undefined ? [] : MECHANISMS.map((name) => `${name}=[name=${secure.username},password=${secure.password}]`);
  const added = users.flatMap((user) => ['--add-scram', user]);
  await run(java, [...tool, 'format', '--standalone', ...added, '-t', stdout.trim(), '-c', settingsFile]);
}

/** Starts a broker of our own, whatever the environment says about others. */
export async function startKafka(options: KafkaOptions, finder: FinderOptions): Promise<RunningKafka> {
  const java = await findJava(KAFKA, finder);
  const libs = await ensureKafka(finder);
  const { dir, secure, durability = 'disposable', lifetime = 'session' } = options;
  await mkdir(dir, { recursive: true });
  const classPath = path.join(libs.path, '*');
  const settingsFile = path.join(dir, 'server.properties');
  const [freePort, controller, securePort] = await freePorts([0, 0, 0]);
  const port = options.port ?? freePort;
  // It may hold a password.
  await writeFile(settingsFile, properties(options, { plain: port, controller, secure: securePort }), { mode: 0o600 });
  const isFormatted = await access(path.join(dir, 'data', 'meta.properties')).then(
    () => true,
    () => false,
  );
  if (!isFormatted) await format(java, classPath, settingsFile, secure);
  const broker = `${LOOPBACK}:${port}`;
  const folder = await sessionFolder('kafka', options.logFile);
  const server = await ServerProcess.start({
    name: 'kafka',
    command: java,
    args: [...JVM_SERVER, '-cp', classPath, 'kafka.Kafka', settingsFile],
    env: process.env,
    logFile: folder.logFile,
    lifetime,
    isReady: () => kafkaIsReady(broker),
    readyWithinMs: READY_WITHIN_MS,
    disposable: durability === 'disposable',
  });
  const stop = async (): Promise<void> => {
    await server.stop();
    await folder.remove();
  };
  const kill = async (): Promise<void> => {
    await server.kill();
    await folder.remove();
  };
  const secureBrokers = secure === undefined ? [] : [`localhost:${securePort}`];
  return { brokers: [broker], secureBrokers, pid: server.pid, stop, kill, [Symbol.asyncDispose]: stop };
}

/** The brokers that the environment names; null when it names none. */
export async function externalKafka({ environment }: Pick<FinderOptions, 'environment'>): Promise<RunningKafka | null> {
  const { brokers } = environment.kafka;
  if (brokers === undefined) return null;
  const answers = await Promise.all(brokers.map((broker) => kafkaIsReady(broker).catch(() => false)));
  if (!answers.includes(true)) {
    throw new HoldfastError('COMPONENT_UNAVAILABLE', `no broker answers at ${brokers.join(', ')} (HOLDFAST_KAFKA_BROKERS)`, { brokers });
  }
  const leave = async (): Promise<void> => {};
  return { brokers, secureBrokers: [], pid: null, stop: leave, kill: leave, [Symbol.asyncDispose]: leave };
}

/** The brokers that the environment names, else one of our own. */
export const obtainKafka = async (options: KafkaOptions, finder: FinderOptions): Promise<RunningKafka> =>
  (await externalKafka(finder)) ?? startKafka(options, finder);
