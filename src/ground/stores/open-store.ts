/**
 * Opens the store at an address, wrapped as every worker uses it.
 *
 *     retry ( limits ( measure ( store )))
 *
 * In this order: a wait between attempts holds no slot, each attempt is bounded like a first one, and what is measured is
 * what really went to the store. Credentials come by reference: the names of environment variables, looked up in an
 * environment that is passed in, when the store is opened.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { resolvePassphrase } from '../sealing/passphrase.ts';
import { createFileStore } from './file-store.ts';
import { withLimits, type LimitOptions } from './limited.ts';
import { createStoreMeter, type StoreMetrics, type StoreTotals } from './measured.ts';
import type { ObjectStore } from './object-store.ts';
import { readReplicaCertificates } from './replica-certificates.ts';
import { createReplicaStore } from './replica-store.ts';
import { withRetry, type RetryOptions } from './retrying.ts';
import type { S3Credentials } from './s3-client.ts';
import { judgeLifecycle, type LifecycleFinding } from './s3-lifecycle.ts';
import { createS3Store } from './s3-store.ts';
import { parseStoreAddress, REGION_DEFAULT, type ReplicaAddress } from './store-address.ts';
import { within } from './within.ts';

/** Names of environment variables, never what is in them. */
export interface CredentialReference {
  readonly accessKeyIdEnv: string;
  readonly secretAccessKeyEnv: string;
  readonly sessionTokenEnv?: string;
}

export interface OpenStoreOptions {
  /** The label in metrics; by default the address. */
  readonly name?: string;
  /** Absent: what the SDK finds by itself (AWS_ACCESS_KEY_ID and so on, a profile, the machine's role). */
  readonly credentials?: CredentialReference;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Where the address does not say. */
  readonly endpoint?: string;
  readonly region?: string;
  readonly retention?: 'GOVERNANCE' | 'COMPLIANCE';
  /** Makes a folder a store; only when one is added. */
  readonly create?: boolean;
  readonly durability?: 'sync' | 'os';
  readonly retry?: Partial<RetryOptions>;
  readonly limits?: LimitOptions;
  readonly metrics?: StoreMetrics;
}

export interface OpenedStore extends ObjectStore, AsyncDisposable {
  totals(): StoreTotals;
  /** What the store's own rules would do to its objects; see admission. */
  lifecycle(): Promise<LifecycleFinding | 'denied'>;
}

interface BareStore extends AsyncDisposable {
  readonly store: ObjectStore;
  lifecycle(): Promise<LifecycleFinding | 'denied'>;
}

/** Calls in flight where nobody says: what S3 clients usually keep in sockets, and plenty for a disk. */
const CONCURRENCY_DEFAULT = 32;

export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const limits = { concurrency: CONCURRENCY_DEFAULT, ...options.limits };
  const bare = await openBare(url, options, limits.concurrency);
  const meter = createStoreMeter({ name: options.name ?? bare.store.describe().url, metrics: options.metrics });
  const { onRetry, ...retry } = options.retry ?? {};
  const store = withRetry(withLimits(meter.measure(bare.store), limits), {
    ...retry,
    onRetry: (error) => {
      meter.retried();
      onRetry?.(error);
    },
  });
  return {
    ...store,
    totals: () => meter.totals(),
    lifecycle: () => bare.lifecycle(),
    [Symbol.asyncDispose]: () => bare[Symbol.asyncDispose](),
  };
}

async function openBare(url: string, options: OpenStoreOptions, socketsMax: number): Promise<BareStore> {
  const address = parseStoreAddress(url);
  if (address.kind === 'file') {
    const { create = false, durability = 'sync' } = options;
    return {
      store: createFileStore({ root: address.root, create, durability }),
      lifecycle: () => Promise.resolve({ refused: [], warnings: [] }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  if (address.kind === 'replica') return await openReplica(url, address, options, socketsMax);
  const endpoint = address.endpoint ?? options.endpoint;
  const credentials = options.credentials && readCredentials(options.credentials, options.environment ?? process.env);
  const store = await createS3Store({
    bucket: address.bucket,
    prefix: address.prefix,
    region: address.region ?? options.region ?? REGION_DEFAULT,
    socketsMax,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(address.style === undefined ? {} : { forcePathStyle: address.style === 'path' }),
    ...(address.checksums === undefined ? {} : { checksums: address.checksums }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(options.retention === undefined ? {} : { retention: options.retention }),
  });
  return {
    store,
    lifecycle: async () => {
      const rules = await store.lifecycleRules();
      return rules === 'denied' ? rules : judgeLifecycle(rules, store.keyPrefix);
    },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** The lifecycle of what lies behind it was judged when the replica was given its store; it deletes nothing by itself. */
async function openReplica(
  address: string,
  place: ReplicaAddress,
  { environment }: OpenStoreOptions,
  socketsMax: number,
): Promise<BareStore> {
  const { url, prefix, token: reference, certificates } = place;
  const token = reference === null ? null : await resolvePassphrase(reference, environment ?? process.env);
  const tls = certificates === null ? null : await readReplicaCertificates(certificates);
  const store = createReplicaStore({ address, url: new URL(url), token, tls, socketsMax });
  return {
    store: prefix === '' ? store : within(store, `${prefix}/`),
    lifecycle: () => Promise.resolve({ refused: [], warnings: [] }),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

function readCredentials(reference: CredentialReference, environment: Readonly<Record<string, string | undefined>>): S3Credentials {
  const read = (variable: string): string => {
    const value = environment[variable];
    if (value !== undefined && value !== '') return value;
    throw new HoldfastError('CONFIG_INVALID', `the environment variable ${variable}, which the store's credentials refer to, is not set`, {
      field: variable,
    });
  };
  return {
    accessKeyId: read(reference.accessKeyIdEnv),
    secretAccessKey: read(reference.secretAccessKeyEnv),
    ...(reference.sessionTokenEnv === undefined ? {} : { sessionToken: read(reference.sessionTokenEnv) }),
  };
}
