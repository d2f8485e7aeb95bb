import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { newSnapshotId, lineageOf, storeName, volumeName } from '../../../src/domain/ids.ts';
import { startKafka, type RunningKafka } from '../../../src/faces/stack/kafka.ts';
import { startEvents, type EventsServiceOptions } from '../../../src/systems/events/events-service.ts';
import { eventsStatus } from '../../../src/systems/events/status.ts';
import { describeWith, finder } from '../../faces/stack/describe-with.ts';
import { createInstallation, type Installation } from '../installation.ts';
import { clusterOf, readTopic, requirePromises } from './topic.ts';

const TOPIC = 'holdfast.events';

const configure = async ({ home }: Installation, brokers: readonly string[], generation = 1): Promise<void> => {
  const events = { cluster: clusterOf(brokers), topic: TOPIC, partitions: 3, generation };
  await home.catalog.append(() => ({ kind: 'EVENTS_SET', events }));
};

const serve = ({ home }: Installation, observer: NonNullable<EventsServiceOptions['observer']> = {}) =>
  startEvents({ home, start: () => Promise.resolve('started'), isGone: () => true, observer });

/** Records in the catalog and in a repository, of several keys. */
async function work(installation: Installation, rounds: number, from = 0): Promise<void> {
  const { home } = installation;
  for (let i = from; i < from + rounds; i++) {
    await home.catalog.append(() => ({ kind: 'JOB_BEGIN', id: `j${i}`, job: 'captureSnapshot', input: { volume: i % 2 ? 'a' : 'b' } }));
    await home.catalog.append(() => ({ kind: 'JOB_END', id: `j${i}`, outcome: 'done', summary: '' }));
    const repository = await installation.repository('cloud', 'a');
    const snapshot = newSnapshotId(Date.now(), Math.random);
    const lineage = lineageOf(volumeName(i % 3 ? 'a' : 'c'), 1);
    await repository.append(() => ({ kind: 'CLAIM', actor: lineage, snapshot, owner: 'test', attempt: i + 1, adopt: false }));
  }
}

const describeKafka = await describeWith('kafka');
describeKafka('the relay', () => {
  let folder: string;
  let broker: RunningKafka;
  let installation: Installation;
  const port = (): number => Number(broker.brokers[0]?.split(':')[1]);

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'holdfast-relay-'));
    broker = await startKafka({ dir: path.join(folder, 'broker'), durability: 'durable' }, finder);
    installation = await createInstallation();
    await installation.addStore('cloud');
    await installation.addVolume('a', ['cloud'], { sizeBytes: 1 << 20, extentBytes: 1 << 18, writes: [] });
    await installation.home.repository(storeName('cloud'), 'a' as never, true);
  }, 120_000);
  afterAll(async () => {
    await installation[Symbol.asyncDispose]();
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const recordsOf = async (): Promise<number> => (await installation.home.catalog.sync()).n;

  /** The service has nothing before it, and has noted that of both logs as they are now. */
  async function untilRelayed(service: ReturnType<typeof startEvents>, withinMs = 90_000): Promise<void> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const states = service.states();
      const { logs } = await eventsStatus(installation.home);
      const quiet = states.length > 1 && states.every(({ oldestMs, error }) => oldestMs === null && error === null);
      if (quiet && logs.length === 2 && logs.every(({ lagRecords }) => lagRecords === 0)) return;
      if (Date.now() > deadline) throw new Error(`not relayed: ${JSON.stringify({ states, logs })}`);
      await sleep(200);
    }
  }

  test('sends every record of every log once while nothing goes wrong', async () => {
    await work(installation, 10);
    await configure(installation, broker.brokers);
    await using service = serve(installation);
    await untilRelayed(service);
    const seen = await readTopic(broker.brokers, TOPIC);
    const logs = requirePromises(seen);
    expect(logs.size).toBe(2);
    expect(seen.length).toBe([...logs.values()].flat().length);
    expect(new Set(logs.get(installation.home.catalogPlace.id)).size).toBe(await recordsOf());
    expect(new Set(seen.map(({ key }) => key))).toEqual(new Set(['cloud', 'a@1', 'c@1', 'b', 'cloud/a', 'catalog']));
    expect(seen[0]?.contentType).toMatch(/^application\/cloudevents\+json/);
    expect(JSON.stringify(seen)).not.toMatch(/HOLDFAST_PASSPHRASE|correct horse/);
  }, 120_000);

  test('the next process goes on behind the last one and repeats nothing that was noted', async () => {
    const before = (await readTopic(broker.brokers, TOPIC)).length;
    await work(installation, 2, 20);
    await using service = serve(installation);
    await untilRelayed(service);
    const seen = await readTopic(broker.brokers, TOPIC);
    requirePromises(seen);
    // Two of the catalog and one of the repository each.
    expect(seen.length - before).toBe(6);
  }, 120_000);

  test('a broker that is killed and comes back gets everything, in order', async () => {
    const failures: unknown[] = [];
    await using service = serve(installation, { failed: (_, error) => failures.push(error) });
    // As it relays, and long before the work is done.
    await work(installation, 10, 1000);
    await untilRelayed(service);
    const working = work(installation, 300, 2000);
    await sleep(300);
    await broker.kill();
    await working;
    await sleep(3000);
    expect(service.states().some(({ oldestMs }) => oldestMs !== null)).toBe(true);
    broker = await startKafka({ dir: path.join(folder, 'broker'), port: port(), durability: 'durable' }, finder);
    await untilRelayed(service);
    const seen = await readTopic(broker.brokers, TOPIC);
    const logs = requirePromises(seen);
    expect(logs.get(installation.home.catalogPlace.id)?.length).toBe(await recordsOf());
    expect(failures.length).toBeGreaterThan(0);
  }, 240_000);
});
