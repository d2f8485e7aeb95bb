/**
 * The connection of an S3 store: the SDK's client, set up so that the store above it decides.
 *
 * No retries and no checksums of its own (the store's come from zlib, over whole bodies; the SDK's go chunk by chunk through
 * another stream), keep-alive sockets for as many calls as the store may have in flight, and timeouts for silence rather than
 * for duration: a slow line is no failure. Bodies are not hashed for the signature, which would take as long as all the rest:
 * the CRC32 that is signed guards them on the way, and the seal within them guards them for good. `signBodies` is for
 * servers that insist.
 */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3Connection {
  /** Absent: Amazon's, for the region. */
  readonly endpoint?: string;
  readonly region: string;
  /** Absent: what the SDK finds (environment, profile, the machine's role). */
  readonly credentials?: S3Credentials;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`; by default where an endpoint is given. */
  readonly forcePathStyle?: boolean;
  /** The most connections, so the most calls in flight. */
  readonly socketsMax?: number;
  readonly connectTimeoutMs?: number;
  /** The longest silence on a connection that waits for something. */
  readonly idleTimeoutMs?: number;
  readonly signBodies?: boolean;
}

const SOCKETS_DEFAULT = 64;
const CONNECT_TIMEOUT_MS_DEFAULT = 10_000;
const IDLE_TIMEOUT_MS_DEFAULT = 30_000;

export type Checksums = 'when-supported' | 'when-required';

export async function connectS3(options: S3Connection, checksums: Checksums): Promise<{ client: S3Client; idleMs: number }> {
  const { S3Client } = await import('@aws-sdk/client-s3');
  const idleMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS_DEFAULT;
  const agent = { keepAlive: true, maxSockets: options.socketsMax ?? SOCKETS_DEFAULT };
  const config: S3ClientConfig = {
    region: options.region,
    maxAttempts: 1,
    // With it the SDK opens a connection of its own, outside the agent's bound, for each body from 2 MiB.
    expectContinueHeader: false,
    forcePathStyle: options.forcePathStyle ?? options.endpoint !== undefined,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS_DEFAULT,
      socketTimeout: idleMs,
      httpAgent: agent,
      httpsAgent: agent,
    },
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === undefined ? {} : { credentials: { ...options.credentials } }),
  };
  const client = new S3Client(config);
  if (checksums === 'when-supported') addHeader(client, 'GetObjectCommand', 'x-amz-checksum-mode', 'ENABLED');
  if (options.signBodies !== true) addHeader(client, 'PutObjectCommand', 'x-amz-content-sha256', 'UNSIGNED-PAYLOAD');
  return { client, idleMs };
}

/** A header for all calls of one kind, set before they are signed. */
function addHeader(client: S3Client, command: string, header: string, value: string): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      const { request } = args;
      const wanted = context.commandName === command && typeof request === 'object' && request !== null && 'headers' in request;
      if (wanted) Object.assign(request.headers ?? {}, { [header]: value });
      return next(args);
    },
    { step: 'build', name: `holdfast-${header}` },
  );
}
