/** A past state as a compacted topic of a real broker. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { endOutput, prepareOutput, writeOutput } from '../../../../src/engine/tables/outputs/output.ts';
import type { SettledTopic } from '../../../../src/engine/tables/outputs/targets.ts';
import { typeRows, type TypedRows } from '../../../../src/engine/tables/outputs/typed-rows.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { describeWith } from '../../../faces/stack/describe-with.ts';
import { raiseKafka, type KafkaStage } from '../../../systems/tables/kafka-stage.ts';
import { openOrders, order, ORDERS_START_US } from '../orders-table.ts';

const ROWS = 5000;
/** Larger than a broker takes by default, though the archive had it. */
const LARGE = 'x'.repeat(3_000_000);

const describeKafka = await describeWith('kafka');
describeKafka('a past state as a topic', () => {
  let stage: KafkaStage;
  let duck: Duck;
  let rows: TypedRows;
  beforeAll(async () => {
    stage = await raiseKafka();
    duck = await Duck.open({ memoryBytes: 512e6, threads: 2 });
    const orders = await openOrders(duck, 1);
    await orders.commit(0, 1, 11, ...Array.from({ length: ROWS }, (_, id) => order(id, '1.00', `n ${id}`)));
    await orders.commit(0, 2, 12, order(0, '2.00', LARGE));
    await orders.through(9);
    const built = await buildPastState(orders.archive, duck, { kind: 'time', us: ORDERS_START_US + 5 });
    if (built.kind !== 'built') throw new Error(built.kind);
    rows = await typeRows(duck, orders.archive.known(), built.columns, 'past');
  }, 120_000);
  afterAll(async () => {
    await duck[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  const output = (topic: string): SettledTopic => ({
    ...{ kind: 'topic', topic, partitions: 3, replicas: null },
    cluster: { brokers: [...stage.brokers], tls: null, sasl: null },
  });
  const mine = { owner: 'run-1', variables: {} };

  /** What a reader who keeps the newest value of each key has in the end. */
  async function compacted(topic: string): Promise<ReadonlyMap<string, string>> {
    const offsets = await stage.admin.fetchTopicOffsets(topic);
    let left = offsets.reduce((sum, { high }) => sum + Number(high), 0);
    const values = new Map<string, string>();
    const consumer = (await stage.kafka()).consumer({ groupId: `read-${topic}-${left}`, maxWaitTimeInMs: 100, maxBytesPerPartition: 8e6 });
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await new Promise<void>((resolve) => {
      void consumer.run({
        async eachMessage({ message }) {
          values.set(String(message.key), String(message.value));
          if (--left === 0) resolve();
        },
      });
    });
    await consumer.disconnect();
    return values;
  }

  test('it is made compacted and holds each row under its key, the large one, too', async () => {
    expect(await prepareOutput(output('past'), mine)).toBe('made');
    const written: number[] = [];
    await writeOutput(duck, rows, output('past'), mine, { onRows: (some) => void written.push(some) });
    expect(written.reduce((sum, some) => sum + some, 0)).toBe(ROWS);
    const described = await stage.admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: 'past' }] });
    expect(described.resources[0]?.configEntries.find(({ configName }) => configName === 'cleanup.policy')?.configValue).toBe('compact');
    const values = await compacted('past');
    expect(values.size).toBe(ROWS);
    expect(values.get('{"id":77}')).toBe('{"id":77,"amount":"ZA==","note":"n 77","placed":null}');
    expect(values.get('{"id":0}')?.length).toBeGreaterThan(LARGE.length);
    expect(await stage.admin.fetchTopicOffsets('past')).toHaveLength(3);

    // A try that comes after one that died writes all of it again; a reader has the same in the end.
    await writeOutput(duck, rows, output('past'), mine, {});
    expect(await compacted('past')).toEqual(values);
  });

  test('a topic with records is refused; one without is taken; one that the job has made goes when it fails', async () => {
    await expect(prepareOutput(output('past'), { ...mine, owner: 'run-2' })).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await stage.createTopic('empty', 3);
    expect(await prepareOutput(output('empty'), mine)).toBe('free');
    await stage.createTopic('other', 1);
    await expect(prepareOutput(output('other'), mine)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    expect(await prepareOutput(output('failed'), mine)).toBe('made');
    await endOutput(output('failed'), mine, 'made');
    // A broker hears of it after the controller that has answered.
    while ((await stage.admin.listTopics()).includes('failed')) await sleep(50);
    await endOutput(output('failed'), mine, 'made');
    expect(await stage.admin.listTopics()).not.toContain('failed');
    await endOutput(output('empty'), mine, null);
    expect(await stage.admin.listTopics()).toContain('empty');
  });

  test('a topic that refuses the size of a row is told at once, and not tried for ever', async () => {
    await stage.createTopic('small', 3, { 'max.message.bytes': '1000000' });
    expect(await prepareOutput(output('small'), mine)).toBe('free');
    await expect(writeOutput(duck, rows, output('small'), mine, {})).rejects.toMatchObject({ code: 'TARGET_UNWRITABLE' });
  });

  test('nobody there is told', async () => {
    const away = { ...output('x'), cluster: { ...output('x').cluster, brokers: ['127.0.0.1:1'] } };
    await expect(prepareOutput(away, mine)).rejects.toMatchObject({ code: 'KAFKA_UNREACHABLE' });
  });
});
