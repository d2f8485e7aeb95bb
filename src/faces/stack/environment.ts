/**
 * What the stack reads from the environment: parsed once, at the edge, and passed on as a value.
 *
 * For each component there is an address (somebody else runs it: it is used and never started or stopped) and a way to name
 * the program to start. HOLDFAST_CACHE keeps what was provisioned, keyed by name and version, and can be deleted at any time;
 * HOLDFAST_HOME keeps data: what `holdfast up` started lives below it.
 */
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { noSecurity, type ConnectionSecurity } from '../../ground/configuration/temporal-access.ts';

const address = z.string().regex(/^[^\s/:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, 'expected host:port');

const StackVariables = z.object({
  HOLDFAST_HOME: z.string().min(1).optional(),
  HOLDFAST_CACHE: z.string().min(1).optional(),
  HOLDFAST_TEMPORAL_ADDRESS: address.optional(),
  HOLDFAST_TEMPORAL_NAMESPACE: z
    .string()
    .regex(/^[A-Za-z0-9._-]+$/)
    .optional(),
  HOLDFAST_TEMPORAL_BIN: z.string().min(1).optional(),
  HOLDFAST_KAFKA_BROKERS: z
    .string()
    .transform((text) => text.split(',').map((broker) => broker.trim()))
    .pipe(z.array(address).min(1))
    .optional(),
  HOLDFAST_KAFKA_LIBS: z.string().min(1).optional(),
  HOLDFAST_S3_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  HOLDFAST_S3_REGION: z.string().min(1).optional(),
  HOLDFAST_MINIO_BIN: z.string().min(1).optional(),
  HOLDFAST_POSTGRES_BIN: z.string().min(1).optional(),
  HOLDFAST_DEBEZIUM_LIBS: z.string().min(1).optional(),
  AWS_ACCESS_KEY_ID: z.string().min(1).optional(),
  AWS_SECRET_ACCESS_KEY: z.string().min(1).optional(),
  PATH: z.string().optional(),
});

export interface StackEnvironment {
  readonly homeDir: string;
  readonly cacheDir: string;
  readonly searchPath: string;
  readonly temporal: {
    readonly address: string | undefined;
    readonly namespace: string;
    readonly program: string | undefined;
    /** How the server at `address` wants to be talked to. */
    readonly security: () => ConnectionSecurity;
  };
  readonly kafka: { readonly brokers: readonly string[] | undefined; readonly libsDir: string | undefined };
  readonly s3: {
    readonly endpoint: string | undefined;
    readonly region: string;
    readonly program: string | undefined;
    readonly accessKeyId: string | undefined;
    readonly secretAccessKey: string | undefined;
  };
  /** The folder of PostgreSQL's programs: `initdb`, `postgres`. */
  readonly postgres: { readonly programsDir: string | undefined };
  readonly debezium: { readonly libsDir: string | undefined };
}

type Variables = Readonly<Record<string, string | undefined>>;

/** An empty variable counts as one that is not set, as the shell's `VAR= command` means it. */
const withoutEmpty = (variables: Variables): Variables => Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));

export function readStackEnvironment(variables: Variables = process.env): StackEnvironment {
  const parsed = StackVariables.safeParse(withoutEmpty(variables));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const field = issue?.path.join('.') ?? 'environment';
    throw new HoldfastError('CONFIG_INVALID', `${field}: ${issue?.message ?? 'not usable'}`, { field });
  }
  const { data } = parsed;
  return {
    homeDir: path.resolve(data.HOLDFAST_HOME ?? path.join(homedir(), '.holdfast')),
    cacheDir: path.resolve(data.HOLDFAST_CACHE ?? path.join(homedir(), '.cache', 'holdfast')),
    searchPath: data.PATH ?? '',
    temporal: {
      address: data.HOLDFAST_TEMPORAL_ADDRESS,
      namespace: data.HOLDFAST_TEMPORAL_NAMESPACE ?? 'holdfast',
      program: data.HOLDFAST_TEMPORAL_BIN,
      security: noSecurity,
    },
    kafka: { brokers: data.HOLDFAST_KAFKA_BROKERS, libsDir: data.HOLDFAST_KAFKA_LIBS },
    s3: {
      endpoint: data.HOLDFAST_S3_ENDPOINT,
      region: data.HOLDFAST_S3_REGION ?? 'us-east-1',
      program: data.HOLDFAST_MINIO_BIN,
      accessKeyId: data.AWS_ACCESS_KEY_ID,
      secretAccessKey: data.AWS_SECRET_ACCESS_KEY,
    },
    postgres: { programsDir: data.HOLDFAST_POSTGRES_BIN },
    debezium: { libsDir: data.HOLDFAST_DEBEZIUM_LIBS },
  };
}
