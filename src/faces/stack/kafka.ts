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

export interface KafkaOptions {
  /** Settings and topics live here; made if it is not there. */
  readonly dir: string;
  readonly port?: number;
  readonly logFile?: string;
  readonly durability?: 'disposable' | 'durable';
  readonly lifetime?: ServerLifetime;
}

export interface RunningKafka extends AsyncDisposable {
  readonly brokers: readonly string[];
  /** Null: somebody else's broker, which stop() leaves alone. */
  readonly pid: number | null;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const INTERNAL_TOPICS = ['offsets.topic', 'transaction.state.log', 'share.coordinator.state.topic'] as const;

const properties = (dir: string, port: number, controllerPort: number): string =>
  Object.entries({
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.bootstrap.servers': `${LOOPBACK}:${controllerPort}`,
    listeners: `PLAINTEXT://${LOOPBACK}:${port},CONTROLLER://${LOOPBACK}:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://${LOOPBACK}:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
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

async function format(java: string, classPath: string, settingsFile: string): Promise<void> {
  const run = promisify(execFile);
  const tool = [...JVM_TOOL, '-cp', classPath, 'kafka.tools.StorageTool'];
  const { stdout } = await run(java, [...tool, 'random-uuid']);
  await run(java, [...tool, 'format', '--standalone', '-t', stdout.trim(), '-c', settingsFile]);
}

/** Starts a broker of our own, whatever the environment says about others. */
export async function startKafka(options: KafkaOptions, finder: FinderOptions): Promise<RunningKafka> {
  const java = await findJava(KAFKA, finder);
  const libs = await ensureKafka(finder);
  const { dir, durability = 'disposable', lifetime = 'session' } = options;
  await mkdir(dir, { recursive: true });
  const classPath = path.join(libs.path, '*');
  const settingsFile = path.join(dir, 'server.properties');
  const [freePort, controllerPort] = await freePorts([0, 0]);
  const port = options.port ?? freePort;
  await writeFile(settingsFile, properties(dir, port, controllerPort));
  const isFormatted = await access(path.join(dir, 'data', 'meta.properties')).then(
    () => true,
    () => false,
  );
  if (!isFormatted) await format(java, classPath, settingsFile);
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
  return { brokers: [broker], pid: server.pid, stop, kill, [Symbol.asyncDispose]: stop };
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
  return { brokers, pid: null, stop: leave, kill: leave, [Symbol.asyncDispose]: leave };
}

/** The brokers that the environment names, else one of our own. */
export const obtainKafka = async (options: KafkaOptions, finder: FinderOptions): Promise<RunningKafka> =>
  (await externalKafka(finder)) ?? startKafka(options, finder);
