/**
 * A table archive for the bench, and the same events as plain Parquet: what an archiver would have written, merged, but made by SQL, for twenty
 * million events through the decoder take six minutes and are another figure.
 *
 * Event i changes one of KEYS rows, the first KEYS of them each another one, so that all keys are there; one in fifty deletes. Each is a
 * transaction of its own, 33 us after the one before. Rows have eight columns, 150 bytes of JSON.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Environment } from '../src/engine/repository/environment.ts';
import { addPartitions, claimRole, ensureForm, openTableArchive, type TableArchive } from '../src/engine/tables/archive/archive.ts';
import { sqlText, type Duck } from '../src/engine/tables/archive/duck.ts';
import type { BatchPart } from '../src/engine/tables/archive/entries.ts';
import { FIXED_COLUMNS, parquetCopy } from '../src/engine/tables/archive/rows.ts';
import { keepFile } from '../src/engine/tables/archive/writer.ts';
import { fromHalves, positionText } from '../src/engine/tables/events/position.ts';
import { PLACEHOLDER_DEFAULT } from '../src/engine/tables/events/debezium.ts';
import type { ObjectStore } from '../src/ground/stores/object-store.ts';

export const KEYS = 1_000_000;
const PARTITIONS = 4;
/** As many as one merged file of 32 MiB holds. */
const SEGMENT_EVENTS = 500_000;
const START_US = 1_700_000_000_000_000;
const COLUMNS = ['id', 'customer', 'status', 'amount', 'quantity', 'note', 'updated_at', 'paid'];

export const environment: Environment = {
  writer: 'bench',
  nowMs: () => Date.now(),
  random: (size) => randomBytes(size),
  sleep: () => Promise.resolve(),
  alarm: (message) => void process.stderr.write(`${message}\n`),
};

/** When event i was committed. */
export const stampOf = (event: number): number => START_US + event * 33;

/** Events [from, to), typed. */
const events = (from: number, to: number): string => `
  SELECT i, CASE WHEN i < ${KEYS} THEN i ELSE (hash(i) % ${KEYS})::BIGINT END AS id, i >= ${KEYS} AND hash(i, 1) % 50 = 0 AS deleted,
    'customer ' || hash(i, 2) % 100000 AS customer, ['new', 'paid', 'sent', 'returned'][(1 + hash(i, 3) % 4)::BIGINT] AS status,
    (hash(i, 4) % 1000000)::DECIMAL(12, 2) / 100 AS amount, (hash(i, 5) % 20)::INTEGER AS quantity, md5(i::VARCHAR) AS note,
    ${START_US} + i * 33 AS updated_at, hash(i, 6) % 2 = 0 AS paid
  FROM range(${from}, ${to}) AS numbers(i)`;

export interface BenchArchive {
  readonly archive: TableArchive;
  readonly keeper: number;
  /** Archives the next events, up to so many in all. */
  growTo(events: number): Promise<void>;
}

export async function createBenchArchive(store: ObjectStore, duck: Duck): Promise<BenchArchive> {
  const key = { dataKey: randomBytes(32), repositoryId: randomBytes(16) };
  const archive = openTableArchive({ store, key, environment });
  await ensureForm(archive, { form: 'debezium', placeholder: PLACEHOLDER_DEFAULT });
  await addPartitions(
    archive,
    Array.from({ length: PARTITIONS }, (_, i) => `orders/${i}`),
  );
  const epoch = await claimRole(archive, 'archive');
  let at = 0;
  return {
    archive,
    keeper: await claimRole(archive, 'snapshots'),
    async growTo(end) {
      while (at < end) {
        const next = Math.min(end, at + SEGMENT_EVENTS);
        await archiveEvents(archive, duck, epoch, at, next);
        at = next;
      }
      const parts = [...archive.known().partitions.values()].map(({ id, next }) => ({ partition: id, next, throughUs: stampOf(end) }));
      await archive.append(() => ({ kind: 'HEARTBEAT', epoch, parts }));
    },
  };
}

async function archiveEvents(archive: TableArchive, duck: Duck, epoch: number, from: number, to: number): Promise<void> {
  const known = archive.known();
  const next = Array.from({ length: PARTITIONS }, (_, i) => known.partitions.get(`orders/${i}`)?.next ?? 0);
  const place = '64 * (i + 1)';
  const cells = [
    'id::VARCHAR',
    `'"' || customer || '"'`,
    `'"' || status || '"'`,
    'amount::VARCHAR',
    'quantity::VARCHAR',
    `'"' || note || '"'`,
    'updated_at::VARCHAR',
    'paid::VARCHAR',
  ].map((text, column) => `CASE WHEN deleted THEN NULL ELSE ${text} END AS c${column}`);
  await duck.run(`CREATE OR REPLACE TABLE segment AS SELECT ${[...FIXED_COLUMNS, ...cells.map((_, i) => `c${i}`)].join(', ')} FROM (
    SELECT (id % ${PARTITIONS})::INTEGER AS _partition, [${next.join(', ')}][1 + id % ${PARTITIONS}] + row_number() OVER (PARTITION BY id % ${PARTITIONS} ORDER BY i) - 1 AS _offset,
      (${place} << 8)::UBIGINT AS _hi, ((${place} + 8) << 16)::UBIGINT AS _lo, updated_at AS _stamp, CASE WHEN deleted THEN 'd' ELSE 'p' END AS _op,
      '{"id":' || id || '}' AS _key, (1000 + i)::VARCHAR AS _tx, NULL::INTEGER AS _schema, NULL::BLOB AS _raw, ${cells.join(', ')}
    FROM (${events(from, to)})) ORDER BY _partition, _offset`);
  const found = await duck.rows(
    `SELECT _partition, count(*), min(_offset), min(_hi)::VARCHAR, min(_lo)::VARCHAR, max(_hi)::VARCHAR, max(_lo)::VARCHAR, min(_stamp), max(_stamp)
     FROM segment GROUP BY 1 ORDER BY 1`,
  );
  const file = duck.file('segment.parquet');
  await duck.run(parquetCopy('segment', file));
  const sealed = await keepFile(archive, 'segment', epoch, file);
  const columns = known.columns.length === 0 ? COLUMNS : [];
  await archive.append(() => ({ kind: 'BATCH', epoch, file: sealed, columns, schemas: [], parts: found.map(partOf) }));
}

function partOf([partition, rows, first, hiMin, loMin, hiMax, loMax, stampMin, stampMax]: readonly unknown[]): BatchPart {
  const position = (hi: unknown, lo: unknown): string => positionText(fromHalves(BigInt(String(hi)), BigInt(String(lo))));
  const from = Number(first);
  return {
    ...{ partition: `orders/${Number(partition)}`, from, to: from + Number(rows), rows: Number(rows) },
    ...{
      skipped: 0,
      late: 0,
      lateMin: null,
      positionMin: position(hiMin, loMin),
      positionMax: position(hiMax, loMax),
      high: position(hiMax, loMax),
    },
    ...{
      stampMinUs: Number(stampMin),
      stampMaxUs: Number(stampMax),
      runningUs: Number(stampMax),
      initialUs: null,
      streaming: true,
      afterDelete: null,
    },
    ...{ unavailable: [], truncates: [], gaps: [], quarantined: [] },
  };
}

/** The same events as anybody would keep them for DuckDB: typed, in one order, zstd. Files of SEGMENT_EVENTS, as the archive has. */
export async function writePlainParquet(duck: Duck, count: number): Promise<string[]> {
  const files: string[] = [];
  for (let at = 0; at < count; at += SEGMENT_EVENTS) {
    const file = path.join(duck.folder, `plain-${files.length}.parquet`);
    rmSync(file, { force: true });
    await duck.run(
      `COPY (SELECT i AS position, * EXCLUDE (i) FROM (${events(at, Math.min(count, at + SEGMENT_EVENTS))})) TO ${sqlText(file)} (FORMAT parquet, COMPRESSION zstd)`,
    );
    files.push(file);
  }
  return files;
}

/** DuckDB's own fold, in each of the forms that one would write. */
export const OWN_FOLDS: Readonly<Record<string, (files: readonly string[]) => string>> = {
  columns: (files) => `CREATE TABLE own AS SELECT id, ${OWN_COLUMNS.map((name) => `arg_max(${name}, position) AS ${name}`).join(', ')}
    FROM read_parquet([${files.map(sqlText).join(', ')}]) GROUP BY id HAVING NOT arg_max(deleted, position)`,
  struct: (files) => `CREATE TABLE own AS SELECT unnest(last) FROM (SELECT arg_max(e, position) AS last
    FROM read_parquet([${files.map(sqlText).join(', ')}]) e GROUP BY id) WHERE NOT last.deleted`,
};
const OWN_COLUMNS = COLUMNS.slice(1);
