/**
 * The address of a store as a person writes it.
 *
 *     file:///srv/backup
 *     s3://bucket/some/prefix?region=eu-central-1
 *     s3://bucket?endpoint=http://127.0.0.1:9000&style=path&checksums=when-required
 *
 * Addresses are stored, shown and logged, so a secret in one is refused before anything is done with it: a user or password
 * part, and any query parameter that is not listed here. Credentials are named elsewhere, by reference.
 */
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { isObjectName } from './object-name.ts';

export const REGION_DEFAULT = 'us-east-1';

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
  | ({ readonly kind: 's3'; readonly bucket: string; readonly prefix: string } & z.infer<typeof querySchema>);

const refused = (reason: string, expected: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `not the address of a store: ${reason}`, { field: 'url', expected });

const FORMS = 'file:///dir or s3://bucket/prefix?endpoint=...&region=...';

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
  const prefix = url.pathname.replaceAll(/^\/+|\/+$/g, '');
  if (prefix !== '' && !isObjectName(prefix)) throw refused('the prefix is not one', 's3://bucket/some/prefix');
  const query = querySchema.safeParse(Object.fromEntries(url.searchParams));
  if (!query.success) {
    const [issue] = query.error.issues;
    // Names only: what was given may be a secret in the wrong place.
    const what =
      issue?.code === 'unrecognized_keys' ? `unknown parameters ${issue.keys.join(', ')}` : `parameter ${issue?.path.join('.') ?? ''}`;
    throw refused(what, 'endpoint, region, style=path|virtual, checksums=when-supported|when-required');
  }
  const { endpoint } = query.data;
  if (endpoint !== undefined && hasCredentials(new URL(endpoint))) {
    throw refused('the endpoint holds a user or a password', 'credentials by reference, never in the address');
  }
  return { kind: 's3', bucket: url.host, prefix, ...query.data };
}
