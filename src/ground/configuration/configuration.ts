/**
 * The configuration of a process: one schema, read once at start, passed on as a value.
 *
 * `$HOLDFAST_HOME/config.json` (default ~/.holdfast) holds what an installation chose; environment variables win over it.
 * It names secrets and never holds them, so it can be printed as it is.
 */
import { readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { NAME_PATTERN } from '../../domain/ids.ts';
import { readTemporalAccess, type TemporalAccess } from './temporal-access.ts';

const fileSchema = z.strictObject({
  /** Where the catalog lives. */
  home: z.strictObject({ url: z.string().min(1), passphrase: z.string().min(1) }).optional(),
  host: z.string().regex(NAME_PATTERN).optional(),
  temporal: z
    .strictObject({ address: z.string().min(1), namespace: z.string().min(1) })
    .partial()
    .optional(),
  cacheDir: z.string().min(1).optional(),
  metrics: z
    .strictObject({ host: z.string(), port: z.int().min(0).max(65535) })
    .partial()
    .optional(),
  threads: z.int().min(1).max(64).optional(),
  /** Where the disk server listens beside its Unix socket, and the folder of its certificates. */
  disks: z
    .strictObject({ listen: z.string().min(1), certificates: z.string().min(1) })
    .partial()
    .optional(),
  /** Where the receiver listens, the folder of its certificates, and whether clients have to show one. */
  receiver: z
    .strictObject({ listen: z.string().min(1), certificates: z.string().min(1), clients: z.enum(['optional', 'required']) })
    .partial()
    .optional(),
});

export interface Configuration {
  /** Folder of the installation's own files. */
  readonly folder: string;
  readonly home: { readonly url: string; readonly passphrase: string };
  /** Name of this machine's queue. */
  readonly host: string;
  readonly temporal: TemporalAccess;
  readonly cacheDir: string;
  /** Port 0: no metrics endpoint. */
  readonly metrics: { readonly host: string; readonly port: number };
  readonly threads: number | null;
  readonly disks: { readonly listen: string | null; readonly certificates: string | null };
  readonly receiver: { readonly listen: string; readonly certificates: string | null; readonly clients: 'optional' | 'required' };
}

export type Variables = Readonly<Record<string, string | undefined>>;

const invalid = (field: string, message: string, cause?: unknown): HoldfastError =>
  new HoldfastError('CONFIG_INVALID', message, { field }, cause);

function readFile(path: string): z.infer<typeof fileSchema> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw invalid(path, `${path} cannot be read`, error);
  }
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw invalid(path, `${path} is not JSON`, error);
  }
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success) throw invalid(path, `${path}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** A host name made fit to be a queue's name. */
const nameOfHost = (text: string): string => text.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 63) || 'host';

function portOf(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw invalid('HOLDFAST_METRICS_PORT', `${text} is not a port number`);
  return port;
}

/** Where a receiver listens when nobody says: for senders of this machine, or behind a proxy of it. */
const RECEIVER_LISTEN_DEFAULT = '127.0.0.1:9470';

/** Certificates of clients can be wanted only where TLS is. */
function receiverOf(variables: Variables, file: z.infer<typeof fileSchema>['receiver']): Configuration['receiver'] {
  const certificates = variables['HOLDFAST_RECEIVER_CERTIFICATES'] ?? file?.certificates ?? null;
  const clients = variables['HOLDFAST_RECEIVER_CLIENTS'] ?? file?.clients ?? 'optional';
  if (clients !== 'optional' && clients !== 'required')
    throw invalid('HOLDFAST_RECEIVER_CLIENTS', 'certificates of clients are optional or required');
  if (clients === 'required' && certificates === null)
    throw invalid('HOLDFAST_RECEIVER_CERTIFICATES', 'clients can show certificates only to a receiver that has its own');
  return { listen: variables['HOLDFAST_RECEIVER_LISTEN'] ?? file?.listen ?? RECEIVER_LISTEN_DEFAULT, certificates, clients };
}

/** Where Temporal listens when nobody says. */
const TEMPORAL_ADDRESS_DEFAULT = '127.0.0.1:7233';

export function readConfiguration(variables: Variables, temporalAddressDefault = TEMPORAL_ADDRESS_DEFAULT): Configuration {
  const folder = resolve(variables['HOLDFAST_HOME'] ?? join(homedir(), '.holdfast'));
  const file = readFile(join(folder, 'config.json'));
  const named = readTemporalAccess(variables);
  const host = variables['HOLDFAST_HOST'] ?? file.host ?? nameOfHost(hostname());
  if (!NAME_PATTERN.test(host)) throw invalid('HOLDFAST_HOST', `${host} is not a name`);
  return {
    folder,
    home: {
      url: variables['HOLDFAST_CATALOG'] ?? file.home?.url ?? pathToFileURL(join(folder, 'home')).href,
      passphrase: variables['HOLDFAST_CATALOG_PASSPHRASE'] ?? file.home?.passphrase ?? 'env:HOLDFAST_PASSPHRASE',
    },
    host,
    temporal: {
      address: variables['HOLDFAST_TEMPORAL_ADDRESS'] ?? named.address ?? file.temporal?.address ?? temporalAddressDefault,
      namespace: variables['HOLDFAST_TEMPORAL_NAMESPACE'] ?? named.namespace ?? file.temporal?.namespace ?? 'holdfast',
      security: named.security,
    },
    cacheDir: variables['HOLDFAST_CACHE_DIR'] ?? file.cacheDir ?? join(folder, 'cache'),
    metrics: {
      host: variables['HOLDFAST_METRICS_HOST'] ?? file.metrics?.host ?? '127.0.0.1',
      port: portOf(variables['HOLDFAST_METRICS_PORT'], file.metrics?.port ?? 0),
    },
    threads: file.threads ?? null,
    disks: {
      listen: variables['HOLDFAST_DISKS_LISTEN'] ?? file.disks?.listen ?? null,
      certificates: variables['HOLDFAST_DISKS_CERTIFICATES'] ?? file.disks?.certificates ?? null,
    },
    receiver: receiverOf(variables, file.receiver),
  };
}
