/** 200 rounds of the race take half a minute here: HOLDFAST_RACE_ROUNDS=200 asks for them, a few are run each time. */
import { PutBucketLifecycleConfigurationCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { admitStore } from '../../src/ground/stores/admission.ts';
import { listAll } from '../../src/ground/stores/object-store.ts';
import { openStore, type OpenedStore } from '../../src/ground/stores/open-store.ts';
import { createS3Store } from '../../src/ground/stores/s3-store.ts';
import { objectStoreSuite } from './object-store-suite.ts';
import { describeWithS3, startS3ForTests, type S3ForTests } from './s3-server.ts';

describeWithS3('on a real S3 server', () => {
  let server: S3ForTests;
  beforeAll(async () => {
    server = await startS3ForTests();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  objectStoreSuite(
    'an S3 store',
    async () => {
      const store = await createS3Store({ ...server.connection, prefix: 'some/where' });
      return { store, dispose: async () => await store[Symbol.asyncDispose]() };
    },
    { raceRounds: Number(process.env['HOLDFAST_RACE_ROUNDS'] ?? 20) },
  );

  const open = (prefix: string): Promise<OpenedStore> => {
    const { endpoint = '', bucket, credentials } = server.connection;
    return openStore(`s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(endpoint)}`, {
      credentials: { accessKeyIdEnv: 'KEY', secretAccessKeyEnv: 'SECRET' },
      environment: { KEY: credentials?.accessKeyId, SECRET: credentials?.secretAccessKey },
    });
  };

  test('opened by its address it is admitted, and left as it was', async () => {
    await using store = await open('admitted');
    const report = await admitStore(store, { rounds: 5, lifecycle: () => store.lifecycle() });
    expect(report.checks.filter((check) => !check.ok)).toEqual([]);
    await expect(Array.fromAsync(listAll(store, ''))).resolves.toEqual([]);
    expect(store.totals().operations.put.calls).toBeGreaterThan(5 * 16);
  });

  test('a bucket whose rules expire objects of the store is refused', async () => {
    const { bucket, ...connection } = server.connection;
    const client = new S3Client({ ...connection, forcePathStyle: true });
    const rule = { ID: 'tidy', Status: 'Enabled', Filter: { Prefix: 'kept/' }, Expiration: { Days: 30 } } as const;
    await client.send(new PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules: [rule] } }));
    client.destroy();
    await using kept = await open('kept/here');
    const refused = await admitStore(kept, { rounds: 1, lifecycle: () => kept.lifecycle() });
    const findings = refused.checks.filter((check) => !check.ok).map((check) => check.detail);
    expect(findings).toEqual([expect.stringContaining('tidy')]);
    await using elsewhere = await open('elsewhere');
    await expect(admitStore(elsewhere, { rounds: 1, lifecycle: () => elsewhere.lifecycle() })).resolves.toMatchObject({ ok: true });
  });

  test('wrong credentials and a missing bucket are told apart', async () => {
    const wrong = { accessKeyId: 'nobody', secretAccessKey: 'nothing-at-all' };
    await using stranger = await createS3Store({ ...server.connection, credentials: wrong });
    await expect(stranger.get('a')).rejects.toMatchObject({ code: 'STORE_DENIED' });
    await expect(stranger.head('a')).rejects.toMatchObject({ code: 'STORE_DENIED' });
    await using lost = await createS3Store({ ...server.connection, bucket: 'not-there' });
    const calls = [
      () => lost.get('a'),
      () => lost.head('a'),
      () => lost.list(''),
      () => lost.put('a', Buffer.alloc(1)),
      () => lost.delete(['a']),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  });
});
