/**
 * The address of a store as a person writes it.
 *
 *     file:///srv/backup
 *     s3://bucket/some/prefix?region=eu-central-1
 *     s3://bucket?endpoint=http://127.0.0.1:9000&style=path&checksums=when-required
 *     replica://127.0.0.1:9480
 *     replicas://replica.example:9480/some/prefix?token=env:REPLICA_TOKEN&certificates=/etc/holdfast/replica
 *
 * Addresses are stored, shown and logged, so a secret in one is refused before anything is done with it: a user or password
 * part, and any query parameter that is not listed here. Credentials are named elsewhere, by reference.
 */
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { isLoopback } from '../http/loopback.ts';
import { isObjectName } from './object-name.ts';

export const REGION_DEFAULT = 'us-east-1';

const replicaQuerySchema = z.strictObject({
  /** Not a command: an address is opened by whoever reads it in a catalog. */
  token: z
    .string()
    .regex(/^(env:[A-Za-z_][A-Za-z0-9_]{0,199}|file:\/.{1,1000})$/)
    .optional(),
  certificates: z
    .string()
    .regex(/^\/.{1,1000}$/)
    .optional(),
});

const bucketPattern = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

const querySchema = z.strictObject({
  endpoint: z.url({ protocol: /^https?$/ }).optional(),
  region: z
    .string()
    .regex(/^[a-z0-9-]+$/i)
    .optional(),
  style: z.enum(['path', 'virtual']).optional(),
  checksums: z.enum(['when-supported', 'when-required']).optional(),
});

export type StoreAddress =
  | { readonly kind: 'file'; readonly root: string }
  | ({ readonly kind: 's3'; readonly bucket: string; readonly prefix: string } & z.infer<typeof querySchema>)
  | ReplicaAddress;

export interface ReplicaAddress {
  readonly kind: 'replica';
  /** `https://HOST:PORT`, or `http://` to a loopback address. */
  readonly url: string;
  readonly prefix: string;
  /** `env:NAME` or `file:/path`; null: the replica wants none. */
  readonly token: string | null;
  /** A folder; null: the authorities that the system trusts. */
  readonly certificates: string | null;
}

const refused = (reason: string, expected: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `not the address of a store: ${reason}`, { field: 'url', expected });

const FORMS = 'file:///dir, s3://bucket/prefix?endpoint=...&region=..., or replicas://host:port';

export function parseStoreAddress(text: string): StoreAddress {
  const url = URL.parse(text);
  if (url === null) throw refused('it is no URL', FORMS);
  if (hasCredentials(url)) throw refused('it holds a user or a password', 'credentials by reference, never in the address');
  if (url.hash !== '') throw refused('it has a fragment', FORMS);
  switch (url.protocol) {
    case 'file:':
      return parseFile(url);
    case 's3:':
      return parseS3(url);
    case 'replica:':
    case 'replicas:':
      return parseReplica(url);
    default:
      throw refused(`nothing is known of ${url.protocol}//`, FORMS);
  }
}

const hasCredentials = (url: URL): boolean => url.username !== '' || url.password !== '';

function parseFile(url: URL): StoreAddress {
  if (url.host !== '' || url.search !== '') throw refused('a folder has neither a host nor parameters', 'file:///dir');
  const root = fileURLToPath(url);
  if (root === '/') throw refused('it is the root of the file system', 'a folder of its own');
  return { kind: 'file', root };
}

function parseS3(url: URL): StoreAddress {
  if (!bucketPattern.test(url.host)) throw refused('the name of the bucket is not one', 's3://bucket/prefix');
  const prefix = prefixOf(url, 's3://bucket/some/prefix');
  const query = queryOf(querySchema, url, 'endpoint, region, style=path|virtual, checksums=when-supported|when-required');
  const { endpoint } = query;
  if (endpoint !== undefined && hasCredentials(new URL(endpoint))) {
    throw refused('the endpoint holds a user or a password', 'credentials by reference, never in the address');
  }
  return { kind: 's3', bucket: url.host, prefix, ...query };
}

function parseReplica(url: URL): ReplicaAddress {
  const form = 'replicas://host:port, or replica:// of a loopback address';
  const isTls = url.protocol === 'replicas:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (host === '' || url.port === '') throw refused('it has no host, or no port', form);
  // The token and the bytes would be read on the way.
  if (!isTls && !isLoopback(host)) throw refused('others could read what is sent there', form);
  const { token = null, certificates = null } = queryOf(replicaQuerySchema, url, 'token=env:NAME or file:/path, certificates=/folder');
  if (certificates !== null && !isTls) throw refused('certificates are for TLS', 'replicas://host:port?certificates=/folder');
  const prefix = prefixOf(url, 'replicas://host:port/some/prefix');
  return { kind: 'replica', url: `${isTls ? 'https' : 'http'}://${url.host}`, prefix, token, certificates };
}

function prefixOf({ pathname }: URL, form: string): string {
  const prefix = pathname.replaceAll(/^\/+|\/+$/g, '');
  if (prefix !== '' && !isObjectName(prefix)) throw refused('the prefix is not one', form);
  return prefix;
}

function queryOf<T>(schema: z.ZodType<T>, url: URL, known: string): T {
  const query = schema.safeParse(Object.fromEntries(url.searchParams));
  if (query.success) return query.data;
  const [issue] = query.error.issues;
  // Names only: what was given may be a secret in the wrong place.
  const what =
    issue?.code === 'unrecognized_keys' ? `unknown parameters ${issue.keys.join(', ')}` : `parameter ${issue?.path.join('.') ?? ''}`;
  throw refused(what, known);
}
