/** `holdfast table restore`, `diff` and `verify` against a real Temporal server and the workers of a stage. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { RestoreTableResult } from '../../../src/domain/jobs.ts';
import { formatMicros } from '../../../src/domain/micros.ts';
import type { FoundDifferences } from '../../../src/systems/tables/restoring-differences.ts';
import type { VerifiedTable } from '../../../src/systems/tables/restoring-verification.ts';
import { ORDERS_START_US } from '../../engine/tables/orders-table.ts';
import { amountOf, archiveOrders, BAD_US, LATEST_US, ROWS } from '../../systems/tables/orders-installation.ts';
import { raiseStage, type Stage } from '../../workflows/stage.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { cli, cliJson, errorOf, type CliOptions, type CliRun } from './run-cli.ts';

interface Report {
  readonly job: string;
  readonly state: string;
  readonly result: RestoreTableResult;
}

const BEFORE = formatMicros(ORDERS_START_US + BAD_US - 1);
const LATEST = formatMicros(ORDERS_START_US + LATEST_US);

const describeTemporal = await describeWith('temporal');
describeTemporal('holdfast table restore, diff, verify', () => {
  let stage: Stage;
  let options: CliOptions;
  let folder: string;
  const run = (...args: readonly string[]): Promise<CliRun> => cli(['table', ...args], options);
  const json = <T>(...args: readonly string[]): Promise<T> => cliJson<T>(['table', ...args], options);
  const refused = async (...args: readonly string[]) => errorOf(await run(...args, '--json'));

  beforeAll(async () => {
    stage = await raiseStage(finder);
    const { installation, temporal } = stage;
    await installation.addStore('a');
    await archiveOrders(installation);
    folder = path.join(installation.folder, 'restored');
    mkdirSync(folder);
    options = { variables: { ...installation.variables, TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: temporal.namespace } };
  }, 120_000);
  afterAll(async () => stage[Symbol.asyncDispose]());

  test('one microsecond before the bad batch: every row as it was, with proof', async () => {
    const target = path.join(folder, 'orders.csv');
    const { result, state, job } = await json<Report>('restore', 'orders', '--at', BEFORE, '--to', target);
    expect(state).toBe('done');
    expect(job).toMatch(/^restore-table\.orders\.[0-9a-f]{16}$/);
    expect(result).toMatchObject({
      table: 'orders',
      output: target,
      rows: ROWS,
      gaps: 0,
      quarantined: 0,
      unresolved: 0,
      atUs: ORDERS_START_US + BAD_US - 1,
    });
    expect(result.partitions.map(({ base }) => base)).toEqual([ROWS / 2, null]);
    expect(readFileSync(target, 'utf8').split('\n')).toEqual([
      'id,amount,note,placed',
      ...Array.from({ length: ROWS }, (_, id) => `${id},${amountOf(id)},n ${id},`),
      '',
    ]);
    // By the transaction it is the same table.
    const again = await json<Report>('restore', 'orders', '--before-transaction', '13', '--to', path.join(folder, 'again.jsonl'));
    expect([again.result.hash, again.result.cut]).toEqual([result.hash, result.cut]);
    const byPlace = await json<Report>(
      'restore',
      'orders',
      '--position',
      result.cut ?? '',
      '--to',
      path.join(folder, 'place.sql'),
      '--sql-table',
      'x.y',
    );
    expect(byPlace.result.hash).toBe(result.hash);
    expect(readFileSync(path.join(folder, 'place.sql'), 'utf8')).toContain('CREATE TABLE "x"."y"');
    const latest = await json<Report>('restore', 'orders', '--to', path.join(folder, 'latest.parquet'));
    expect(latest.result).toMatchObject({ rows: ROWS, atUs: ORDERS_START_US + LATEST_US });
    expect(latest.result.hash).not.toBe(result.hash);
    expect(readdirSync(folder).sort()).toEqual(['again.jsonl', 'latest.parquet', 'orders.csv', 'place.sql']);
  });

  test('what is there is refused and stays; a relative time outside of the window is answered with the window', async () => {
    const target = path.join(folder, 'there.csv');
    writeFileSync(target, 'precious');
    expect(await refused('restore', 'orders', '--at', BEFORE, '--to', target)).toMatchObject({ code: 'TARGET_EXISTS', exitCode: 4 });
    expect(readFileSync(target, 'utf8')).toBe('precious');
    const outside = await refused('restore', 'orders', '--at', '5m', '--to', path.join(folder, 'never.csv'));
    expect(outside).toMatchObject({ code: 'PAST_OUTSIDE', exitCode: 4 });
    expect(outside.message).toContain(`to ${LATEST}; the nearest is ${LATEST}`);
    expect(await refused('restore', 'orders', '--after-transaction', '99', '--to', path.join(folder, 'never.csv'))).toMatchObject({
      code: 'TRANSACTION_NOT_FOUND',
    });
    expect(await refused('restore', 'nowhere', '--to', path.join(folder, 'never.csv'))).toMatchObject({ code: 'TABLE_NOT_FOUND' });
    expect(existsSync(path.join(folder, 'never.csv'))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test.each([
    [['--to', 'x'], '--format'],
    [['--to', 'x.csv', '--at', 'yesterday'], '--at'],
    [['--to', 'x.csv', '--at', '2026-13-01T00:00:00Z'], '--at'],
    [['--to', 'x.csv', '--position', '12'], '--position'],
    [['--to', 's3://bucket/x.csv'], '--to'],
    [['--to', 'postgres://u:hunter2@h/d'], '--to'],
    [['--to', 'topic:a b'], 'topic'],
    [['--to', 'topic:a', '--partitions', '0'], 'partitions'],
    [['--to', 'x.csv', '--password', 'hunter2'], 'passphrase'],
    [['--to', 'postgres://u@h/d', '--sql-table', 'a.b.c'], 'table'],
    [['--to', 'x.csv', '--at', 'latest', '--after-transaction', '1'], 'command line'],
  ])('bad input is refused at the edge: %j', async (args, field) => {
    const { out, err, code } = await run('restore', 'orders', ...args, '--json');
    expect({ out, code }).toEqual({ out: '', code: 2 });
    expect(JSON.stringify(JSON.parse(err))).toContain(field);
    expect(err).not.toContain('hunter2');
  });

  test('the differences that undo the bad batch', async () => {
    const undo = path.join(folder, 'undo.sql');
    const found = await json<FoundDifferences>('diff', 'orders', '--transaction', '13', '--sql-table', 'public.orders', '--output', undo);
    expect(found.counts).toEqual({ insert: 1, update: 10, delete: 0, changedSince: 0 });
    expect(readFileSync(undo, 'utf8').split('\n')).toContain(
      `UPDATE "public"."orders" SET "amount" = '3.03' WHERE "id" = '3' AND "amount" = '0.50';`,
    );
    expect(await refused('diff', 'orders', '--transaction', '13', '--output', undo)).toMatchObject({ code: 'TARGET_EXISTS' });
    const one = await run('diff', 'orders', '--at', BEFORE, '--key', '{ "id": 3 }');
    expect(one.code).toBe(0);
    expect(JSON.parse(one.out)).toMatchObject({ op: 'update', key: { id: 3 } });
    expect(one.err).toContain('0 rows to insert, 1 to change, 0 to delete');
    const where = await run('diff', 'orders', '--at', BEFORE, '--where', "note = 'newer'");
    expect(
      where.out
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { readonly op: string }).op),
    ).toEqual(['delete']);
    expect(await refused('diff', 'orders', '--at', BEFORE, '--where', 'nonsense', '--output', 'x.jsonl')).toMatchObject({
      code: 'ARGUMENT_INVALID',
    });
    expect(await refused('diff', 'orders')).toMatchObject({ code: 'ARGUMENT_INVALID' });
  });

  test('verify: the same by two ways; and what is damaged is found', async () => {
    const found = await json<VerifiedTable>('verify', 'orders', '--depth', 'all');
    expect(found).toMatchObject({ sound: true, packs: { damagedFiles: 0 }, fold: { same: true, independent: true } });
    const text = await run('verify', 'orders', '--at', BEFORE);
    expect(text.out).toMatch(/^orders: sound; \d+ files of \d+ there/);
    const segments = path.join(stage.installation.storeFolder('a'), 'tables', 'orders', 'segment');
    const [claim = ''] = readdirSync(segments);
    const [pack = ''] = readdirSync(path.join(segments, claim));
    rmSync(path.join(segments, claim, pack));
    const damaged = await run('verify', 'orders');
    expect(damaged.code).toBe(5);
    expect(damaged.out).toContain('NOT SOUND');
    expect(damaged.out).toContain(pack);
  });
});
