/**
 * Captures what Debezium really sends for one of each kind of change, as samples for the tests of decoders:
 *
 *     npx node test/e2e/tables/capture-samples.ts            writes test/engine/tables/events/samples/<connector and version>[-schemas].jsonl
 *
 * Run again when the connector's version changes, and look at what differs.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DEBEZIUM } from '../../../src/faces/stack/components.ts';
import { startDebezium } from '../../../src/faces/stack/debezium.ts';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { startKafka } from '../../../src/faces/stack/kafka.ts';
import { startPostgres } from '../../../src/faces/stack/postgres.ts';
import { stderrProgress } from '../../../src/faces/stack/progress.ts';
import { readTopics } from './topics.ts';

const finder = { environment: readStackEnvironment(), progress: stderrProgress };
const SAMPLES = path.join(import.meta.dirname, '../../engine/tables/events/samples');
const TOPICS = ['shop.public.things', 'shop.public.whole', 'shop.transaction', 'shop.message', '__debezium-heartbeat.shop'];

const TABLES = ['things', 'whole'];
const SETUP = TABLES.map(
  (table) => `
  CREATE TABLE ${table} (id int PRIMARY KEY, name text, big text, photo bytea, amount numeric(10,2), wide bigint, at timestamptz, tags text[], doc jsonb);
  ALTER TABLE ${table} ALTER big SET STORAGE EXTERNAL, ALTER photo SET STORAGE EXTERNAL;
  INSERT INTO ${table} VALUES (1, 'Anne "é"', repeat('x', 2500), decode(repeat('ab', 2500), 'hex'), 1.50, 9007199254740993, '2026-01-02 03:04:05.678901Z', '{a,NULL}', '{"b":1.0}'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);`,
).join('');
const CHANGES = [
  ...TABLES.flatMap((table) => [
    `UPDATE ${table} SET name = 'Ann' WHERE id = 1`,
    `BEGIN; INSERT INTO ${table} (id, name) VALUES (3, 'c'); UPDATE ${table} SET id = 4 WHERE id = 1; COMMIT`,
    `DELETE FROM ${table} WHERE id = 2`,
    `ALTER TABLE ${table} ADD COLUMN later int DEFAULT 7`,
    `COPY ${table} (id, name) FROM PROGRAM 'printf "5,at\\n6,once\\n"' WITH (FORMAT csv)`,
  ]),
  `TRUNCATE ${TABLES.join(', ')}`,
  `SELECT pg_logical_emit_message(true, 'prefix', 'content')`,
];

async function capture(withSchemas: boolean): Promise<string[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-samples-'));
  try {
    await using kafka = await startKafka({ dir: path.join(folder, 'kafka') }, finder);
    await using postgres = await startPostgres({}, finder);
    const client = new pg.Client(postgres);
    await client.connect();
    await client.query(`${SETUP} ALTER TABLE whole REPLICA IDENTITY FULL`);
    await using _connector = await startDebezium(
      {
        dir: path.join(folder, 'debezium'),
        brokers: kafka.brokers,
        postgres,
        prefix: 'shop',
        tables: ['public.things', 'public.whole'],
        withSchemas,
      },
      finder,
    );
    await sleep(4000);
    for (const change of CHANGES) await client.query(change);
    await client.end();
    await sleep(4000);
    await using reader = await readTopics(kafka.brokers, TOPICS);
    await sleep(5000);
    return TOPICS.flatMap((topic) =>
      reader
        .records(topic, 0)
        .slice(0, 40)
        .map(({ offset, timeMs, key, value }) =>
          JSON.stringify({ topic, offset, timeMs, key: key?.toString() ?? null, value: value?.toString() ?? null }),
        ),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const LARGE = /(x{2500}|(q6ur){100,}q?6?u?r?[A-Za-z0-9+/=]{0,4})/g;
for (const withSchemas of [false, true]) {
  const lines = (await capture(withSchemas)).map((line) => line.replace(LARGE, 'large'));
  // With schemas a few say it all.
  const kept = withSchemas
    ? lines
        .filter((line) => line.includes('public.things'))
        .slice(0, 7)
        .concat(lines.filter((line) => line.includes('shop.transaction')).slice(0, 2))
    : lines;
  await writeFile(
    path.join(SAMPLES, `debezium-postgres-${DEBEZIUM.version}${withSchemas ? '-schemas' : ''}.jsonl`),
    `${kept.join('\n')}\n`,
  );
}
