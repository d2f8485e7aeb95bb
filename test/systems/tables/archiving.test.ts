/** The archiver against a real broker: everything once and in order, whatever happens to either of them. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPartitionReader } from '../../../src/ground/kafka/partition-reader.ts';
import { createMemoryStore } from '../../engine/memory-store.ts';
import { describeWith } from '../../faces/stack/describe-with.ts';
import { latestMs, nextOf, openArchive, raiseKafka, rowsAt, sourceOf, startArchiver, until, type KafkaStage } from './kafka-stage.ts';

const describeKafka = await describeWith('kafka');
describeKafka('an archiver of a table', () => {
  let stage: KafkaStage;
  beforeAll(async () => {
    stage = await raiseKafka();
  }, 120_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  });

  const send = (topic: string, from: number, count: number, partition?: number) =>
    stage.producer.send({
      topic,
      messages: Array.from({ length: count }, (_, i) => ({
        key: JSON.stringify(from + i),
        value: JSON.stringify({ n: from + i }),
        ...(partition === undefined ? {} : { partition }),
      })),
    });
  const total = (archive: Awaited<ReturnType<typeof openArchive>>): number =>
    [...archive.known().partitions.values()].reduce((sum, { next }) => sum + next, 0);

  test('archives what is there and what comes, and LATEST follows within two seconds', async () => {
    await stage.createTopic('orders', 3);
    await send('orders', 0, 500);
    const store = createMemoryStore();
    const running = await startArchiver(stage, store, sourceOf(stage, 'orders'));
    await until(() => total(running.archive) === 500);
    const tookMs: number[] = [];
    for (let round = 1; round <= 5; round++) {
      await send('orders', 500 * round, 500);
      const sentMs = Date.now();
      await until(() => total(running.archive) === 500 * (round + 1) && latestMs(running.archive) >= sentMs - 500);
      tookMs.push(Date.now() - sentMs);
    }
    // The middle one: a machine that stands still for a while delays one or two.
    expect(tookMs.toSorted((a, b) => a - b)[2]).toBeLessThan(2000);
    const figures = await running.stop();
    expect(figures).toMatchObject({ records: 3000, quarantined: 0, late: 0, interruptions: 0 });
    const { rows } = await rowsAt(await openArchive(store), latestMs(running.archive) * 1000);
    expect(rows.size).toBeGreaterThan(2400);
    for (const [key, row] of rows) expect(row).toEqual({ n: Number(key) });
  });

  test('an idle partition does not hold LATEST back, and an empty one neither', async () => {
    await stage.createTopic('idle', 3);
    const running = await startArchiver(stage, createMemoryStore(), sourceOf(stage, 'idle'));
    await send('idle', 0, 10, 0);
    await send('idle', 10, 10, 1);
    for (let i = 0; i < 6; i++) {
      await send('idle', 20 + i, 1, 0);
      await sleep(300);
    }
    const lastMs = Date.now();
    await send('idle', 30, 1, 0);
    await until(() => latestMs(running.archive) >= lastMs - 5);
    expect(Date.now() - lastMs).toBeLessThan(15_000);
    const figures = await running.stop();
    expect(figures.heartbeats).toBeGreaterThan(0);
    expect([...running.archive.known().partitions.values()].map(({ next, contradicted }) => [next, contradicted])).toEqual([
      [17, 0],
      [10, 0],
      [0, 0],
    ]);
  });

  test('partitions and topics that are added while it runs are archived from their first record', async () => {
    await stage.createTopic('grow-a', 1);
    const running = await startArchiver(stage, createMemoryStore(), sourceOf(stage, 'grow-*'));
    await send('grow-a', 0, 10);
    await until(() => nextOf(running.archive, 'grow-a/0') === 10);
    await stage.admin.createPartitions({ topicPartitions: [{ topic: 'grow-a', count: 2 }] });
    await stage.createTopic('grow-b', 1);
    await send('grow-b', 20, 10);
    await until(async () => (await send('grow-a', 100, 1, 1).catch(() => null)) !== null);
    await until(() => nextOf(running.archive, 'grow-a/1') > 0 && nextOf(running.archive, 'grow-b/0') === 10);
    await running.stop();
    expect(running.events.filter(({ kind }) => kind === 'partitions').length).toBeGreaterThan(1);
  });

  test('stopped and started again, it goes on where the log says', async () => {
    await stage.createTopic('again', 2);
    const store = createMemoryStore();
    for (let round = 0; round < 4; round++) {
      const running = await startArchiver(stage, store, sourceOf(stage, 'again'));
      await send('again', 100 * round, 100);
      if (round % 2 === 0) await until(() => total(running.archive) >= 100 * round + 50);
      await running.stop();
    }
    const last = await startArchiver(stage, store, sourceOf(stage, 'again'));
    await until(() => total(last.archive) === 400);
    await last.stop();
    const parts = [...last.archive.known().partitions.values()].flatMap((partition) => partition.parts);
    expect(parts.reduce((sum, part) => sum + part.rows, 0)).toBe(400);
  });

  test('of two archivers of one table the older one stops and says so, whether anything comes or not', async () => {
    await stage.createTopic('two', 1);
    const store = createMemoryStore();
    const first = await startArchiver(stage, store, sourceOf(stage, 'two'));
    await send('two', 0, 10);
    await until(() => nextOf(first.archive, 'two/0') === 10);
    const second = await startArchiver(stage, store, sourceOf(stage, 'two'));
    const [ended] = await Promise.all([first.done.then(() => null).catch((error: unknown) => error), send('two', 10, 10)]);
    expect(ended).toMatchObject({ code: 'CLAIM_LOST' });
    await until(() => nextOf(second.archive, 'two/0') === 20);
    const third = await startArchiver(stage, store, sourceOf(stage, 'two'));
    // Nothing comes any more.
    await expect(second.done).rejects.toMatchObject({ code: 'CLAIM_LOST' });
    await third.stop();
  });

  test('bad records are quarantined with their offset and reason, the rest goes on, LATEST stays honest', async () => {
    await stage.createTopic('bad', 1, { 'max.message.bytes': String(16 << 20) });
    const ahead = String(Date.now() + 3 * 24 * 3600 * 1000);
    const store = createMemoryStore();
    const form = { form: 'plain', key: 'json', time: { field: 'at', unit: 'ms' } } as const;
    const running = await startArchiver(stage, store, sourceOf(stage, 'bad'), form);
    const row = (key: number, at: number | string) => ({ key: String(key), value: `{"n":${key},"at":${at}}` });
    const nowMs = Date.now();
    await stage.producer.send({
      topic: 'bad',
      messages: [
        row(0, nowMs - 5),
        { key: '1', value: Buffer.from([0xff, 0xfe, 0, 1]) },
        { key: '2', value: '[1,2]' },
        { key: null, value: '{"n":3}' },
        row(4, ahead),
        { key: '5', value: '{"n":5}' },
        row(6, nowMs - 4),
      ],
    });
    await stage.producer.send({ topic: 'bad', messages: [{ key: '7', value: Buffer.alloc(10 << 20, 0x20) }] });
    await stage.producer.send({ topic: 'bad', messages: [row(8, nowMs)] });
    await until(() => nextOf(running.archive, 'bad/0') === 9);
    const figures = await running.stop();
    expect(figures).toMatchObject({ records: 9, quarantined: 6 });
    const parts = running.archive.known().partitions.get('bad/0')?.parts ?? [];
    expect(parts.flatMap(({ quarantined }) => quarantined.map(({ offset, reason }) => [offset, reason]))).toEqual([
      [1, 'NOT_JSON'],
      [2, 'NOT_AN_OBJECT'],
      [3, 'KEY_MISSING'],
      [4, 'STAMP_IN_FUTURE'],
      [5, 'STAMP_INVALID'],
      [7, 'TOO_LARGE'],
    ]);
    expect(latestMs(running.archive)).toBeLessThanOrEqual(nowMs);
    const { rows } = await rowsAt(await openArchive(store, form), (nowMs - 1) * 1000);
    expect([...rows.keys()].sort()).toEqual(['0', '6']);
  });

  test('records that the topic dropped before they were read are recorded as lost, and the table is not whole', async () => {
    await stage.createTopic('short', 1);
    await send('short', 0, 20);
    await stage.dropBelow('short', 12);
    const store = createMemoryStore();
    const running = await startArchiver(stage, store, sourceOf(stage, 'short'));
    await until(() => nextOf(running.archive, 'short/0') === 20);
    await running.stop();
    const state = running.archive.known().partitions.get('short/0');
    expect(state?.parts.flatMap(({ gaps }) => gaps)).toEqual([{ from: 0, to: 12, kind: 'lost', end: 20 }]);
    expect(state?.beginsUs).toBeNull();
  });

  test('what compaction has removed is recorded as that, and the table is whole all the same', async () => {
    const config = {
      'cleanup.policy': 'compact',
      'segment.ms': '100',
      'min.cleanable.dirty.ratio': '0.001',
      'max.compaction.lag.ms': '200',
    };
    await stage.createTopic('compact', 1, config);
    for (let round = 0; round < 12; round++) {
      await stage.producer.send({
        topic: 'compact',
        messages: Array.from({ length: 10 }, (_, i) => ({ key: String(i % 5), value: `{"n":${10 * round + i}}` })),
      });
      await sleep(150);
    }
    const compacted = async (): Promise<boolean> => {
      await using reader = await openPartitionReader(await stage.kafka(), stage.brokers);
      await reader.partitions(['compact']);
      const bounds = { waitMs: 100, bytes: 1 << 20, partitionBytes: 1 << 20 };
      const [read] = await reader.fetch([{ topic: 'compact', partition: 0, offset: 0 }], bounds);
      return read?.kind === 'read' && read.records.length < 100;
    };
    // The broker's cleaner rests for 15 s between its rounds.
    await until(compacted, () => 'no compaction', 45_000);
    const store = createMemoryStore();
    const running = await startArchiver(stage, store, sourceOf(stage, 'compact'));
    await until(() => nextOf(running.archive, 'compact/0') === 120);
    const { missing, records } = await running.stop();
    expect(missing).toEqual({ lost: 0, compacted: 120 - records, control: 0 });
    expect(running.archive.known().partitions.get('compact/0')?.beginsUs).not.toBeNull();
    const { rows } = await rowsAt(running.archive, latestMs(running.archive) * 1000);
    expect(rows.size).toBeGreaterThan(0);
  });

  test('a topic that was made anew is not taken for the one that was archived', async () => {
    await stage.createTopic('anew', 1);
    const store = createMemoryStore();
    const running = await startArchiver(stage, store, sourceOf(stage, 'anew'));
    await send('anew', 0, 20);
    await until(() => nextOf(running.archive, 'anew/0') === 20);
    await running.stop();
    await stage.admin.deleteTopics({ topics: ['anew'] });
    await until(async () => !(await stage.admin.listTopics()).includes('anew'));
    await stage.createTopic('anew', 1);
    await send('anew', 0, 5);
    await expect((await startArchiver(stage, store, sourceOf(stage, 'anew'))).done).rejects.toMatchObject({ code: 'TOPIC_REPLACED' });
  });

  test('the broker killed and restarted while it archives: nothing lost, nothing twice, order kept', async () => {
    await stage.createTopic('killed', 2);
    const store = createMemoryStore();
    const running = await startArchiver(stage, store, sourceOf(stage, 'killed'));
    const stopping = new AbortController();
    /** One after another, and again when the answer is lost: what is confirmed is there, and may be there twice. */
    const producing = (async () => {
      let n = 0;
      while (!stopping.signal.aborted) {
        const sent = await send('killed', n, 20, n % 2).catch(() => null);
        if (sent === null) await sleep(100);
        else n += 20;
      }
      return n;
    })();
    for (let round = 0; round < 2; round++) {
      await sleep(1500);
      await stage.killBroker();
      await sleep(500);
      await stage.restartBroker();
    }
    await sleep(1000);
    stopping.abort();
    const sent = await producing;
    const ends = await stage.admin.fetchTopicOffsets('killed');
    await until(() => ends.every(({ partition, high }) => nextOf(running.archive, `killed/${partition}`) === Number(high)));
    const figures = await running.stop();
    expect(figures.interruptions).toBeGreaterThan(0);
    expect(figures.missing).toEqual({ lost: 0, compacted: 0, control: 0 });
    for (const { partition, high } of ends) {
      const parts = running.archive.known().partitions.get(`killed/${partition}`)?.parts ?? [];
      expect(parts.reduce((at, { from, to }) => (from === at ? to : NaN), 0)).toBe(Number(high));
      expect(parts.every(({ late }) => late === 0)).toBe(true);
      expect(parts.reduce((sum, { rows }) => sum + rows, 0)).toBe(Number(high));
    }
    await send('killed', sent, 1, 0);
    await send('killed', sent + 1, 1, 1);
    const last = await startArchiver(stage, store, sourceOf(stage, 'killed'));
    await until(() => nextOf(last.archive, 'killed/0') === Number(ends.find(({ partition }) => partition === 0)?.high) + 1);
    await last.stop();
    const { rows } = await rowsAt(last.archive, latestMs(last.archive) * 1000);
    expect([...rows.keys()].filter((key) => Number(key) < sent - 40).length).toBe(sent - 40);
  });
});
