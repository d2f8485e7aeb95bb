/**
 * A table: somebody runs an UPDATE without its WHERE; while the shop goes on, what that one transaction did is undone from the past state of one
 * second before, and PostgreSQL says that the rows are the ones it had.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { parseMicros } from '../../../domain/micros.ts';
import type { DemoContext } from '../demo-context.ts';
import { STORES } from '../demo-folder.ts';
import { openShop, ORDERS, TOPICS, type Shop } from '../shop.ts';
import { requireThat, type Outcome, type Step } from '../step.ts';

const [STORE] = STORES;
const LATEST_WITHIN_MS = 60_000;
const POLL_MS = 300;
/** Orders that come in after the bad transaction: they have to stay as they are. */
const LATER = 25;

const status = z.looseObject({ window: z.looseObject({ latestUs: z.number().nullable() }) });
const restored = z.looseObject({ state: z.literal('done') });
const found = z.looseObject({ counts: z.looseObject({ insert: z.number(), update: z.number(), delete: z.number() }) });
const tables = z.array(z.looseObject({ archiving: z.boolean() }));

/** Waits until past states can be had up to a moment. */
async function untilArchived({ programs, installation, signal }: DemoContext, us: number): Promise<void> {
  for (let waited = 0; waited < LATEST_WITHIN_MS; waited += POLL_MS) {
    const ran = await programs.holdfast(['table', 'status', ORDERS, '--json'], installation.variables);
    // Until the archiver has made the archive there is none.
    if (ran.status === 0 && (status.parse(JSON.parse(ran.stdout)).window.latestUs ?? 0) >= us) return;
    await sleep(POLL_MS, undefined, { signal });
  }
  requireThat(false, `within ${LATEST_WITHIN_MS / 1000} s the archive did not come up to what the database had committed`);
}

const microsOf = (text: string): number => Number(parseMicros(text));
const nowIs = async (shop: Shop): Promise<number> =>
  microsOf(await shop.psql(`SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`));

interface Mistake {
  readonly transaction: string;
  /** One second before it was committed. */
  readonly before: string;
}

async function makeMistake(shop: Shop): Promise<Mistake> {
  await shop.psql(`UPDATE ${ORDERS} SET amount = amount + 1 WHERE id % 7 = 0`);
  await shop.psql(`CREATE TABLE kept AS TABLE ${ORDERS}`);
  await sleep(1200);
  const said = await shop.psql(`BEGIN; UPDATE ${ORDERS} SET amount = 0, note = NULL; SELECT pg_current_xact_id(); COMMIT`);
  const before = await shop.psql(
    `SELECT to_char((pg_xact_commit_timestamp('${said}'::xid) - interval '1 second') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  );
  await shop.psql(`INSERT INTO ${ORDERS} SELECT 100000 + g, 'after the mistake', g, now(), NULL FROM generate_series(1, ${LATER}) g`);
  return { transaction: said, before };
}

/** Rows of `a` that `b` does not have, as PostgreSQL counts them. */
const without = async (shop: Shop, a: string, b: string): Promise<number> =>
  Number(await shop.psql(`SELECT count(*) FROM (SELECT * FROM ${a} EXCEPT SELECT * FROM ${b}) x`));

async function archiveOrders({ programs, installation }: DemoContext, { brokers }: Shop): Promise<void> {
  const { variables } = installation;
  const from = [
    '--brokers',
    brokers.join(','),
    '--topic',
    TOPICS.orders,
    '--transactions',
    TOPICS.transactions,
    '--heartbeat',
    TOPICS.pulse,
  ];
  await programs.holdfastJson(z.unknown(), ['table', 'add', ORDERS, '--store', STORE, ...from], variables);
  await installation.startWorker('tables');
  await programs.holdfastJson(z.unknown(), ['table', 'archive', 'start', ORDERS], variables);
}

/** Nothing of it may be under way when the next step takes servers away. */
async function endArchive({ programs, installation, signal }: DemoContext): Promise<void> {
  const { variables } = installation;
  await programs.holdfastJson(z.unknown(), ['table', 'archive', 'stop', ORDERS], variables);
  for (let waits = 0; waits < 50; waits++) {
    const all = await programs.holdfastJson(tables, ['table', 'list'], variables);
    if (all.every(({ archiving }) => !archiving)) break;
    await sleep(POLL_MS, undefined, { signal });
  }
  await installation.stopWorker('tables');
  await programs.holdfastJson(z.unknown(), ['table', 'remove', ORDERS], variables);
}

async function undoOn(context: DemoContext, shop: Shop): Promise<Outcome> {
  const { folder, programs, installation, note } = context;
  await archiveOrders(context, shop);
  await untilArchived(context, await nowIs(shop));
  const { transaction, before } = await makeMistake(shop);
  const harmed = await without(shop, 'kept', ORDERS);
  note('the archive catches up');
  const begunMs = performance.now();
  await untilArchived(context, await nowIs(shop));
  const lagSeconds = (performance.now() - begunMs) / 1000;

  note('holdfast table restore and table diff');
  const variables = { ...installation.variables, DEMO_PGPASSWORD: shop.postgres.password };
  const csv = folder.inside('restored', 'orders.csv');
  await programs.holdfastJson(restored, ['table', 'restore', ORDERS, '--at', before, '--to', csv], variables);
  const undo = folder.inside('restored', 'undo.sql');
  const asked = ['--at', before, '--transaction', transaction, '--sql-table', `public.${ORDERS}`, '--output', undo];
  const { counts } = await programs.holdfastJson(found, ['table', 'diff', ORDERS, ...asked], variables);
  requireThat(counts.update === harmed, `${counts.update} rows are to be changed back, and ${harmed} were harmed`);
  await shop.psql(`CREATE TABLE restored (LIKE ${ORDERS})`);
  await shop.psql(String.raw`\copy restored FROM '${csv}' WITH (FORMAT csv, HEADER)`);
  const wrong = (await without(shop, 'restored', 'kept')) + (await without(shop, 'kept', 'restored'));
  requireThat(wrong === 0, `${wrong} rows of the past state are not what the database had`);
  const { line } = await shop.psqlFile(undo);
  const missing = await without(shop, 'kept', ORDERS);
  const rows = Number(await shop.psql(`SELECT count(*) FROM ${ORDERS}`));
  const kept = Number(await shop.psql('SELECT count(*) FROM kept'));
  requireThat(missing === 0 && rows === kept + LATER, `${missing} rows are not what they were, and there are ${rows}`);
  programs.remember({ line }, `${kept} rows are what they were before the mistake, and ${LATER} that came after it have stayed`);
  await endArchive(context);
  return {
    figures: { rows: kept, harmed, undone: counts.update, later: LATER, lagSeconds },
    lines: [
      `an UPDATE without its WHERE harmed ${harmed} of ${kept} orders; ${LATER} new ones came in after it`,
      `undone by the difference to ${before}, one second before; PostgreSQL finds the rows it had, and the new ones`,
    ],
  };
}

export const undo: Step<DemoContext> = {
  name: 'undo',
  title: 'a table of PostgreSQL: a bad UPDATE undone from what was there one second before',
  async run(context) {
    const shop = await openShop(context);
    if (typeof shop === 'string') return { figures: { shown: false, missing: shop }, lines: [`not shown here: ${shop}`] };
    await using stands = shop;
    return await undoOn(context, stands);
  },
};
