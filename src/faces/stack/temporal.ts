/**
 * A Temporal server with Holdfast's namespace and search attributes, started from one binary.
 *
 * Ready means usable: the port accepts up to a second before the namespace and the search attributes exist, so both are asked
 * for. Settings that were measured (stack.md): without the first dynamic value a durable timer of 10 ms takes a second;
 * without the other the one shard of a dev server hands on 20 tasks a second, so that a job of eight activities, some 17
 * tasks, waits 40 ms for each as soon as another one ran just before. SQLite's default journal makes a file database three
 * times slower than memory. `durability: 'disposable'` also switches fsync off: a killed process loses nothing by it, a
 * power cut may. What Temporal holds can be rebuilt from the logs (`holdfast reconcile`).
 */
import { Connection, isGrpcServiceError } from '@temporalio/client';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import { noSecurity, withoutTemporalVariables, type TemporalAccess } from '../../ground/configuration/temporal-access.ts';
import { ensureTemporal } from './components.ts';
import type { FinderOptions } from './component.ts';
import { LOOPBACK, freePorts } from './ports.ts';
import { sessionFolder } from './session-folder.ts';
import { ServerProcess } from './server-process.ts';
import type { ServerLifetime } from './server-process.ts';

/** What Holdfast's workflows set; workers check at start that they are registered. */
export const SEARCH_ATTRIBUTES: SearchAttributes = { HoldfastVolume: 'Keyword', HoldfastStore: 'Keyword', HoldfastState: 'Keyword' };

export type SearchAttributes = Readonly<Record<string, 'Keyword' | 'KeywordList' | 'Text' | 'Int' | 'Double' | 'Bool' | 'Datetime'>>;

const READY_WITHIN_MS = 30_000;
const CONNECT_WITHIN_MS = 3_000;

export interface TemporalOptions {
  readonly namespace?: string;
  /** SQLite file; absent: in memory. Start again on the same file (and port) and everything goes on. */
  readonly dataFile?: string;
  readonly port?: number;
  /** Serve the UI: on this port, or on a free one. */
  readonly ui?: number | 'free';
  readonly logFile?: string;
  readonly searchAttributes?: SearchAttributes;
  readonly durability?: 'disposable' | 'durable';
  readonly lifetime?: ServerLifetime;
}

export interface RunningTemporal extends AsyncDisposable {
  readonly address: string;
  readonly uiUrl: string | null;
  readonly namespace: string;
  /** Null: somebody else's server, which stop() leaves alone. */
  readonly pid: number | null;
  stop(): Promise<void>;
  /** SIGKILL, as a fault test wants it. */
  kill(): Promise<void>;
}

/** Status of a gRPC call that failed, as far as the error or what it wraps has one. */
function statusOf(error: unknown): number | null {
  for (let at = error; at instanceof Error; at = at.cause) if (isGrpcServiceError(at)) return at.code;
  return null;
}
/** A server that does not let search attributes be listed, as some hosted ones, is believed to have them. */
const UNLISTED: readonly number[] = [7, 12];
/** UNAUTHENTICATED and PERMISSION_DENIED. */
const DENIED: readonly number[] = [16, 7];

/** Whether the namespace and all the search attributes are there; rejects when the server does not answer. */
export async function temporalIsReady(access: TemporalAccess, searchAttributes: SearchAttributes): Promise<boolean> {
  const { address, namespace, security } = access;
  const connection = await Connection.connect({ address, ...security(), connectTimeout: CONNECT_WITHIN_MS });
  try {
    await connection.workflowService.describeNamespace({ namespace });
    const known = await connection.operatorService.listSearchAttributes({ namespace }).catch((error: unknown) => {
      if (UNLISTED.includes(statusOf(error) ?? -1)) return null;
      throw error;
    });
    return known === null || Object.keys(searchAttributes).every((name) => name in known.customAttributes);
  } finally {
    await connection.close();
  }
}

const pragmas = (durability: 'disposable' | 'durable'): readonly string[] => [
  'journal_mode=wal',
  ...(durability === 'disposable' ? ['synchronous=off'] : []),
];

interface Settled {
  readonly namespace: string;
  readonly port: number;
  readonly uiPort: number | null;
  readonly searchAttributes: SearchAttributes;
  readonly durability: 'disposable' | 'durable';
  readonly dataFile: string | undefined;
}

const flags = ({ namespace, port, uiPort, searchAttributes, durability, dataFile }: Settled): readonly string[] =>
  [
    ['server', 'start-dev', '--log-level', 'error'],
    ['--ip', LOOPBACK, '--port', String(port), '--namespace', namespace],
    uiPort === null ? ['--headless'] : ['--ui-port', String(uiPort)],
    dataFile === undefined ? [] : ['--db-filename', dataFile, ...pragmas(durability).flatMap((pragma) => ['--sqlite-pragma', pragma])],
    Object.entries(searchAttributes).flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]),
    ['--dynamic-config-value', 'history.timerProcessorMaxTimeShift="10ms"'],
    ['--dynamic-config-value', 'history.transferProcessorMaxPollRPS=1000'],
  ].flat();

/** Starts a server of our own, whatever the environment says about others. */
export async function startTemporal(options: TemporalOptions, finder: FinderOptions): Promise<RunningTemporal> {
  const binary = await ensureTemporal(finder);
  const { dataFile, ui, durability = 'disposable', lifetime = 'session' } = options;
  const namespace = options.namespace ?? finder.environment.temporal.namespace;
  const searchAttributes = options.searchAttributes ?? SEARCH_ATTRIBUTES;
  const [freePort, freeUiPort] = await freePorts([0, 0]);
  const port = options.port ?? freePort;
  const uiPort = ui === undefined ? null : ui === 'free' ? freeUiPort : ui;
  const folder = await sessionFolder('temporal', options.logFile);
  const address = `${LOOPBACK}:${port}`;
  const server = await ServerProcess.start({
    name: 'temporal',
    command: binary.path,
    args: flags({ namespace, port, uiPort, searchAttributes, durability, dataFile }),
    env: withoutTemporalVariables(process.env),
    logFile: folder.logFile,
    lifetime,
    isReady: () => temporalIsReady({ address, namespace, security: noSecurity }, searchAttributes),
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
  return {
    address,
    uiUrl: uiPort === null ? null : `http://${LOOPBACK}:${uiPort}`,
    namespace,
    pid: server.pid,
    stop,
    kill,
    [Symbol.asyncDispose]: stop,
  };
}

/** The server that the environment names, checked for what Holdfast needs; null when it names none. */
export async function externalTemporal({ environment }: Pick<FinderOptions, 'environment'>): Promise<RunningTemporal | null> {
  const { address, namespace, security } = environment.temporal;
  if (address === undefined) return null;
  const ready = await temporalIsReady({ address, namespace, security }, SEARCH_ATTRIBUTES).catch((error: unknown) => {
    if (error instanceof HoldfastError) throw error;
    const reason = messageOf(error);
    const code = DENIED.includes(statusOf(error) ?? -1) ? 'TEMPORAL_DENIED' : 'TEMPORAL_UNREACHABLE';
    throw new HoldfastError(code, `${address}, namespace ${namespace}: ${reason}`, { address, namespace }, error);
  });
  if (!ready) {
    const missing = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `--name ${name} --type ${type}`);
    const command = `temporal operator search-attribute create --address ${address} --namespace ${namespace} ${missing.join(' ')}`;
    throw new HoldfastError('CONFIG_INVALID', `the Temporal server lacks search attributes; run: ${command}`, { address, namespace });
  }
  const leave = async (): Promise<void> => {};
  return { address, uiUrl: null, namespace, pid: null, stop: leave, kill: leave, [Symbol.asyncDispose]: leave };
}

/** The server that the environment names, else one of our own. */
export const obtainTemporal = async (options: TemporalOptions, finder: FinderOptions): Promise<RunningTemporal> =>
  (await externalTemporal(finder)) ?? startTemporal(options, finder);
