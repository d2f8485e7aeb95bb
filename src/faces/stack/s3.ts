/**
 * An S3 server (MinIO) on one plain folder.
 *
 * Its secret is made here, reaches it through its environment (never a command line) and is handed to the caller: a server that
 * is restarted on the same folder takes the credentials it had. Buckets that are asked for are there when it is ready.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { HoldfastError } from '../../domain/errors.ts';
import { ensureS3 } from './components.ts';
import type { FinderOptions } from './component.ts';
import { LOOPBACK, freePorts } from './ports.ts';
import { sessionFolder } from './session-folder.ts';
import { ServerProcess } from './server-process.ts';
import type { ServerLifetime } from './server-process.ts';

const READY_WITHIN_MS = 30_000;
const SECRET_BYTES = 20;

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3Options {
  /** Where the objects live; made if it is not there. */
  readonly dir: string;
  readonly port?: number;
  /** What the server was started with before on this folder; absent: new ones. */
  readonly credentials?: S3Credentials;
  readonly buckets?: readonly string[];
  readonly logFile?: string;
  readonly durability?: 'disposable' | 'durable';
  readonly lifetime?: ServerLifetime;
}

export interface RunningS3 extends AsyncDisposable, S3Credentials {
  readonly endpoint: string;
  readonly region: string;
  /** Null: somebody else's server, which stop() leaves alone. */
  readonly pid: number | null;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export async function s3IsReady(endpoint: string): Promise<boolean> {
  const response = await fetch(new URL('/minio/health/ready', endpoint), { signal: AbortSignal.timeout(2000) });
  await response.arrayBuffer();
  return response.ok;
}

/** Creates the buckets that are not there. */
async function ensureBuckets(server: { readonly endpoint: string; readonly region: string } & S3Credentials, buckets: readonly string[]) {
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  const client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true });
  try {
    for (const Bucket of buckets) {
      await client.send(new CreateBucketCommand({ Bucket })).catch((error: unknown) => {
        if (!(error instanceof Error && /^BucketAlready(OwnedByYou|Exists)$/.test(error.name))) throw error;
      });
    }
  } finally {
    client.destroy();
  }
}

/** Starts a server of our own, whatever the environment says about others. */
export async function startS3(options: S3Options, finder: FinderOptions): Promise<RunningS3> {
  const binary = await ensureS3(finder);
  await mkdir(options.dir, { recursive: true });
  const { region } = finder.environment.s3;
  const { durability = 'disposable', lifetime = 'session', buckets = [] } = options;
  const { accessKeyId, secretAccessKey } = options.credentials ?? {
    accessKeyId: 'holdfast',
    secretAccessKey: randomBytes(SECRET_BYTES).toString('hex'),
  };
  const [freePort, consolePort] = await freePorts([0, 0]);
  const port = options.port ?? freePort;
  const endpoint = `http://${LOOPBACK}:${port}`;
  const folder = await sessionFolder('s3', options.logFile);
  const server = await ServerProcess.start({
    name: 'minio',
    command: binary.path,
    args: ['server', options.dir, '--address', `${LOOPBACK}:${port}`, '--console-address', `${LOOPBACK}:${consolePort}`, '--quiet'],
    env: {
      ...process.env,
      MINIO_ROOT_USER: accessKeyId,
      MINIO_ROOT_PASSWORD: secretAccessKey,
      MINIO_REGION: region,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
    logFile: folder.logFile,
    lifetime,
    isReady: () => s3IsReady(endpoint),
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
  const running = {
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    pid: server.pid,
    stop,
    kill,
    [Symbol.asyncDispose]: stop,
  };
  try {
    await ensureBuckets(running, buckets);
  } catch (error) {
    await stop();
    throw error;
  }
  return running;
}

/** The server that the environment names, with the buckets asked for; null when it names none. */
export async function externalS3(
  buckets: readonly string[],
  { environment }: Pick<FinderOptions, 'environment'>,
): Promise<RunningS3 | null> {
  const { endpoint, region, accessKeyId, secretAccessKey } = environment.s3;
  if (endpoint === undefined) return null;
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const field = accessKeyId === undefined ? 'AWS_ACCESS_KEY_ID' : 'AWS_SECRET_ACCESS_KEY';
    throw new HoldfastError('CONFIG_INVALID', `HOLDFAST_S3_ENDPOINT is set and ${field} is not`, { field });
  }
  const leave = async (): Promise<void> => {};
  const server = { endpoint, region, accessKeyId, secretAccessKey, pid: null, stop: leave, kill: leave, [Symbol.asyncDispose]: leave };
  await ensureBuckets(server, buckets);
  return server;
}

/** The server that the environment names, else one of our own. */
export const obtainS3 = async (options: S3Options, finder: FinderOptions): Promise<RunningS3> =>
  (await externalS3(options.buckets ?? [], finder)) ?? startS3(options, finder);
