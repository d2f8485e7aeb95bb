/**
 * The configuration of a replica's process: read once at start, from the environment, as its command or a service file sets it. It names secrets and
 * never holds them.
 */
import path from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '../../../domain/errors.ts';
import type { Configuration, Variables } from '../../../ground/configuration/configuration.ts';
import type { CredentialReference } from '../../../ground/stores/open-store.ts';
import { replicaFolderOf, type ReplicaFolder } from './folder.ts';
import { REPLICA_LIMITS, type ReplicaLimits } from './limits.ts';
import type { Claim } from './mark.ts';

const whole = (least: number, most: number) => z.coerce.number().int().min(least).max(most);
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,199}$/);

const schema = z.object({
  HOLDFAST_REPLICA_FOLDER: z.string().min(1).optional(),
  HOLDFAST_REPLICA_STORE: z.string().min(1),
  HOLDFAST_REPLICA_ENDPOINT: z.string().optional(),
  HOLDFAST_REPLICA_REGION: z.string().optional(),
  HOLDFAST_REPLICA_ACCESS_KEY_ENV: variable.optional(),
  HOLDFAST_REPLICA_SECRET_KEY_ENV: variable.optional(),
  HOLDFAST_REPLICA_LISTEN: z.string().default('127.0.0.1:9480'),
  HOLDFAST_REPLICA_CERTIFICATES: z.string().min(1).optional(),
  HOLDFAST_REPLICA_CLIENTS: z.enum(['optional', 'required']).default('optional'),
  HOLDFAST_REPLICA_TAKE_OVER: z.enum(['no', 'waiting', 'at once']).default('no'),
  HOLDFAST_REPLICA_WAITING_BYTES: whole(1, Number.MAX_SAFE_INTEGER).optional(),
  HOLDFAST_REPLICA_WAITING_OBJECTS: whole(1, 10_000_000).optional(),
  /** As long as nobody looks, a store that is away stops nothing; a day is more than anybody waits for a take-over. */
  HOLDFAST_REPLICA_TRUST_MS: whole(1000, 86_400_000).optional(),
});

export interface BehindConfiguration {
  readonly url: string;
  readonly endpoint: string | null;
  readonly region: string | null;
  readonly credentials: CredentialReference | null;
}

export interface ReplicaConfiguration {
  readonly folder: ReplicaFolder;
  readonly behind: BehindConfiguration;
  readonly listen: string;
  readonly certificates: string | null;
  readonly clients: 'optional' | 'required';
  readonly takeOver: Claim['takeOver'];
  readonly limits: ReplicaLimits;
}

/** Below that of the installation, when nobody names one. */
export const defaultFolder = ({ folder }: Pick<Configuration, 'folder'>): string => path.join(folder, 'replica');

/** CONFIG_INVALID. */
export function readReplicaConfiguration(variables: Variables, installation: Pick<Configuration, 'folder'>): ReplicaConfiguration {
  const parsed = schema.safeParse(variables);
  if (!parsed.success) {
    const field = String(parsed.error.issues[0]?.path[0] ?? 'HOLDFAST_REPLICA_STORE');
    throw new HoldfastError('CONFIG_INVALID', `${field} is not usable: ${parsed.error.issues[0]?.message ?? ''}`, { field });
  }
  const given = parsed.data;
  const [key, secret] = [given.HOLDFAST_REPLICA_ACCESS_KEY_ENV, given.HOLDFAST_REPLICA_SECRET_KEY_ENV];
  if ((key === undefined) !== (secret === undefined))
    throw new HoldfastError('CONFIG_INVALID', 'half of the credentials of the store behind is named', {
      field: key === undefined ? 'HOLDFAST_REPLICA_ACCESS_KEY_ENV' : 'HOLDFAST_REPLICA_SECRET_KEY_ENV',
    });
  return {
    folder: replicaFolderOf(given.HOLDFAST_REPLICA_FOLDER ?? defaultFolder(installation)),
    behind: {
      url: given.HOLDFAST_REPLICA_STORE,
      endpoint: given.HOLDFAST_REPLICA_ENDPOINT ?? null,
      region: given.HOLDFAST_REPLICA_REGION ?? null,
      credentials: key === undefined || secret === undefined ? null : { accessKeyIdEnv: key, secretAccessKeyEnv: secret },
    },
    listen: given.HOLDFAST_REPLICA_LISTEN,
    certificates: given.HOLDFAST_REPLICA_CERTIFICATES ?? null,
    clients: given.HOLDFAST_REPLICA_CLIENTS,
    takeOver: given.HOLDFAST_REPLICA_TAKE_OVER,
    limits: {
      ...REPLICA_LIMITS,
      waitingBytes: given.HOLDFAST_REPLICA_WAITING_BYTES ?? REPLICA_LIMITS.waitingBytes,
      waitingObjects: given.HOLDFAST_REPLICA_WAITING_OBJECTS ?? REPLICA_LIMITS.waitingObjects,
      trustMs: given.HOLDFAST_REPLICA_TRUST_MS ?? REPLICA_LIMITS.trustMs,
    },
  };
}
