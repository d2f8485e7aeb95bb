/**
 * An archiver that is killed with SIGKILL at each named point, while its topic goes on, and started again: nothing is lost, nothing is there twice,
 * the order is kept, and what it left is litter that a sweep takes away.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { storeName } from '../../../src/domain/ids.ts';
import { tableDefinition } from '../../../src/engine/catalog/tables.ts';
import { packsOf, sweep } from '../../../src/engine/tables/archive/sweep.ts';
import { windowOf } from '../../../src/engine/tables/past-state/window.ts';
import { listAll } from '../../../src/ground/stores/object-store.ts';
import { claimTable, openTable } from '../../../src/systems/tables/opening.ts';
import { describeWith } from '../../faces/stack/describe-with.ts';
import { createInstallation, type Installation } from '../../systems/installation.ts';
import { PLAIN, raiseKafka, rowsAt, sourceOf, until, type KafkaStage } from '../../systems/tables/kafka-stage.ts';
import { ARCHIVE_POINTS, type ArchivePoint } from './archive-points.ts';

const SCRIPT = path.join(import.meta.dirname, 'archive-process.ts');
const KEYS = 40;

const describeKafka = await describeWith('kafka');
describeKafka('an archiver that is killed', () => {
  let stage: KafkaStage;
  let installation: Installation;
  let sent = 0;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    stage = await raiseKafka();
    installation = await createInstallation();
    await installation.addStore('a');
    await stage.createTopic('orders', 2);
    const table = tableDefinition.parse({
      ...{ name: 'orders', store: storeName('a'), form: PLAIN, source: sourceOf(stage, 'orders'), retainMs: null },
      snapshots: { bytes: null, changed: null, ageMs: null },
    });
    await installation.home.catalog.append(() => ({ kind: 'TABLE_ADD', table }));
  }, 120_000);
  afterAll(async () => {
    for (const child of running) child.kill('SIGKILL');
    await stage[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
  });

  const start = (point: ArchivePoint | '-'): ChildProcess => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', SCRIPT, installation.folder, 'orders', point], {
      env: { ...installation.variables },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    running.push(child);
    return child;
  };

  /** Each key's value is the number of the record that set it: what came twice or out of order shows. */
  const send = async (): Promise<void> => {
    const messages = Array.from({ length: 10 }, () => {
      const n = sent++;
      return { key: String(n % KEYS), value: JSON.stringify({ n }), partition: n % 2 };
    });
    await stage.producer.send({ topic: 'orders', messages });
  };

  const archived = async (): Promise<number> => {
    const opened = await openTable(installation.home, 'orders').catch(() => null);
    return [...(opened?.archive.known().partitions.values() ?? [])].reduce((sum, { next }) => sum + next, 0);
  };

  test.each(ARCHIVE_POINTS)('at: %s', async (point) => {
    const child = start(point);
    const ended = once(child, 'exit');
    let over = false;
    void ended.then(() => (over = true));
    await until(async () => {
      if (!over) await send();
      return over;
    });
    expect(child.signalCode).toBe('SIGKILL');
  });

  test('is whole in the end, to the last record', async () => {
    const child = start('-');
    await send();
    await until(async () => (await archived()) === sent);
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect(child.exitCode).toBe(0);
    const { archive } = await claimTable(installation.home, 'orders', 'archive');
    const state = await archive.sync();
    for (const { parts, next } of state.partitions.values()) {
      expect(parts.reduce((at, { from, to }) => (from === at ? to : NaN), 0)).toBe(next);
      expect(parts.reduce((sum, { rows, late }) => sum + rows - 1000 * late, 0)).toBe(next);
    }
    const latestUs = windowOf(state).latestUs ?? 0;
    // Of one stamp others may follow, so the very last records are not in; all that is in is as it was set last.
    const { outcome, rows } = await rowsAt(archive, latestUs);
    expect(outcome.kind).toBe('built');
    expect(rows.size).toBe(KEYS);
    for (const [key, row] of rows) {
      expect(Number(row['n']) % KEYS).toBe(Number(key));
      expect(Number(row['n'])).toBeGreaterThanOrEqual(sent - KEYS - 20);
    }

    await claimTable(installation.home, 'orders', 'snapshots');
    // Most of the litter is gone by now: the keeper sweeps when it begins.
    await sweep((await openTable(installation.home, 'orders')).archive);
    const left: string[] = [];
    for (const prefix of ['segment/', 'snapshot/']) for await (const { name } of listAll(archive.store, prefix)) left.push(name);
    expect(left.sort()).toEqual([...packsOf(state).keys()].sort());
  });
});
