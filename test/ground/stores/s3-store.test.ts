import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withRetry } from '../../../src/ground/stores/retrying.ts';
import { createS3Store, type S3Store, type S3StoreOptions } from '../../../src/ground/stores/s3-store.ts';
import { NO_ANSWER, s3Error, SILENCE, startS3Stub, type S3Stub } from './s3-stub.ts';

let stub: S3Stub;
let store: S3Store;
const connect = (over: Partial<S3StoreOptions> = {}): Promise<S3Store> =>
  createS3Store({
    endpoint: stub.endpoint,
    region: 'us-east-1',
    bucket: 'bucket',
    prefix: 'pre/fix/',
    credentials: { accessKeyId: 'id', secretAccessKey: 'hush' },
    // Longer than a slow machine stands still, for most servers here answer.
    idleTimeoutMs: 2000,
    ...over,
  });
beforeAll(async () => {
  stub = await startS3Stub();
  store = await connect();
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await stub[Symbol.asyncDispose]();
});

const body = Buffer.from('the body');
const crcOf = (bytes: Buffer): string => {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(bytes));
  return value.toString('base64');
};
const content = (bytes: Buffer, headers: Readonly<Record<string, string>> = {}) => ({ status: 200, headers, body: bytes });

describe('a put', () => {
  test('says where, under which condition, and with which checksum', async () => {
    stub.script({ status: 200 });
    await expect(store.put('a/b', body, { ifAbsent: true })).resolves.toBe('created');
    expect(stub.requests).toHaveLength(1);
    const [request] = stub.requests;
    expect(request).toMatchObject({ method: 'PUT', body });
    expect(request?.url).toMatch(/^\/bucket\/pre\/fix\/a\/b/);
    expect(request?.headers).toMatchObject({
      'if-none-match': '*',
      'content-length': '8',
      'x-amz-checksum-crc32': crcOf(body),
      'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    });
  });

  test('of a large body goes over a connection that is kept, without asking first', async () => {
    stub.script({ status: 200 });
    await store.put('a', Buffer.alloc(3_000_000));
    expect(stub.requests[0]?.headers.expect).toBeUndefined();
    expect(stub.requests[0]?.headers.connection).toBe('keep-alive');
  });

  test('for a server that knows no checksums carries none, and signs the body where it insists', async () => {
    await using plain = await connect({ checksums: 'when-required', signBodies: true });
    stub.script({ status: 200 });
    await plain.put('a', body);
    const headers = stub.requests[0]?.headers ?? {};
    expect(Object.keys(headers).filter((header) => header.startsWith('x-amz-checksum') || header.includes('sdk-checksum'))).toEqual([]);
    expect(headers['x-amz-content-sha256']).toBe(createHash('sha256').update(body).digest('hex'));
  });

  test('asks for retention only where the bucket can', async () => {
    await using locking = await connect({ retention: 'COMPLIANCE' });
    stub.script({ status: 200 });
    await store.put('a', body, { retainUntilMs: 1_900_000_000_000 });
    await locking.put('a', body, { retainUntilMs: 1_900_000_000_000 });
    expect(stub.requests[0]?.headers['x-amz-object-lock-mode']).toBeUndefined();
    expect(stub.requests[1]?.headers).toMatchObject({
      'x-amz-object-lock-mode': 'COMPLIANCE',
      'x-amz-object-lock-retain-until-date': '2030-03-17T17:46:40Z',
    });
  });

  test('that meets 412 exists; that meets 409 asks again, and gives up in the end', async () => {
    stub.script(s3Error(412, 'PreconditionFailed'));
    await expect(store.put('a', body, { ifAbsent: true })).resolves.toBe('exists');
    stub.script(s3Error(409, 'ConditionalRequestConflict'), s3Error(409, 'ConditionalRequestConflict'), { status: 200 });
    await expect(store.put('a', body, { ifAbsent: true })).resolves.toBe('created');
    stub.script(s3Error(409, 'ConditionalRequestConflict'), s3Error(412, 'PreconditionFailed'));
    await expect(store.put('a', body, { ifAbsent: true })).resolves.toBe('exists');
    stub.script(s3Error(409, 'ConditionalRequestConflict'));
    await expect(store.put('a', body, { ifAbsent: true })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(stub.requests).toHaveLength(8);
  });

  test('whose answer is lost, tried again by the decorator, knows its own bytes', async () => {
    const retrying = withRetry(store, { sleep: () => Promise.resolve() });
    stub.script(NO_ANSWER, s3Error(412, 'PreconditionFailed'), content(body));
    await expect(retrying.put('a', body, { ifAbsent: true })).resolves.toBe('created');
    stub.script(s3Error(503, 'SlowDown'), s3Error(412, 'PreconditionFailed'), content(Buffer.from('theirs')));
    await expect(retrying.put('a', body, { ifAbsent: true })).resolves.toBe('exists');
    expect(stub.requests.map((request) => request.method)).toEqual(['PUT', 'PUT', 'GET']);
  });
});

describe('what the server says is told as what it means', () => {
  test.each([
    [503, 'SlowDown', 'STORE_UNREACHABLE'],
    [500, 'InternalError', 'STORE_UNREACHABLE'],
    [429, 'TooManyRequests', 'STORE_UNREACHABLE'],
    [404, 'NoSuchBucket', 'STORE_UNREACHABLE'],
    [400, 'XAmzContentChecksumMismatch', 'STORE_UNREACHABLE'],
    [400, 'RequestTimeout', 'STORE_UNREACHABLE'],
    [502, 'BadGateway', 'STORE_UNREACHABLE'],
    [403, 'AccessDenied', 'STORE_DENIED'],
    [401, 'Unauthorized', 'STORE_DENIED'],
    [400, 'ExpiredToken', 'STORE_DENIED'],
    [301, 'PermanentRedirect', 'STORE_DENIED'],
    [507, 'XMinioStorageFull', 'STORE_FULL'],
    [400, 'XMinioAdminBucketQuotaExceeded', 'STORE_FULL'],
    [501, 'NotImplemented', 'STORE_UNFIT'],
  ])('%d %s is %s', async (status, name, code) => {
    stub.script(s3Error(status, name));
    await expect(store.put('a', body)).rejects.toMatchObject({ code });
    await expect(store.get('a')).rejects.toMatchObject({ code });
    await expect(store.list('')).rejects.toMatchObject({ code });
    await expect(store.delete(['a'])).rejects.toMatchObject({ code });
    expect(stub.requests).toHaveLength(4);
  });

  test('an answer that is not of S3 at all is unreachable', async () => {
    for (const status of [200, 502]) {
      stub.script({ status, body: '<html>a proxy' });
      await expect(store.list('')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    }
  });

  test('no connection, a reset one and a silent one are unreachable', async () => {
    await using nowhere = await connect({ endpoint: 'http://127.0.0.1:9' });
    await expect(nowhere.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    for (const answer of [NO_ANSWER, SILENCE] as const) {
      stub.script(answer);
      await expect(store.put('a', body)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
      await expect(store.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    }
  });

  test('no secret is in any of it', async () => {
    stub.script(s3Error(403, 'SignatureDoesNotMatch'));
    const refusal: unknown = await store.put('a', body).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'STORE_DENIED' });
    expect(JSON.stringify(refusal) + String(refusal)).not.toContain('hush');
  });
});

describe('a get', () => {
  test('of a missing object is null, of a missing bucket an error, for HEAD as well', async () => {
    stub.script(s3Error(404, 'NoSuchKey'));
    await expect(store.get('a')).resolves.toBeNull();
    stub.script(s3Error(404, 'NoSuchBucket'));
    await expect(store.get('a')).rejects.toThrow('the bucket is not there');
    stub.script({ status: 404 }, { status: 200 });
    await expect(store.head('a')).resolves.toBeNull();
    stub.script({ status: 404 }, { status: 403 });
    await expect(store.head('a')).resolves.toBeNull();
    stub.script({ status: 404 }, { status: 404 });
    await expect(store.head('a')).rejects.toThrow('the bucket bucket is not there');
  });

  test('is checked against the checksum: once wrong is fetched again, twice wrong is damaged', async () => {
    const right = content(body, { 'x-amz-checksum-crc32': crcOf(body) });
    const wrong = content(Buffer.from('the bodx'), { 'x-amz-checksum-crc32': crcOf(body) });
    stub.script(right);
    await expect(store.get('a')).resolves.toEqual(body);
    expect(stub.requests[0]?.headers['x-amz-checksum-mode']).toBe('ENABLED');
    stub.script(wrong, right);
    await expect(store.get('a')).resolves.toEqual(body);
    stub.script(wrong);
    await expect(store.get('a')).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(stub.requests).toHaveLength(2);
    stub.script(content(body, { 'x-amz-checksum-crc32': 'AAAAAA==-2' }));
    await expect(store.get('a')).resolves.toEqual(body);
  });

  test('that breaks off or falls silent half way is unreachable', async () => {
    for (const how of ['reset', 'silence'] as const) {
      stub.script({ ...content(Buffer.alloc(100_000)), breakAfter: { bytes: 50_000, how } });
      await expect(store.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    }
  });

  test('that is aborted half way ends with the reason', async () => {
    await using patient = await connect({ idleTimeoutMs: 30_000 });
    const reason = new Error('enough');
    for (const answer of [SILENCE, { ...content(Buffer.alloc(100_000)), breakAfter: { bytes: 50_000, how: 'silence' } }] as const) {
      stub.script(answer);
      const controller = new AbortController();
      const get = patient.get('a', { signal: controller.signal });
      setTimeout(() => controller.abort(reason), 50);
      await expect(get).rejects.toBe(reason);
    }
  });

  test('of a range takes what a server sends that knows none, and trusts no wrong one', async () => {
    const range = { offset: 4, length: 2 };
    stub.script(content(body));
    await expect(store.get('a', { range })).resolves.toEqual(Buffer.from('bo'));
    expect(stub.requests[0]?.headers['range']).toBe('bytes=4-5');
    stub.script({ status: 206, body: 'th', headers: { 'content-range': 'bytes 0-1/8' } });
    await expect(store.get('a', { range })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    stub.script(s3Error(416, 'InvalidRange'));
    await expect(store.get('a', { range })).resolves.toEqual(Buffer.alloc(0));
  });

  test('leaves no socket held, whatever became of it', async () => {
    await using narrow = await connect({ socketsMax: 1 });
    for (const answer of [content(body), s3Error(404, 'NoSuchKey'), s3Error(503, 'SlowDown'), s3Error(416, 'InvalidRange')]) {
      for (let round = 0; round < 3; round++) {
        stub.script(answer);
        await narrow.get('a').catch(() => undefined);
      }
    }
    stub.script(content(body));
    await expect(Promise.all([1, 2, 3].map(() => narrow.get('a')))).resolves.toHaveLength(3);
  });
});

test('a list goes on until the page is full, past what is none of ours', async () => {
  const page = (truncated: boolean, ...keys: readonly string[]) => ({
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: `<?xml version="1.0"?><ListBucketResult><IsTruncated>${truncated}</IsTruncated>${keys
      .map((key) => `<Contents><Key>pre/fix/${key}</Key><Size>7</Size></Contents>`)
      .join('')}</ListBucketResult>`,
  });
  stub.script(page(true, 'folder/', 'a'), page(true, 'b'), page(false, 'c c', 'd'));
  await expect(store.list('', { limit: 4 })).resolves.toEqual(['a', 'b', 'd'].map((name) => ({ name, sizeBytes: 7 })));
  const queries = stub.requests.map((request) => new URL(request.url, stub.endpoint).searchParams);
  expect(queries.map((query) => [query.get('start-after'), query.get('max-keys')])).toEqual([
    [null, '4'],
    ['pre/fix/a', '3'],
    ['pre/fix/b', '2'],
  ]);
});

test('a delete surfaces the names that were not deleted', async () => {
  const answer = (code: string) => ({
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: `<?xml version="1.0"?><DeleteResult><Error><Key>pre/fix/b</Key><Code>${code}</Code><Message>no</Message></Error></DeleteResult>`,
  });
  stub.script(answer('InternalError'));
  await expect(store.delete(['a', 'b'])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', details: { keys: ['pre/fix/b'] } });
  stub.script(answer('AccessDenied'));
  await expect(store.delete(['a', 'b'])).rejects.toMatchObject({ code: 'STORE_DENIED' });
  stub.script(answer('NoSuchKey'));
  await expect(store.delete(['a', 'b'])).resolves.toBeUndefined();
});

test('lifecycle rules are read, there being none is told from being denied', async () => {
  const rules = `<?xml version="1.0"?><LifecycleConfiguration>
    <Rule><ID>old</ID><Status>Enabled</Status><Filter><Prefix>pre/</Prefix></Filter><Expiration><Days>30</Days></Expiration></Rule>
    <Rule><ID>tags</ID><Status>Disabled</Status><Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>
      <Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>`;
  stub.script({ status: 200, body: rules });
  await expect(store.lifecycleRules()).resolves.toEqual([
    { id: 'old', enabled: true, prefix: 'pre/', tagged: false, expires: true, moves: false },
    { id: 'tags', enabled: false, prefix: '', tagged: true, expires: false, moves: true },
  ]);
  stub.script(s3Error(404, 'NoSuchLifecycleConfiguration'));
  await expect(store.lifecycleRules()).resolves.toEqual([]);
  stub.script(s3Error(403, 'AccessDenied'));
  await expect(store.lifecycleRules()).resolves.toBe('denied');
});
