/**
 * Clients that change the tables at the same time, by the dice: a few statements a transaction, some of them rolled back as a whole or to
 * a savepoint. Which of two transactions waits for the other is the database's business, so a seed repeats what is asked and not its order.
 *
 * TRUNCATE is not seen as of a snapshot: whoever reads with an older one finds the table empty. So it takes turns with the oracle.
 */
import pg from 'pg';
import type { PostgresAddress } from '../../../src/faces/stack/postgres.ts';

export type Random = () => number;

/** What may not happen at once: truncates, and an oracle that reads. */
export interface Turn {
  take<T>(work: () => Promise<T>): Promise<T>;
}

export function createTurn(): Turn {
  let last: Promise<unknown> = Promise.resolve();
  return {
    take(work) {
      const mine = last.then(work);
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}

export interface Writers {
  /** Numbers of the transactions that were committed, in no order. */
  readonly committed: readonly bigint[];
  readonly refused: () => number;
  /** From now on customers have a column `tier`. */
  addColumn(): Promise<void>;
  stop(): Promise<void>;
}

interface Dice {
  readonly random: Random;
  readonly below: (bound: number) => number;
  readonly text: (bytes: number) => string;
}

const diceOf = (random: Random): Dice => {
  const below = (bound: number): number => Math.floor(random() * bound);
  return {
    random,
    below,
    text: (bytes) =>
      below(2 ** 30)
        .toString(36)
        .repeat(Math.ceil(bytes / 5))
        .slice(0, bytes),
  };
};

type Statement = readonly [string, ...unknown[]];

/** Half of all large values are stored beside their row, where an update that leaves them alone does not log them. */
const largeText = ({ random, text }: Dice): string | null =>
  random() < 0.2 ? null : text(random() < 0.5 ? 20 : 3000 + Math.floor(random() * 9000));

function customerStatement(dice: Dice, hasTier: boolean): Statement {
  const { below, random, text } = dice;
  const id = 1 + below(150);
  const what = random();
  if (what < 0.25)
    return [
      `INSERT INTO customers (id, name, note, balance, seen, doc) VALUES ($1, $2, $3, $4, clock_timestamp(), $5) ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
      ...[id, text(8), largeText(dice), below(1e6) / 100, JSON.stringify({ text: text(5), number: below(9), deep: [null, { a: 'ü"\n' }] })],
    ];
  if (what < 0.5) return [`UPDATE customers SET balance = balance + $2, seen = clock_timestamp() WHERE id = $1`, id, below(1000) / 100];
  if (what < 0.6) return [`UPDATE customers SET note = $2 WHERE id = $1`, id, largeText(dice)];
  // Its key changes, and the large value is not logged again.
  if (what < 0.75)
    return [`UPDATE customers SET id = $2 WHERE id = $1 AND NOT EXISTS (SELECT FROM customers WHERE id = $2)`, id, 1 + below(150)];
  if (what < 0.85 && hasTier) return [`UPDATE customers SET tier = $2 WHERE id = $1`, id, below(5)];
  if (what < 0.88) return [`UPDATE customers SET balance = balance + 1`];
  return [`DELETE FROM customers WHERE id = $1`, id];
}

function orderStatement(dice: Dice): Statement {
  const { below, random, text } = dice;
  const id = String(9007199254740993n + BigInt(below(120)));
  const what = random();
  if (what < 0.3)
    return [
      `INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET weight = excluded.weight`,
      ...[
        id,
        below(150),
        below(100) + 0.25,
        largeText(dice),
        Buffer.from(text(random() < 0.5 ? 10 : 6000)),
        [text(4), null],
        random() < 0.5,
      ],
    ];
  if (what < 0.6) return [`UPDATE orders SET weight = $2, paid = NOT paid WHERE id = $1`, id, below(100) + 0.75];
  if (what < 0.7) return [`UPDATE orders SET big = $2 WHERE id = $1`, id, largeText(dice)];
  if (what < 0.75) return [`UPDATE orders SET photo = NULL WHERE id = $1`, id];
  return [`DELETE FROM orders WHERE id = $1`, id];
}

function itemStatement({ below, random, text }: Dice): Statement {
  const [shop, line] = [below(7), 1 + below(400)];
  const what = random();
  if (what < 0.3) return [`INSERT INTO items VALUES ($1, $2, $3, current_date) ON CONFLICT DO NOTHING`, shop, line, text(9)];
  if (what < 0.5) return [`UPDATE items SET sku = $3 WHERE shop = $1 AND line % 10 = $2`, shop, line % 10, text(6)];
  // Every line of a shop gets another key.
  if (what < 0.6) return [`UPDATE items SET line = -line WHERE shop = $1`, shop];
  if (what < 0.7) return [`INSERT INTO items SELECT $1, g, 'bulk', NULL FROM generate_series(1000, 1100) g ON CONFLICT DO NOTHING`, shop];
  if (what < 0.75) return [`DELETE FROM items WHERE line >= 1000`];
  // COPY logs many rows at once: they share a place in the log.
  if (what < 0.8)
    return [
      `COPY items FROM PROGRAM 'for i in 1 2 3 4 5 6 7 8; do echo "${100 + below(1e6)},$i,copied,2026-02-0$i"; done' WITH (FORMAT csv)`,
    ];
  return [`DELETE FROM items WHERE shop = $1 AND line = $2`, shop, line];
}

const TRUNCATES = ['TRUNCATE items', 'TRUNCATE items, orders', 'TRUNCATE items'];

/** What the database answers when another transaction was in the way. */
const IN_THE_WAY = new Set(['40P01', '40001', '23505', '55P03']);

export async function startWriters(
  address: PostgresAddress,
  count: number,
  randomOf: (writer: number) => Random,
  turn: Turn,
): Promise<Writers> {
  const committed: bigint[] = [];
  let [refused, running, hasTier] = [0, true, false];

  const statement = (dice: Dice): Statement => {
    const what = dice.random();
    if (what < 0.4) return customerStatement(dice, hasTier);
    return what < 0.75 ? orderStatement(dice) : itemStatement(dice);
  };
  const some = async (client: pg.Client, dice: Dice): Promise<void> => {
    for (let left = 1 + dice.below(5); left > 0; left--) {
      const [sql, ...values] = statement(dice);
      await client.query(sql, values);
    }
  };
  const transaction = async (client: pg.Client, dice: Dice, truncate: string | null): Promise<void> => {
    await client.query('BEGIN');
    try {
      await some(client, dice);
      if (dice.random() < 0.15) {
        await client.query('SAVEPOINT here');
        await some(client, dice);
        await client.query(dice.random() < 0.7 ? 'ROLLBACK TO here' : 'RELEASE here');
      }
      if (truncate !== null) {
        await client.query(truncate);
        await some(client, dice);
      }
      const { rows } = await client.query<{ id: string | null }>('SELECT pg_current_xact_id_if_assigned()::text AS id');
      const kept = dice.random() >= 0.08;
      await client.query(kept ? 'COMMIT' : 'ROLLBACK');
      const id = rows[0]?.id ?? null;
      if (kept && id !== null) committed.push(BigInt(id));
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || !IN_THE_WAY.has(error.code ?? '')) throw error;
      refused++;
      await client.query('ROLLBACK');
    }
  };
  const write = async (number: number): Promise<void> => {
    const dice = diceOf(randomOf(number));
    const client = new pg.Client(address);
    await client.connect();
    await client.query(`SET lock_timeout = '2s'`);
    while (running) {
      if (dice.random() < 0.01) await turn.take(() => transaction(client, dice, TRUNCATES[dice.below(TRUNCATES.length)] ?? null));
      else await transaction(client, dice, null);
      // Some rest, so that the connector has a chance on the same two cores.
      await client.query(`SELECT pg_sleep($1)`, [dice.random() * 0.03]);
    }
    await client.end();
  };

  const all = Array.from({ length: count }, (_, number) => write(number));
  for (const one of all) one.catch(() => undefined);
  return {
    committed,
    refused: () => refused,
    async addColumn() {
      const client = new pg.Client(address);
      await client.connect();
      await turn.take(() => client.query('ALTER TABLE customers ADD COLUMN tier int'));
      hasTier = true;
      await client.end();
    },
    async stop() {
      running = false;
      await Promise.all(all);
    },
  };
}
