import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { NativeConnection } from '@temporalio/worker';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startKafka, type RunningKafka } from '../../src/faces/stack/kafka.ts';
import type { CloudEvent } from '../../src/engine/events/cloud-event.ts';
import type { EventFilter, TriggerRecord } from '../../src/engine/catalog/triggers.ts';
import { createKafka } from '../../src/ground/kafka/kafka-cluster.ts';
import { startEvents, type EventsService } from '../../src/systems/events/events-service.ts';
import { eventsStatus } from '../../src/systems/events/status.ts';
import { createTriggerStart } from '../../workers/events.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { cli } from '../faces/cli/run-cli.ts';
import { clusterOf, produce, readTopic, requirePromises } from '../systems/events/topic.ts';
import { raiseStage, type Stage } from './stage.ts';

const EXTENT = 256 * 1024;
const any: EventFilter = { type: null, source: null, subject: null, fields: [] };
const json = (event: object): string => JSON.stringify({ specversion: '1.0', ...event });

const describeAll =
  (await describeWith('temporal')) === (await describeWith('kafka')) ? await describeWith('kafka') : await describeWith('temporal');
describeAll('events of a whole installation', () => {
  let stage: Stage;
  let broker: RunningKafka;
  let connection: NativeConnection;
  const outcomes: string[] = [];

  beforeAll(async () => {
    stage = await raiseStage(finder);
    broker = await startKafka({ dir: path.join(stage.installation.folder, 'broker'), durability: 'durable' }, finder);
    connection = await NativeConnection.connect({ address: stage.temporal.address });
    const { installation } = stage;
    await installation.addStore('cloud');
    for (const volume of ['a', 'b', 'c', 'd'])
      await installation.addVolume(volume, ['cloud'], { sizeBytes: 8 * EXTENT, extentBytes: EXTENT, writes: [] });
    const events = { cluster: clusterOf(broker.brokers), topic: 'holdfast.events', partitions: 3, generation: 1 };
    await installation.home.catalog.append(() => ({ kind: 'EVENTS_SET', events }));
  }, 180_000);
  afterAll(async () => {
    await connection?.close();
    await broker?.stop();
    await stage?.[Symbol.asyncDispose]();
  });

  const serve = (): EventsService =>
    startEvents({
      ...{ home: stage.installation.home, start: createTriggerStart(connection, stage.temporal.namespace), isGone: () => true },
      observer: { started: (trigger, outcome) => outcomes.push(`${trigger}:${outcome}`) },
    });

  const addTrigger = (name: string, topic: string, filter: EventFilter, volume: string): Promise<unknown> => {
    const start: TriggerRecord['start'] = { job: 'captureSnapshot', input: { volume } };
    return stage.installation.home.catalog.append(() => ({
      kind: 'TRIGGER_ADD',
      trigger: { name, topic, filter, start, sinceMs: Date.now() },
    }));
  };

  const forgetOffsets = async (): Promise<void> => {
    const kafka = await createKafka(clusterOf(broker.brokers), { clientId: 'test', variables: {} });
    const admin = kafka.admin();
    await admin.connect();
    await admin.deleteGroups([`holdfast-triggers-${stage.installation.home.catalogPlace.id}`]);
    await admin.disconnect();
  };

  /** How often the volume was captured, as the catalog's book has it, once all captures have ended. */
  const captures = async (volume: string): Promise<number> => {
    const log = (await readTopic(broker.brokers, 'holdfast.events')).map(({ event }) => event);
    const begun = new Set(log.filter(({ type, data }) => type === 'holdfast.catalog.job-begin' && isOf(data, volume)).map(({ id }) => id));
    return begun.size;
  };
  const isOf = (data: CloudEvent['data'], volume: string): boolean => (data as { id?: string } | undefined)?.id === `capture.${volume}`;

  async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
    for (const deadline = Date.now() + withinMs; !(await holds()); await sleep(200))
      if (Date.now() > deadline) throw new Error(`${what} does not come; ${outcomes.join(' ')}`);
  }
  const idle = async (): Promise<boolean> => {
    const { logs } = await eventsStatus(stage.installation.home);
    const jobs = [...(await stage.installation.home.catalog.sync()).jobs.values()].filter(({ job }) => job !== 'archiveTable');
    return logs.every(({ lagRecords }) => lagRecords === 0) && jobs.every(({ ended }) => ended !== null);
  };

  test('an event delivered twice starts one job, whoever delivers it and however it looks', async () => {
    await addTrigger('t-a', 'outside', { ...any, type: 'com.x.*', fields: [{ path: ['data', 'stage'], equals: 'begin' }] }, 'a');
    const event = json({ id: 'e1', source: '/x', type: 'com.x.release', data: { stage: 'begin' } });
    const other = json({ id: 'e2', source: '/x', type: 'com.y', data: { stage: 'begin' } });
    await produce(broker.brokers, 'outside', [{ value: event }, { value: other }]);
    {
      await using _ = serve();
      await until('the first start', () => outcomes.includes('t-a:started'));
      await until('an idle installation', idle);
      // The producer repeats itself, once in the binary form.
      const headers = { ce_specversion: '1.0', ce_id: 'e1', ce_source: '/x', ce_type: 'com.x.release', 'content-type': 'application/json' };
      await produce(broker.brokers, 'outside', [{ value: event }, { value: '{"stage":"begin"}', headers }]);
      await until('both duplicates', () => outcomes.filter((one) => one === 't-a:duplicate').length === 2);
    }
    // The group has lost its offsets: all that was delivered since the trigger was added is delivered once more.
    await forgetOffsets();
    await using _ = serve();
    await until('all three again', () => outcomes.filter((one) => one === 't-a:duplicate').length === 5);
    await until('an idle installation', idle);
    expect(await captures('a')).toBe(1);
  }, 120_000);

  test('garbage is passed over with its place and reason, and the next event does what it says', async () => {
    await addTrigger('t-b', 'garbage', any, 'b');
    await using _ = serve();
    const old = new Date(Date.now() - 48 * 3600 * 1000).toISOString();
    await produce(broker.brokers, 'garbage', [
      { value: '{"cut' },
      { value: null },
      { value: Buffer.from([0, 1, 2, 0xff]) },
      { value: '{}', headers: { 'content-type': 'application/cloudevents+json' } },
      { value: json({ id: 'old', source: '/x', type: 'y', time: old }) },
      { value: json({ id: 'good', source: '/x', type: 'y' }) },
    ]);
    await until('the good one', () => outcomes.includes('t-b:started'));
    await until('what was noted', async () => (await eventsStatus(stage.installation.home)).passed.length >= 5);
    const { passed } = await eventsStatus(stage.installation.home);
    expect(passed.map(({ offset, reason }) => [offset, reason.split(':')[0]])).toEqual([
      ['0', 'no JSON'],
      ['1', 'no value'],
      ['2', 'no JSON'],
      ['3', 'no CloudEvent 1.0'],
      ['4', 'too old for t-b'],
    ]);
    await until('an idle installation', idle);
    expect(await captures('b')).toBe(1);
  }, 120_000);

  test('with the brokers away for the whole of a capture the capture is what it is without events, and they come later', async () => {
    await stage.run('captureSnapshot', { volume: 'c' });
    await using service = serve();
    await until('an idle installation', idle);
    const port = Number(broker.brokers[0]?.split(':')[1]);
    await broker.kill();
    const timed = async (volume: string): Promise<number> => {
      const begunMs = performance.now();
      await stage.run('captureSnapshot', { volume });
      return performance.now() - begunMs;
    };
    const away = [await timed('d'), await timed('d'), await timed('d')];
    expect(service.states().length).toBeGreaterThan(0);
    broker = await startKafka({ dir: path.join(stage.installation.folder, 'broker'), port, durability: 'durable' }, finder);
    await until('what waited', idle, 90_000);
    const there = [await timed('d'), await timed('d'), await timed('d')];
    // Medians: a capture that waited for a broker would take its timeout of 15 s.
    const median = (of: readonly number[]): number => [...of].sort((x, y) => x - y)[1] ?? 0;
    expect(median(away)).toBeLessThan(median(there) + 10_000);
    await until('the rest', idle);
    requirePromises(await readTopic(broker.brokers, 'holdfast.events'));
    expect(await captures('d')).toBe(6);
  }, 240_000);

  test('the archiver of a table is told to give it a snapshot', async () => {
    const archiver = await stage.start('archiveTable', { table: 'orders' });
    const start: TriggerRecord['start'] = { job: 'snapshotTable', input: { table: 'orders' } };
    const trigger = { name: 't-orders', topic: 'loads', filter: any, start, sinceMs: Date.now() };
    await stage.installation.home.catalog.append(() => ({ kind: 'TRIGGER_ADD', trigger }));
    await using _ = serve();
    await produce(broker.brokers, 'loads', [{ value: '{"loaded":"orders"}' }]);
    const told = async (): Promise<boolean> => {
      const { events = [] } = await archiver.fetchHistory();
      return events?.some((event) => event.workflowExecutionSignaledEventAttributes?.signalName === 'snapshotNow') === true;
    };
    await until('the word to the archiver', told);
    await archiver.terminate();
  }, 120_000);

  test('the command line configures, tells, shows and adds', async () => {
    await using _ = serve();
    await until('an idle installation', idle);
    const options = { variables: { ...stage.installation.variables, HOLDFAST_HOME: stage.installation.folder } };
    const tail = await cli(['events', 'tail', '--from-beginning', '--json', '--limit', '3'], options);
    expect(tail.code).toBe(0);
    const lines = tail.out.trim().split('\n');
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ specversion: '1.0' });
    const status = await cli(['events', 'status'], options);
    expect(status.out).toMatch(/LOG +SENT +BEHIND\ncatalog +\d+ +nothing/);
    expect(status.out).toContain('no CloudEvent 1.0');
    const added = await cli(
      ['trigger', 'add', 'x', '--topic', 'outside', '--where', 'data.n=1', '--where', 'data.s=one', '--verify', 'a', '--store', 'cloud'],
      options,
    );
    expect(added.out).toBe('x: events on outside with data.n = 1, data.s = "one" start verifyStore {"volume":"a","store":"cloud"}\n');
    expect((await cli(['trigger', 'list'], options)).out).toMatch(/^x +outside/m);
    expect((await cli(['trigger', 'remove', 'x'], options)).code).toBe(0);
    // What would never end, what takes away, what is no input.
    const refused = async (...args: readonly string[]) => (await cli(['trigger', 'add', 'y', ...args], options)).code;
    expect(await refused('--topic', 'holdfast.events', '--capture', 'a')).toBe(2);
    expect(await refused('--topic', 't', '--start', 'deleteSnapshot', '--input', '{}')).toBe(2);
    expect(await refused('--topic', 't', '--start', 'captureSnapshot', '--input', '{"volume":"/"}')).toBe(2);
    expect(await refused('--topic', 't', '--capture', 'a', '--verify', 'a')).toBe(2);
    expect(
      (await cli(['events', 'configure', '--brokers', 'k:1', '--sasl', 'plain', '--username', 'u', '--password', 'hunter2'], options)).err,
    ).not.toContain('hunter2');
    expect((await cli(['events', 'off'], options)).code).toBe(0);
    expect((await cli(['events', 'tail'], options)).code).toBe(3);
  }, 120_000);
});
