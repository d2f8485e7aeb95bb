/**
 * The real chain: PostgreSQL, Debezium, Kafka, the archive, and past states that are held against the database itself, row by row.
 *
 * Four clients change three tables while the connector takes its first snapshot and streams; it is killed (and sends events again), stopped
 * and started, archivers take over from others, a column is added. Oracles are snapshots that the database exports at known places of its log while all that goes on. Each of them is asked
 * of the archive by time, by the transaction before and behind it, and by place; from bases and from the first offset.
 *
 * HOLDFAST_SEED=n repeats what the clients ask for. What the database makes of it differs from run to run.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { cellColumn } from '../../../src/engine/tables/archive/rows.ts';
import { PLACEHOLDER_DEFAULT } from '../../../src/engine/tables/events/debezium.ts';
import type { Target } from '../../../src/engine/tables/past-state/plan.ts';
import { buildPastState } from '../../../src/engine/tables/past-state/past-state.ts';
import type { TransactionTarget } from '../../../src/engine/tables/past-state/targets.ts';
import { windowOf } from '../../../src/engine/tables/past-state/window.ts';
import { startDebezium, type RunningDebezium } from '../../../src/faces/stack/debezium.ts';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { startPostgres, type RunningPostgres } from '../../../src/faces/stack/postgres.ts';
import { seededRandom } from '../../../src/ground/stores/faulty.ts';
import { createKafka } from '../../../src/ground/kafka/kafka-cluster.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';
import { partitionIds, startArchivers, type ArchivedTable } from './archives.ts';
import { askOracle, type Oracle } from './oracle.ts';
import { createShop, PARTITIONS, PREFIX, PULSE, readTable, TABLES, topicOf, type Row } from './shop.ts';
import { readTopics, type TopicReader } from './topics.ts';
import { endsOf, transactionsIn } from './transactions.ts';
import { createTurn, startWriters } from './writers.ts';

const SEED = Number(process.env['HOLDFAST_SEED'] ?? Math.floor(Math.random() * 1e6));
const WRITERS = 4;
const ORACLES = Number(process.env['HOLDFAST_ORACLES'] ?? 8);
const BETWEEN_ORACLES_MS = 1500;
/** How often the connector notes where it stands, and how long ago that has to be when it is killed. */
const NOTED_EVERY_MS = 2500;
const UNNOTED_MS = 1200;
const CHAIN_MS_MAX = 360_000;

const describeChain = await describeWith('kafka', 'postgres', 'debezium');
describeChain('PostgreSQL, Debezium, Kafka and an archive', () => {
  let folder: string;
  let duck: Duck;
  let kafka: RunningKafka;
  let postgres: RunningPostgres;
  let connector: RunningDebezium;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-chain-'));
    [duck, kafka, postgres] = await Promise.all([
      Duck.open({ memoryBytes: 512e6, threads: 1 }),
      startKafka({ dir: path.join(folder, 'kafka') }, finder),
      startPostgres({}, finder),
    ]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all([connector?.stop(), duck?.[Symbol.asyncDispose]()]);
    await Promise.all([kafka?.stop(), postgres?.stop()]);
    await rm(folder, { recursive: true, force: true });
  });

  const connect = (): Promise<RunningDebezium> =>
    startDebezium(
      {
        ...{ dir: path.join(folder, 'debezium'), brokers: kafka.brokers, postgres, prefix: PREFIX, withSchemas: SEED % 2 === 0 },
        ...{ tables: [...TABLES, PULSE].map((table) => `public.${table}`), positionEveryMs: NOTED_EVERY_MS },
        settings: { 'heartbeat.action.query': `UPDATE ${PULSE} SET at = now()` },
      },
      finder,
    );

  test(
    `every past state is what the database was (seed ${SEED})`,
    async () => {
      process.stderr.write(`chain: HOLDFAST_SEED=${SEED}\n`);
      await createTopics(kafka.brokers);
      const client = new pg.Client(postgres);
      await client.connect();
      await createShop(client);
      const turn = createTurn();
      const writers = await startWriters(postgres, WRITERS, (writer) => seededRandom(SEED * 100 + writer), turn);
      connector = await connect();
      await using topics = await readTopics(kafka.brokers, [...TABLES, PULSE].map(topicOf).concat(`${PREFIX}.transaction`));
      const archives = await startArchivers(() => clientOf(kafka.brokers), kafka.brokers);
      const makeBases = async (): Promise<void> => {
        for (const { makeBases: make } of archives) await make(duck);
      };

      const oracles: Oracle[] = [];
      for (let number = 0; number < ORACLES; number++) {
        await sleep(BETWEEN_ORACLES_MS);
        if (number === 2) await makeBases();
        if (number === 3) {
          await untilMuchIsUnnoted(connector, topics);
          await connector.kill();
        }
        oracles.push(await askOracle(postgres, turn));
        if (number === 3) connector = await connect();
        if (number === 4) await writers.addColumn();
        if (number === 5) {
          await connector.stop();
          connector = await connect();
          await makeBases();
        }
        if (number === 6) await Promise.all(archives.map(({ takeOver }) => takeOver()));
      }
      await writers.stop();
      await untilAllIsArchived(client, topics, archives);
      await client.end();
      await Promise.all(archives.map(({ stop }) => stop()));
      const figures = await examine(archives, duck, topics, oracles, writers.committed);
      process.stderr.write(`chain: ${writers.committed.length} transactions, ${writers.refused()} refused; ${JSON.stringify(figures)}\n`);
      expect(figures.sentAgain).toBeGreaterThan(0);
      expect(Object.entries(figures.seen).filter(([, times]) => times === 0)).toEqual([]);
      expect(figures.states).toBeGreaterThan(ORACLES * TABLES.length);
    },
    CHAIN_MS_MAX,
  );

  test(
    'a connector that lost its position is found out; after the word that its new snapshot is whole, past states are right again',
    async () => {
      const client = new pg.Client(postgres);
      await client.connect();
      await connector.stop();
      await rm(connector.positionFile);
      // Nobody is told of this but by the snapshot.
      await client.query(`UPDATE orders SET weight = -0.5; INSERT INTO orders (id, weight) VALUES (1, 0.5)`);
      connector = await connect();
      await using topics = await readTopics(kafka.brokers, [topicOf(PULSE)]);
      const archived = await startArchivers(() => clientOf(kafka.brokers), kafka.brokers);
      const orders = archived.filter(({ table }) => table === 'orders');
      await client.query(`UPDATE orders SET paid = true WHERE id = 1`);
      await untilAllIsArchived(client, topics, orders);
      for (const { archive } of orders) {
        expect(windowOf(archive.known()).earliestUs).toBeNull();
        for (const { id, next, runningUs, beginsUs } of archive.known().partitions.values())
          if (beginsUs === null) await archive.append(() => ({ kind: 'WHOLE', partition: id, next, stampUs: runningUs ?? 0 }));
        const built = await buildPastState(archive, duck, { kind: 'time', us: windowOf(archive.known()).latestUs ?? 0 });
        if (built.kind !== 'built') throw new Error(JSON.stringify(built));
        const is = await rowsOf(duck, built.columns);
        expect({ ...differences(is, await readTable(client, 'orders')), rows: is.size > 0 }).toEqual({
          ...{ missing: [], surplus: [], different: [], rows: true },
        });
      }
      await Promise.all(archived.map(({ stop }) => stop()));
      await client.end();
    },
    CHAIN_MS_MAX,
  );
});

const clientOf = (brokers: readonly string[]) =>
  createKafka({ brokers: [...brokers], tls: null, sasl: null }, { clientId: 'chain', variables: {}, retries: 10 });

async function createTopics(brokers: readonly string[]): Promise<void> {
  const admin = (await clientOf(brokers)).admin();
  await admin.connect();
  const single = [topicOf(PULSE), `${PREFIX}.transaction`].map((topic) => ({ topic, numPartitions: 1 }));
  await admin.createTopics({
    topics: [...TABLES.map((table) => ({ topic: topicOf(table), numPartitions: PARTITIONS[table] })), ...single],
  });
  await admin.disconnect();
}

/** Stamp of the newest pulse that has come out of the chain; 0 before there is one. */
const pulseUs = (topics: TopicReader): number => {
  const last = topics.records(topicOf(PULSE), 0).at(-1)?.value;
  return Number(/"ts_us":([0-9]+)/.exec(Buffer.from(last ?? '').toString())?.[1] ?? 0);
};

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let waits = 0; waits < 1200; waits++) {
    if (await holds()) return;
    await sleep(100);
  }
  throw new Error(`within two minutes ${what} did not come to pass`);
}

/**
 * The connector has noted where it stands, past its first snapshot, and has sent on for a while since: a kill makes it send that again. One that
 * had noted a place in the midst of the snapshot would take all of it anew, which an archive has to be told of (the next test).
 */
const untilMuchIsUnnoted = (connector: RunningDebezium, topics: TopicReader): Promise<void> =>
  until(async () => {
    const { mtimeMs } = await stat(connector.positionFile).catch(() => ({ mtimeMs: Infinity }));
    const noted = mtimeMs === Infinity ? '' : await readFile(connector.positionFile, 'latin1');
    return !/"snapshot_completed": *false/.test(noted) && pulseUs(topics) / 1000 > mtimeMs + UNNOTED_MS;
  }, 'a position that is older than what was sent');

/** Waits for what is written now to come out at the other end, and to be in all archives. */
async function untilAllIsArchived(client: pg.Client, topics: TopicReader, archives: readonly ArchivedTable[]): Promise<void> {
  const { rows } = await client.query<{ us: string }>('SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint::text AS us');
  const nowUs = Number(rows[0]?.us);
  await until(() => Promise.resolve(pulseUs(topics) > nowUs), 'a pulse of now');
  await until(async () => {
    const latest = await Promise.all(archives.map(({ latestUs }) => latestUs()));
    return latest.every((us) => us >= nowUs);
  }, 'LATEST of now');
}

interface Figures {
  states: number;
  rows: number;
  sentAgain: number;
  /** Oracles that no time names, for two commits stand in the log the other way round than their stamps. */
  timeless: number;
  /** How often what is hard came by. */
  readonly seen: Readonly<Record<string, number>>;
}

/** As they are written in a record, with a schema or without. */
const HARD = {
  snapshotRows: '"op":"r"',
  deletes: '"op":"d"',
  truncates: '"op":"t"',
  placeholders: `:"${PLACEHOLDER_DEFAULT}"`,
  laterColumn: '"tier":',
} as const;

function hardThings(topics: TopicReader): Record<string, number> {
  const seen: Record<string, number> = { ...Object.fromEntries(Object.keys(HARD).map((name) => [name, 0])), keyChanges: 0 };
  for (const table of TABLES)
    for (let partition = 0; partition < PARTITIONS[table]; partition++)
      for (const { value, hasMoved } of topics.records(topicOf(table), partition)) {
        const text = Buffer.from(value ?? '').toString();
        for (const [name, written] of Object.entries(HARD)) if (text.includes(written)) seen[name] = (seen[name] ?? 0) + 1;
        if (hasMoved) seen['keyChanges'] = (seen['keyChanges'] ?? 0) + 1;
      }
  return seen;
}

async function examine(
  archives: readonly ArchivedTable[],
  duck: Duck,
  topics: TopicReader,
  oracles: readonly Oracle[],
  committed: readonly bigint[],
): Promise<Figures> {
  const ends = endsOf(topics.records(`${PREFIX}.transaction`, 0));
  const figures: Figures = { states: 0, rows: 0, sentAgain: 0, timeless: 0, seen: hardThings(topics) };
  for (const oracle of oracles)
    for (const id of committed) {
      const end = ends.get(id);
      // A transaction that changed nothing is not told of.
      if (end !== undefined) expect({ id, below: end <= oracle.lsn }).toEqual({ id, below: oracle.sees(id) });
    }
  for (const { table, archive } of archives) {
    const partitions = partitionIds(table).map((_, partition) => topics.records(topicOf(table), partition));
    const transactions = transactionsIn(partitions);
    const { earliestUs, latestUs } = windowOf(archive.known());
    expect(earliestUs).not.toBeNull();
    expect(latestUs).not.toBeNull();
    for (const [number, oracle] of oracles.entries()) {
      const targets = targetsOf(oracle, transactions, ends, earliestUs ?? 0);
      if (!targets.some(([, target]) => target.kind === 'time')) figures.timeless++;
      for (const [name, target] of targets)
        for (const withoutBases of [false, true]) {
          const built = await buildPastState(archive, duck, target, { withoutBases });
          const told = { table, oracle: number, name, withoutBases };
          if (built.kind !== 'built') throw new Error(`${JSON.stringify(told)}: ${JSON.stringify(built)}`);
          expect({ ...told, ...differences(await rowsOf(duck, built.columns), oracle.tables[table]) }).toEqual({
            ...{ ...told, missing: [], surplus: [], different: [] },
          });
          expect({ ...told, unresolved: built.proof.unresolved, quarantined: built.proof.quarantined }).toEqual({
            ...{ ...told, unresolved: 0, quarantined: {} },
          });
          figures.states++;
          figures.rows += oracle.tables[table].size;
          if (number === oracles.length - 1 && name === targets[0]?.[0] && !withoutBases) figures.sentAgain += built.proof.late;
        }
    }
  }
  return figures;
}

type Asked = readonly (readonly [string, Target | TransactionTarget])[];

/** All that names an oracle's moment for a table. */
function targetsOf(
  { sees }: Oracle,
  transactions: ReturnType<typeof transactionsIn>,
  ends: ReadonlyMap<bigint, bigint>,
  earliestUs: number,
): Asked {
  const inOrder = [...transactions].sort(([a], [b]) => Number((ends.get(a) ?? 0n) - (ends.get(b) ?? 0n)));
  const seen = inOrder.filter(([id]) => sees(id));
  const unseen = inOrder.filter(([id]) => !sees(id));
  const asked: [string, Target | TransactionTarget][] = [];
  const lastUs = Math.max(earliestUs, ...seen.map(([, { stampUs }]) => stampUs));
  const nextUs = Math.min(...unseen.map(([, { stampUs }]) => stampUs));
  if (lastUs < nextUs) asked.push(['at its last commit', { kind: 'time', us: lastUs }]);
  if (lastUs < nextUs - 1 && unseen.length > 0) asked.push(['before the next commit', { kind: 'time', us: nextUs - 1 }]);
  const [last, next] = [seen.at(-1), unseen[0]];
  if (last !== undefined && last[1].hasRows && last[1].stampUs > earliestUs)
    asked.push(['after its last transaction', { kind: 'transaction', id: String(last[0]), edge: 'after' }]);
  if (next !== undefined && next[1].stampUs > earliestUs) {
    if (next[1].hasRows) asked.push(['before the next transaction', { kind: 'transaction', id: String(next[0]), edge: 'before' }]);
    asked.push(['at the place of the next transaction', { kind: 'position', position: next[1].first }]);
  }
  return asked;
}

async function rowsOf(
  duck: Duck,
  columns: readonly { readonly number: number; readonly name: string }[],
): Promise<ReadonlyMap<string, Row>> {
  const rows = await duck.rows(`SELECT ${['_key', ...columns.map(({ number }) => cellColumn(number))].join(', ')} FROM past`);
  return new Map(
    rows.map(([key, ...texts]) => {
      // A null, and a column that was added later and never set, are the same in the database.
      const cells = texts.flatMap((text, i) => (text === null || text === 'null' ? [] : [[columns[i]?.name ?? '', String(text)] as const]));
      return [String(key), Object.fromEntries(cells)];
    }),
  );
}

const SHOWN = 3;
const short = (row: Row | undefined) => Object.fromEntries(Object.entries(row ?? {}).map(([name, text]) => [name, text.slice(0, 60)]));

/** The first few keys of each kind of difference. */
function differences(is: ReadonlyMap<string, Row>, was: ReadonlyMap<string, Row>) {
  const same = (a: Row, b: Row | undefined): boolean =>
    b !== undefined && Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([name, text]) => b[name] === text);
  return {
    missing: [...was.keys()].filter((key) => !is.has(key)).slice(0, SHOWN),
    surplus: [...is.keys()].filter((key) => !was.has(key)).slice(0, SHOWN),
    different: [...was]
      .filter(([key, row]) => is.has(key) && !same(row, is.get(key)))
      .slice(0, SHOWN)
      .map(([key, row]) => ({ key, was: short(row), is: short(is.get(key)) })),
  };
}
