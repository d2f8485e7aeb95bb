/**
 * `holdfast up`, `down` and `status`: servers that stay when the command has ended.
 *
 * One stack a home ($HOLDFAST_HOME/stack), changed under one lock, so that two `up` at once start one. A component whose
 * address is in the environment belongs to somebody else: it is shown, and never started or stopped. What is stopped is a
 * process that the note identifies beyond its pid (process-identity.ts). Addresses stay the same from `up` to `up`, as long as
 * nobody took the port meanwhile; at first the usual ones are tried (7233 and 8233, 9000, 9092).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../domain/errors.ts';
import { noSecurity } from '../../ground/configuration/temporal-access.ts';
import type { FinderOptions } from './component.ts';
import { externalKafka, startKafka } from './kafka.ts';
import { kafkaIsReady } from './kafka-probe.ts';
import { LOOPBACK, freePorts } from './ports.ts';
import { endProcess, identify, isAlive } from './process-identity.ts';
import { withProcessLock } from '../../ground/processes/process-lock.ts';
import { externalS3, s3IsReady, startS3 } from './s3.ts';
import { readRecord, STACK_COMPONENTS, standingCredentials, standingPaths, writeRecord } from './standing-record.ts';
import type { StackComponent, StandingRecord } from './standing-record.ts';
import { externalTemporal, SEARCH_ATTRIBUTES, startTemporal, temporalIsReady } from './temporal.ts';

const STOP_GRACE_MS = 15_000;
const READY_WITHIN_MS = 30_000;
const READY_POLL_MS = 200;
const USUAL_PORTS = { temporal: 7233, s3: 9000, kafka: 9092 } as const satisfies Record<StackComponent, number>;
const USUAL_UI_PORT = 8233;

export interface StackOptions extends FinderOptions {
  /** Absent: `up` takes Temporal, which is all that the main job needs; `down` and `status` take all. */
  readonly components?: readonly StackComponent[];
}

export interface ComponentStatus {
  readonly component: StackComponent;
  /** `external`: named by the environment. `unready`: its process is there and does not answer (yet). */
  readonly state: 'running' | 'unready' | 'stopped' | 'external' | 'external-unreachable';
  /** host:port, or the URL of the S3 server; null when there was never one. */
  readonly address: string | null;
  readonly uiUrl: string | null;
  readonly namespace: string | null;
  readonly pid: number | null;
  readonly logFile: string | null;
  readonly dataPath: string | null;
  /** A file for AWS_SHARED_CREDENTIALS_FILE. */
  readonly credentialsFile: string | null;
}

const addressOf = ({ component, port }: StandingRecord): string =>
  component === 's3' ? `http://${LOOPBACK}:${port}` : `${LOOPBACK}:${port}`;

function isReady(record: StandingRecord): Promise<boolean> {
  const address = addressOf(record);
  switch (record.component) {
    case 'temporal':
      return temporalIsReady({ address, namespace: record.namespace ?? '', security: noSecurity }, SEARCH_ATTRIBUTES);
    case 's3':
      return s3IsReady(address);
    case 'kafka':
      return kafkaIsReady(address);
  }
}

/** The component's address when the environment names one; rejects when that does not answer. */
async function externalAddress(component: StackComponent, options: FinderOptions): Promise<string | null> {
  switch (component) {
    case 'temporal':
      return (await externalTemporal(options))?.address ?? null;
    case 's3':
      return (await externalS3([], options))?.endpoint ?? null;
    case 'kafka':
      return (await externalKafka(options))?.brokers.join(',') ?? null;
  }
}

function namedAddress(component: StackComponent, { environment }: FinderOptions): string | null {
  const named = { temporal: environment.temporal.address, s3: environment.s3.endpoint, kafka: environment.kafka.brokers?.join(',') };
  return named[component] ?? null;
}

const NOT_OURS = { uiUrl: null, pid: null, logFile: null, dataPath: null, credentialsFile: null } as const;

async function externalStatus(component: StackComponent, address: string, options: FinderOptions): Promise<ComponentStatus> {
  const state = await externalAddress(component, options).then(
    () => 'external' as const,
    () => 'external-unreachable' as const,
  );
  const namespace = component === 'temporal' ? options.environment.temporal.namespace : null;
  return { ...NOT_OURS, component, state, address, namespace };
}

async function statusOf(component: StackComponent, options: FinderOptions): Promise<ComponentStatus> {
  const named = namedAddress(component, options);
  if (named !== null) return externalStatus(component, named, options);
  const record = await readRecord(component, options.environment);
  const paths = standingPaths(component, options.environment);
  if (record === null) return { ...NOT_OURS, component, state: 'stopped', address: null, namespace: null };
  const alive = record.process !== null && (await isAlive(record.process));
  const ready = alive && (await isReady(record).catch(() => false));
  return {
    component,
    state: ready ? 'running' : alive ? 'unready' : 'stopped',
    address: addressOf(record),
    uiUrl: record.uiPort === null ? null : `http://${LOOPBACK}:${record.uiPort}`,
    namespace: record.namespace,
    pid: alive ? (record.process?.pid ?? null) : null,
    logFile: paths.log,
    dataPath: paths.data,
    credentialsFile: component === 's3' ? paths.credentials : null,
  };
}

/** Free ports, those of last time if they are free. */
async function choosePorts(component: StackComponent, options: FinderOptions): Promise<StandingRecord> {
  const before = await readRecord(component, options.environment);
  const wish = before?.port ?? USUAL_PORTS[component];
  const [port, uiPort] = await freePorts([wish, component === 'temporal' ? (before?.uiPort ?? USUAL_UI_PORT) : 0]);
  const ofTemporal = { uiPort, namespace: before?.namespace ?? options.environment.temporal.namespace };
  return { format: 1, component, process: null, port, ...(component === 'temporal' ? ofTemporal : { uiPort: null, namespace: null }) };
}

async function startStanding(component: StackComponent, options: FinderOptions): Promise<void> {
  const { environment } = options;
  const paths = standingPaths(component, environment);
  const record = await choosePorts(component, options);
  const recordPid = async (pid: number): Promise<void> => writeRecord({ ...record, process: await identify(pid) }, environment);
  const common = { port: record.port, logFile: paths.log, durability: 'durable', lifetime: { recordPid } } as const;
  switch (component) {
    case 'temporal':
      await startTemporal(
        { ...common, dataFile: paths.data, ui: record.uiPort ?? 'free', namespace: record.namespace ?? environment.temporal.namespace },
        options,
      );
      return;
    case 's3':
      await startS3({ ...common, dir: paths.data, credentials: await standingCredentials(environment) }, options);
      return;
    case 'kafka':
      await startKafka({ ...common, dir: paths.data }, options);
      return;
  }
}

const locked = <T>(options: FinderOptions, work: () => Promise<T>): Promise<T> =>
  withProcessLock(
    standingPaths('temporal', options.environment).lock,
    () => options.progress('another `holdfast up` or `down` is at work; waiting'),
    work,
  );

/** A server that an interrupted `up` left while it started may only need a moment. */
async function awaitReady(component: StackComponent, options: FinderOptions): Promise<void> {
  const deadlineMs = performance.now() + READY_WITHIN_MS;
  for (;;) {
    const { state, pid, logFile } = await statusOf(component, options);
    if (state !== 'unready') return;
    if (performance.now() > deadlineMs) {
      const message = `${component} (pid ${pid}) runs and does not answer; see ${logFile}, or \`holdfast down\` and start again`;
      throw new HoldfastError('COMPONENT_UNAVAILABLE', message, { component });
    }
    await sleep(READY_POLL_MS);
  }
}

/** Starts what does not run, and says where everything is. */
export async function stackUp(options: StackOptions): Promise<readonly ComponentStatus[]> {
  const components = options.components ?? ['temporal'];
  return locked(options, async () => {
    for (const component of components) {
      if ((await externalAddress(component, options)) !== null) continue;
      await awaitReady(component, options);
      if ((await statusOf(component, options)).state === 'stopped') await startStanding(component, options);
    }
    return Promise.all(components.map((component) => statusOf(component, options)));
  });
}

/** Stops what `up` started; data and addresses stay. Says what was stopped. */
export async function stackDown(options: StackOptions): Promise<readonly StackComponent[]> {
  const components = options.components ?? STACK_COMPONENTS;
  return locked(options, async () => {
    const stopped: StackComponent[] = [];
    for (const component of components) {
      const record = await readRecord(component, options.environment);
      if (record === null || record.process === null) continue;
      if (await endProcess(record.process, STOP_GRACE_MS)) stopped.push(component);
      await writeRecord({ ...record, process: null }, options.environment);
    }
    return stopped;
  });
}

export const stackStatus = async (options: StackOptions): Promise<readonly ComponentStatus[]> =>
  Promise.all((options.components ?? STACK_COMPONENTS).map((component) => statusOf(component, options)));
