/** restoreTable on a real server: answers that are lost, jobs that are cancelled or come to nothing, and what is left of them. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import type { PastOutput } from '../../src/domain/past-states.ts';
import { ORDERS_START_US } from '../engine/tables/orders-table.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { archiveOrders, BAD_US, ROWS } from '../systems/tables/orders-installation.ts';
import { raiseKafka, type KafkaStage } from '../systems/tables/kafka-stage.ts';
import { failureOf, raiseStage, until, type Stage } from './stage.ts';

const describeBoth = await describeWith('temporal', 'kafka');
describeBoth('restoreTable', () => {
  let stage: Stage;
  let kafka: KafkaStage;
  let folder: string;
  /** What befalls the writing of a target, by a word in its name. */
  const lost = new Set<string>();
  const held = Promise.withResolvers<void>();

  beforeAll(async () => {
    [stage, kafka] = await Promise.all([
      raiseStage(finder, (activities) => ({
        ...activities,
        async writeRestoreTable(job) {
          const name = JSON.stringify(job.plan.output);
          if (name.includes('refused')) throw ApplicationFailure.nonRetryable('the target is full', 'TARGET_FULL');
          if (name.includes('held')) await held.promise;
          const result = await activities.writeRestoreTable(job);
          if (name.includes('lost') && !lost.has(name)) {
            lost.add(name);
            throw ApplicationFailure.retryable('the answer was lost', 'STORE_UNREACHABLE');
          }
          return result;
        },
      })),
      raiseKafka(),
    ]);
    await stage.installation.addStore('a');
    await archiveOrders(stage.installation);
    folder = path.join(stage.installation.folder, 'restored');
    mkdirSync(folder);
  }, 240_000);
  afterAll(async () => {
    await kafka[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  const at = { kind: 'time', us: ORDERS_START_US + BAD_US - 1 } as const;
  const file = (name: string): PastOutput => ({ kind: 'file', path: path.join(folder, name), format: 'jsonl' });
  const topic = (name: string): PastOutput => ({
    ...{ kind: 'topic', topic: name, partitions: 2, replicas: null },
    cluster: { brokers: [...kafka.brokers], tls: null, sasl: null },
  });

  test('a try whose answer was lost is known as its own by the next one', async () => {
    const result = await stage.run('restoreTable', { table: 'orders', at, output: file('lost.jsonl') });
    expect(result).toMatchObject({ rows: ROWS, atUs: at.us });
    expect(lost.size).toBe(1);
    expect(readFileSync(path.join(folder, 'lost.jsonl'), 'utf8').split('\n')).toHaveLength(ROWS + 1);
    expect(readdirSync(folder)).toEqual(['lost.jsonl']);
    expect(await stage.failure('restoreTable', { table: 'orders', at, output: file('lost.jsonl') })).toBe('TARGET_EXISTS');
  });

  test('a topic, again after a lost answer; one that came to nothing is removed', async () => {
    expect(await stage.run('restoreTable', { table: 'orders', at, output: topic('lost-orders') })).toMatchObject({ rows: ROWS });
    expect(await kafka.admin.fetchTopicOffsets('lost-orders')).toHaveLength(2);
    expect(await stage.failure('restoreTable', { table: 'orders', at, output: topic('lost-orders') })).toBe('TARGET_EXISTS');
    expect(await kafka.admin.listTopics()).toContain('lost-orders');
    expect(await stage.failure('restoreTable', { table: 'orders', at, output: topic('refused') })).toBe('TARGET_FULL');
    expect(await kafka.admin.listTopics()).not.toContain('refused');
  });

  test('one that is cancelled leaves nothing', async () => {
    const job = await stage.start('restoreTable', { table: 'orders', at, output: topic('held') });
    await until(job, (status) => status.phase === 'building');
    expect(await kafka.admin.listTopics()).toContain('held');
    await job.cancel();
    held.resolve();
    await expect(failureOf(job)).rejects.toThrow();
    expect(await kafka.admin.listTopics()).not.toContain('held');
    const { jobs } = await stage.installation.home.catalog.sync();
    expect(jobs.get(job.workflowId)?.ended).toMatchObject({ outcome: 'cancelled' });
  });

  test('a host that is not there is waited for, and told', async () => {
    const job = await stage.start('restoreTable', { table: 'orders', at, output: file('elsewhere.jsonl'), host: 'elsewhere' });
    await until(job, (status) => status.phase === 'waiting for host elsewhere');
    await job.cancel();
    await expect(failureOf(job)).rejects.toThrow();
  });
});
