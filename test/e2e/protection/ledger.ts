/**
 * A ledger that some clients write to: each adds entries with numbers that rise by one, and puts their amounts into accounts, in one
 * transaction each. So a database tells by itself which transactions it holds, and whether it holds any of them by halves.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Cluster } from './cluster.ts';

const CLIENTS = 4;
const ACCOUNTS = 2000;
const WAITS_MS = 120_000;

const SCHEMA = `
  CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, note text NOT NULL);
  CREATE TABLE entries (client int, id int, account int NOT NULL REFERENCES accounts, amount bigint NOT NULL, filler text NOT NULL, PRIMARY KEY (client, id));
  CREATE INDEX ON entries (account);
  INSERT INTO accounts SELECT g, 0, repeat(md5(g::text), 10) FROM generate_series(0, ${ACCOUNTS - 1}) g;
`;
/** Many lines, and below what would be compressed. */
const filler = (client: string, id: string): string => `repeat(md5(${client} || '-' || ${id}), 50)`;

/** For each client the number of the last of its entries. */
export type Progress = readonly number[];

export interface Writers {
  /** Sent: may be committed. */
  sent(): Progress;
  /** Answered: is committed, for good. */
  answered(): Progress;
  /** Waits until each client has had so many more commits answered, and so long. */
  more(least: { readonly commits: number; readonly ms: number }): Promise<void>;
  /** They end by themselves when their server does, and not before; how each of them ended. */
  readonly ended: Promise<readonly string[]>;
}

export async function createLedger(cluster: Cluster): Promise<void> {
  const client = await cluster.connect();
  await client.query(SCHEMA);
  await client.end();
}

export async function startWriters(cluster: Cluster): Promise<Writers> {
  const sent = Array.from({ length: CLIENTS }, () => 0);
  const answered = [...sent];
  const clients = await Promise.all(sent.map(() => cluster.connect()));
  const write = async (connection: pg.Client, client: number): Promise<string> => {
    try {
      for (let id = 1; ; id++) {
        const [account, amount] = [(id * 7919 + client * 1009) % ACCOUNTS, ((id * 31 + client) % 199) - 99];
        sent[client] = id;
        await connection.query(`
          BEGIN;
          INSERT INTO entries VALUES (${client}, ${id}, ${account}, ${amount}, ${filler(`${client}`, `${id}`)});
          UPDATE accounts SET balance = balance + (${amount}) WHERE id = ${account};
          COMMIT`);
        answered[client] = id;
      }
    } catch (error) {
      return String(error);
    }
  };
  let isOver = false;
  const ended = Promise.all(clients.map(write)).finally(() => (isOver = true));
  return {
    sent: () => [...sent],
    answered: () => [...answered],
    ended,
    async more({ commits, ms }) {
      const until = sleep(ms);
      const wanted = answered.map((id) => id + commits);
      for (const deadline = Date.now() + WAITS_MS; wanted.some((id, client) => id > answered[client]!); await sleep(20))
        if (isOver || Date.now() > deadline) throw new Error(`${answered.join(', ')} are answered, and not ${wanted.join(', ')}`);
      await until;
    },
  };
}

interface Held {
  readonly client: number;
  readonly entries: number;
  readonly last: number;
}

/** The last entry of each client. Throws where a transaction is missing among others, or is there by halves. */
export async function readLedger(cluster: Cluster): Promise<Progress> {
  const client = await cluster.connect();
  const ask = async <Row extends pg.QueryResultRow>(sql: string): Promise<readonly Row[]> => (await client.query<Row>(sql)).rows;
  try {
    const held = await ask<Held>('SELECT client, count(*)::int AS entries, max(id) AS last FROM entries GROUP BY client');
    const holes = held.filter(({ entries, last }) => entries !== last);
    const spoilt = await ask(`SELECT client, id FROM entries WHERE filler <> ${filler('client', 'id')} LIMIT 5`);
    const halves = await ask(`
      SELECT a.id, a.balance, sum(e.amount) AS entries FROM accounts a LEFT JOIN entries e ON e.account = a.id
      GROUP BY a.id HAVING a.balance <> coalesce(sum(e.amount), 0) LIMIT 5`);
    const accounts = await ask(`SELECT count(*)::int AS count FROM accounts WHERE note <> repeat(md5(id::text), 10) HAVING count(*) > 0`);
    const wrong = Object.entries({ holes, spoilt, halves, accounts }).filter(([, rows]) => rows.length > 0);
    if (wrong.length > 0) throw new Error(`the ledger is not whole: ${JSON.stringify(Object.fromEntries(wrong))}`);
    return Array.from({ length: CLIENTS }, (_, one) => held.find((row) => row.client === one)?.last ?? 0);
  } finally {
    await client.end();
  }
}
