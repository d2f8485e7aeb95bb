/**
 * Somebody's database, as the demo needs one: PostgreSQL with a table of orders, Debezium, and a broker with the table's topics. All of this session, in
 * its folder, and gone with it. What is missing on the machine is told, and then there is none.
 */
import path from 'node:path';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { FinderOptions } from '../stack/component.ts';
import { DEBEZIUM, ensureDebezium, ensureKafka } from '../stack/components.ts';
import { startDebezium } from '../stack/debezium.ts';
import { findJava } from '../stack/java.ts';
import { startKafka } from '../stack/kafka.ts';
import { findPostgres, startPostgres, type PostgresAddress } from '../stack/postgres.ts';
import type { DemoContext } from './demo-context.ts';

export const ORDERS = 'orders';
const ORDERS_COUNT = 2000;
const PREFIX = 'shop';
export const TOPICS = {
  orders: `${PREFIX}.public.orders`,
  pulse: `${PREFIX}.public.pulse`,
  transactions: `${PREFIX}.transaction`,
} as const;

const SCHEMA = `
  CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, amount numeric(12,2) NOT NULL, placed timestamptz NOT NULL, note text);
  INSERT INTO orders SELECT g, 'customer ' || g % 97, g * 1.25, now() - g * interval '1 minute', CASE WHEN g % 50 = 0 THEN repeat('a long note ', 500) END
    FROM generate_series(1, ${ORDERS_COUNT}) g;
  CREATE TABLE pulse (id int PRIMARY KEY, at timestamptz);
  INSERT INTO pulse VALUES (1, now());
`;

export interface Shop extends AsyncDisposable {
  readonly postgres: PostgresAddress;
  readonly brokers: readonly string[];
  /** By PostgreSQL's own `psql`: rows as it prints them, without titles. */
  psql(statements: string): Promise<string>;
  /** The same, from a file. */
  psqlFile(file: string): Promise<{ readonly line: string; readonly said: string }>;
}

/** What this machine lacks for a shop, and what to install; null: nothing. Provisions what can be had. */
export async function missingForShop(finder: FinderOptions): Promise<string | null> {
  try {
    await findPostgres(finder);
    await findJava(DEBEZIUM, finder);
    await ensureKafka(finder);
    await ensureDebezium(finder);
    return null;
  } catch (error) {
    if (isHoldfastError(error, 'COMPONENT_UNAVAILABLE')) return error.message;
    throw error;
  }
}

/** The shop; or, in a sentence, what this machine lacks for it. */
export async function openShop(context: DemoContext): Promise<Shop | string> {
  const finder = { environment: context.installation.stack, progress: (line: string) => context.note(line) };
  return (await missingForShop(finder)) ?? startShop(context, finder);
}

async function startShop({ folder, programs, note }: DemoContext, finder: FinderOptions): Promise<Shop> {
  await using stack = new AsyncDisposableStack();
  const programsDir = await findPostgres(finder);
  note('PostgreSQL, Kafka and Debezium');
  const [postgres, kafka] = await Promise.all([
    startPostgres({}, finder).then((server) => stack.use(server)),
    startKafka({ dir: folder.inside('kafka'), logFile: path.join(folder.logs, 'kafka.log') }, finder).then((server) => stack.use(server)),
  ]);
  const { host, port, user, password, database } = postgres;
  const where = ['-h', host, '-p', String(port), '-U', user, '-d', database];
  const run = async (args: readonly string[]): Promise<{ readonly line: string; readonly said: string }> => {
    const own = { ...process.env, PGPASSWORD: password };
    const ran = await programs.run(path.join(programsDir, 'psql'), [...where, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...args], {
      env: own,
    });
    if (ran.status !== 0) throw new HoldfastError('INTERNAL', `psql ended with ${ran.status}: ${ran.stderr.trim()}`);
    return { line: ran.line, said: ran.stdout.trim() };
  };
  const psql = async (statements: string): Promise<string> => (await run(['-c', statements])).said;
  await psql(SCHEMA);
  stack.use(
    await startDebezium(
      {
        ...{ dir: folder.inside('debezium'), brokers: kafka.brokers, postgres, prefix: PREFIX, withSchemas: true },
        tables: ['public.orders', 'public.pulse'],
        settings: { 'heartbeat.action.query': 'UPDATE pulse SET at = now()', 'decimal.handling.mode': 'precise' },
      },
      finder,
    ),
  );
  const whole = stack.move();
  return {
    ...{ postgres, brokers: kafka.brokers, psql },
    psqlFile: (file) => run(['-f', file]),
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}
