import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Connection } from '@temporalio/client';
import pg from 'pg';
import { HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { obtainKafka, startKafka } from '../../../src/faces/stack/kafka.ts';
import { kafkaIsReady } from '../../../src/faces/stack/kafka-probe.ts';
import { findPostgres, startPostgres } from '../../../src/faces/stack/postgres.ts';
import { identify } from '../../../src/faces/stack/process-identity.ts';
import { silentProgress } from '../../../src/faces/stack/progress.ts';
import { obtainS3, startS3 } from '../../../src/faces/stack/s3.ts';
import { obtainTemporal, startTemporal } from '../../../src/faces/stack/temporal.ts';
import { describeWith, finder } from './describe-with.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'holdfast-servers-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const finderWith = (variables: Record<string, string>) => ({ environment: readStackEnvironment(variables), progress: silentProgress });
const portOf = (address: string): number => Number(address.split(':').at(-1));
const isGone = async (pid: number | null): Promise<boolean> => pid !== null && (await identify(pid)) === null;

const describeTemporal = await describeWith('temporal');
describeTemporal('a Temporal server', () => {
  test('is usable when it is ready, goes on after kill -9 on the same file and port, and is used by address', async () => {
    const dataFile = path.join(folder, 'temporal.db');
    const first = await startTemporal({ dataFile, ui: 'free' }, finder);
    expect((await fetch(first.uiUrl ?? '')).status).toBe(200);
    await first.kill();
    expect(await isGone(first.pid)).toBe(true);

    await using second = await startTemporal({ dataFile, port: portOf(first.address) }, finder);
    expect(second.address).toBe(first.address);
    await using used = await obtainTemporal({}, finderWith({ HOLDFAST_TEMPORAL_ADDRESS: second.address }));
    expect(used).toMatchObject({ address: second.address, pid: null });
    await used.stop();
    const connection = await Connection.connect({ address: second.address });
    await connection.workflowService.describeNamespace({ namespace: 'holdfast' });
    await connection.close();

    await second.stop();
    expect(await isGone(second.pid)).toBe(true);
    await expect(obtainTemporal({}, finderWith({ HOLDFAST_TEMPORAL_ADDRESS: second.address }))).rejects.toMatchObject({
      code: 'TEMPORAL_UNREACHABLE',
    });
  });

  test('ends with its starter, also when that is killed with -9', async () => {
    const starter = spawn(process.execPath, [path.join(import.meta.dirname, 'start-and-wait.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      // What is killed cannot tidy up: its log goes with this test's folder.
      env: { ...process.env, TMPDIR: folder },
    });
    const output: readonly unknown[] = await once(starter.stdout, 'data');
    const pid = Number(String(output[0]));
    expect(await isGone(pid)).toBe(false);
    starter.kill('SIGKILL');
    for (let waits = 0; waits < 300 && !(await isGone(pid)); waits += 1) await sleep(100);
    expect(await isGone(pid)).toBe(true);
  });
});

const describeS3 = await describeWith('s3');
describeS3('an S3 server', () => {
  test('has the buckets asked for, keeps them over a restart, and is used by address', async () => {
    const dir = path.join(folder, 's3');
    const first = await startS3({ dir, buckets: ['kept'] }, finder);
    await first.stop();
    expect(await isGone(first.pid)).toBe(true);

    await using second = await startS3({ dir, credentials: first }, finder);
    const { endpoint, accessKeyId, secretAccessKey, region } = second;
    const client = new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true });
    await client.send(new HeadBucketCommand({ Bucket: 'kept' }));
    const variables = { HOLDFAST_S3_ENDPOINT: endpoint, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
    await using used = await obtainS3({ dir: '/nowhere', buckets: ['added'] }, finderWith(variables));
    expect(used).toMatchObject({ endpoint, pid: null });
    await client.send(new HeadBucketCommand({ Bucket: 'added' }));
    client.destroy();
  });

  test('an endpoint without credentials is refused with the variable that lacks', async () => {
    await expect(obtainS3({ dir: '/nowhere' }, finderWith({ HOLDFAST_S3_ENDPOINT: 'http://127.0.0.1:1' }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'AWS_ACCESS_KEY_ID' },
    });
  });
});

const describeKafka = await describeWith('kafka');
describeKafka('a Kafka broker', () => {
  test('answers when it is ready, comes back after kill -9 on its folder, and is used by address', async () => {
    const dir = path.join(folder, 'kafka');
    const first = await startKafka({ dir }, finder);
    await first.kill();
    await using second = await startKafka({ dir, port: portOf(first.brokers[0] ?? '') }, finder);
    expect(second.brokers).toEqual(first.brokers);
    expect(await kafkaIsReady(second.brokers[0] ?? '')).toBe(true);
    await using used = await obtainKafka({ dir: '/nowhere' }, finderWith({ HOLDFAST_KAFKA_BROKERS: second.brokers.join(',') }));
    expect(used).toMatchObject({ brokers: second.brokers, pid: null });
    await second.stop();
    expect(await isGone(second.pid)).toBe(true);
    await expect(obtainKafka({ dir: '/nowhere' }, finderWith({ HOLDFAST_KAFKA_BROKERS: '127.0.0.1:1' }))).rejects.toMatchObject({
      code: 'COMPONENT_UNAVAILABLE',
    });
  }, 120_000);
});

const describePostgres = await describeWith('postgres');
describePostgres('a PostgreSQL server', () => {
  test('wants its password, writes a log for change capture, ends with clients connected, and leaves no folder', async () => {
    const server = await startPostgres({}, finder);
    const { host, port, user, password, database } = server;
    await expect(new pg.Client({ host, port, user, password: 'another', database }).connect()).rejects.toMatchObject({ code: '28P01' });
    const client = new pg.Client({ host, port, user, password, database });
    client.on('error', () => {});
    await client.connect();
    expect((await client.query('SHOW wal_level')).rows).toEqual([{ wal_level: 'logical' }]);
    const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
    const data = rows[0]?.data_directory ?? '';
    await access(data);
    await server.stop();
    expect(await isGone(server.pid)).toBe(true);
    await client.end().catch(() => {});
    await expect(access(path.dirname(data))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a folder without its programs is refused with the variable that names it', async () => {
    await expect(findPostgres(finderWith({ HOLDFAST_POSTGRES_BIN: folder }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'HOLDFAST_POSTGRES_BIN' },
    });
  });
});
