import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lineageOf, newSnapshotId, storeName, volumeName } from '../../../src/domain/ids.ts';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { eventsStatus } from '../../../src/systems/events/status.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';
import { createInstallation, HOST, type Installation } from '../installation.ts';
import { POINTS, type Point } from './relay-process.ts';
import { clusterOf, produce, readTopic, requirePromises } from './topic.ts';

const describeKafka = await describeWith('kafka');
describeKafka('a relay that is killed with -9', () => {
  let folder: string;
  let broker: RunningKafka;
  let installation: Installation;
  let written = 0;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'holdfast-kills-'));
    broker = await startKafka({ dir: path.join(folder, 'broker'), durability: 'durable' }, finder);
    installation = await createInstallation();
    await installation.addStore('cloud');
    await installation.addVolume('a', ['cloud'], { sizeBytes: 1 << 20, extentBytes: 1 << 18, writes: [] });
    await installation.home.repository(storeName('cloud'), 'a' as never, true);
    const events = { cluster: clusterOf(broker.brokers), topic: 'holdfast.events', partitions: 3, generation: 1 };
    await installation.home.catalog.append(() => ({ kind: 'EVENTS_SET', events }));
  }, 120_000);
  afterAll(async () => {
    await installation[Symbol.asyncDispose]();
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function write(records: number): Promise<void> {
    const repository = await installation.repository('cloud', 'a');
    for (const end = written + records; written < end; written++) {
      const snapshot = newSnapshotId(Date.now(), Math.random);
      const actor = lineageOf(volumeName(`v${written % 5}`), 1);
      await repository.append(() => ({ kind: 'CLAIM', actor, snapshot, owner: 'test', attempt: written + 1, adopt: false }));
      await installation.home.catalog.append(() => ({ kind: 'JOB_BEGIN', id: `j${written}`, job: 'x', input: { volume: 'a' } }));
    }
  }

  const relay = (point: Point, nth: number): ChildProcess =>
    spawn(process.execPath, [path.join(import.meta.dirname, 'relay-process.ts'), installation.folder, point, String(nth)], {
      env: { ...process.env, ...installation.variables },
      stdio: ['ignore', 'inherit', 'inherit'],
    });

  /** By this one: what others before it relayed may be all there is, while it has not begun and would not yet end as it is told to. */
  async function untilRelayed(child: ChildProcess): Promise<void> {
    for (let waits = 0; waits < 450; waits++) {
      const { holder, logs } = await eventsStatus(installation.home);
      if (holder === `${HOST}/${child.pid}` && logs.length === 2 && logs.every(({ lagRecords }) => lagRecords === 0)) return;
      await sleep(200);
    }
    throw new Error(`not relayed: ${JSON.stringify(await eventsStatus(installation.home))}`);
  }

  /** As a controller ends: it finishes, and gives the register back. */
  async function end(child: ChildProcess): Promise<void> {
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect((await eventsStatus(installation.home)).holder).toBeNull();
  }

  async function requireAll(): Promise<readonly { readonly id: string }[]> {
    const seen = await readTopic(broker.brokers, 'holdfast.events');
    const logs = requirePromises(seen);
    const catalog = await installation.home.catalog.sync();
    expect(logs.get(installation.home.catalogPlace.id)).toHaveLength(catalog.n);
    expect(logs.get(catalog.repositories.get('cloud/a') ?? '')).toHaveLength(written);
    return seen.map(({ event }) => event);
  }

  test('at each point loses nothing, keeps the order of each key, and repeats only under the same ids', async () => {
    for (const point of POINTS)
      for (const nth of [1, 3]) {
        await write(40);
        const child = relay(point, nth);
        // Something is written while it works, so that a position is noted more than once.
        const writing = (async () => {
          while (child.exitCode === null && child.signalCode === null) {
            await write(1);
            await sleep(100);
          }
        })();
        const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
        await writing;
        expect([point, nth, signal]).toEqual([point, nth, 'SIGKILL']);
      }
    const last = relay('none', 1);
    await untilRelayed(last);
    await end(last);
    const events = await requireAll();
    // Those of "after send" alone were sent twice at the least.
    expect(events.length).toBeGreaterThan(new Set(events.map(({ id }) => id)).size);
  }, 360_000);

  test('lives on when its brokers are killed, as producer and as consumer, and goes on when they are back', async () => {
    await produce(broker.brokers, 'outside', [{ value: '{}' }]);
    const filter = { type: null, source: null, subject: null, fields: [] };
    const start = { job: 'captureSnapshot' as const, input: { volume: 'a' } };
    const trigger = { name: 't', topic: 'outside', filter, start, sinceMs: 0 };
    await installation.home.catalog.append(() => ({ kind: 'TRIGGER_ADD', trigger }));
    await write(20);
    const child = relay('none', 1);
    await untilRelayed(child);
    // Long enough for its consumer to have joined.
    await sleep(5000);
    const port = Number(broker.brokers[0]?.split(':')[1]);
    await broker.kill();
    await write(50);
    await sleep(8000);
    broker = await startKafka({ dir: path.join(folder, 'broker'), port, durability: 'durable' }, finder);
    await write(10);
    await untilRelayed(child);
    await end(child);
    await requireAll();
  }, 240_000);

  test('at any moment, too', async () => {
    for (let round = 0; round < 4; round++) {
      await write(60);
      const child = relay('none', 1);
      const afterMs = 400 + Math.floor(Math.random() * 1500);
      await sleep(afterMs);
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const last = relay('none', 1);
    await untilRelayed(last);
    await end(last);
    await requireAll();
  }, 180_000);
});
