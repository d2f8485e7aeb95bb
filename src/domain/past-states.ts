/**
 * A past state of a table as a job's input names it: which one, and where it goes. Where it goes is always something new; secrets
 * are by reference alone. docs/tables.md, sections 3 and 12.
 */
import { z } from 'zod';
import { kafkaCluster, topicName } from './kafka.ts';

export const pastAsked = z.discriminatedUnion('kind', [
  /** LATEST: as young as can be had. */
  z.strictObject({ kind: z.literal('latest') }),
  /** All commits up to and including this moment of the source's clock, in microseconds since 1970 UTC. */
  z.strictObject({ kind: z.literal('time'), us: z.int().min(0) }),
  /** All transactions of which nothing stands at it or beyond; 32 hex digits. */
  z.strictObject({ kind: z.literal('position'), position: z.string().regex(/^[0-9a-f]{32}$/) }),
  /** By the source's name for it. */
  z.strictObject({ kind: z.literal('transaction'), id: z.string().min(1).max(300), edge: z.enum(['before', 'after']) }),
]);
export type PastAsked = z.infer<typeof pastAsked>;

const path = z.string().min(1).max(4096).startsWith('/');
/** `NAME` or `SCHEMA.NAME`. */
const sqlTableName = z.string().regex(/^[^.\0]{1,63}(\.[^.\0]{1,63})?$/u);

const FILE_FORMATS = ['parquet', 'csv', 'jsonl', 'sql'] as const;

const postgresServer = z.strictObject({
  host: z.string().min(1).max(300),
  port: z.int().min(1).max(65_535),
  database: z.string().min(1).max(63),
  user: z.string().min(1).max(63),
  /** env:NAME, file:/path or command:...; null: none is needed. */
  password: z
    .string()
    .max(2000)
    .regex(/^(env|file|command):/)
    .nullable(),
  /** Null: unencrypted. Else the server has to show a certificate of `ca`, or (null) of an authority that the system trusts. */
  tls: z.strictObject({ ca: z.string().min(1).max(4096).nullable() }).nullable(),
});
export type PostgresServer = z.infer<typeof postgresServer>;

const fileOutput = z.strictObject({
  kind: z.literal('file'),
  path,
  format: z.enum(FILE_FORMATS),
  /** Of the table that a file of SQL makes; default: the name of the table in the catalog. */
  table: sqlTableName.optional(),
});
const topicOutput = z.strictObject({
  kind: z.literal('topic'),
  topic: topicName,
  partitions: z.int().min(1).max(10_000),
  /** Null: as many as the brokers make by default. */
  replicas: z.int().min(1).max(100).nullable(),
  /** Null: where the table's events come from. */
  cluster: kafkaCluster.nullable(),
});
const postgresOutput = z.strictObject({ kind: z.literal('postgres'), server: postgresServer, table: sqlTableName });

export const pastOutput = z.discriminatedUnion('kind', [fileOutput, topicOutput, postgresOutput]);
export type PastOutput = z.infer<typeof pastOutput>;
export type FileOutput = z.infer<typeof fileOutput>;
export type TopicOutput = z.infer<typeof topicOutput>;
export type PostgresOutput = z.infer<typeof postgresOutput>;
