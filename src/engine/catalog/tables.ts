/**
 * A table as the catalog knows it: where its archive is, where its events come from, and how much of its past is wanted.
 * Secrets by reference alone. What is archived stands in the archive's own log (docs/tables.md, section 5).
 */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { storeSchema } from '../../domain/id-schemas.ts';
import { NAME_PATTERN } from '../../domain/ids.ts';
import { TABLE_TOPICS_MAX } from '../../domain/limits.ts';
import { kafkaCluster, topicName } from '../../ground/kafka/kafka-cluster.ts';
import { tableForm } from '../tables/archive/entries.ts';

const topicPattern = z.string().regex(/^[A-Za-z0-9._*-]{1,249}$/);

export const tableName = z.string().regex(NAME_PATTERN);

export const kafkaSource = z.strictObject({
  ...kafkaCluster.shape,
  /** Names; `*` stands for any characters. Together they may match TABLE_TOPICS_MAX topics. */
  topics: z.array(topicPattern).min(1).max(TABLE_TOPICS_MAX),
  /** Debezium's transaction topic: how far the source is known to be. */
  transactions: topicName.nullable(),
  /** Other topics of the same connector, whose events tell the same. */
  heartbeats: z.array(topicName).max(TABLE_TOPICS_MAX),
});
export type KafkaSource = z.infer<typeof kafkaSource>;

/** When a partition is given a snapshot by itself; null: not for that reason. */
const snapshotTriggers = z.strictObject({
  /** Bytes of segments since the one before. */
  bytes: z.int().min(1).nullable(),
  /** Changes since the one before, as a share of its rows. */
  changed: z.number().positive().max(1000).nullable(),
  /** Time since the one before, if anything has changed. */
  ageMs: z.int().min(60_000).nullable(),
});
export type SnapshotTriggers = z.infer<typeof snapshotTriggers>;

export const tableDefinition = z.strictObject({
  name: tableName,
  store: storeSchema,
  form: tableForm,
  source: kafkaSource,
  snapshots: snapshotTriggers,
  /** Past states of so long ago are wanted; null: all. */
  retainMs: z.int().min(60_000).nullable(),
});
export type TableDefinition = z.infer<typeof tableDefinition>;

interface Tables {
  readonly tables: ReadonlyMap<string, TableDefinition>;
}

export const tableNotFound = (table: string): HoldfastError => new HoldfastError('TABLE_NOT_FOUND', `no table ${table}`, { table });

export function findTable({ tables }: Tables, table: string): TableDefinition {
  const found = tables.get(table);
  if (!found) throw tableNotFound(table);
  return found;
}

/** Where in its store the archive of a table lies. */
export const tablePrefix = (name: string): string => `tables/${name}/`;

/** `<store>/<table>`, under which the catalog keeps the id of the archive that was first seen there. */
export const archiveKey = ({ store, name }: Pick<TableDefinition, 'store' | 'name'>): string => `${store}/${name}`;
