import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { openStore } from '../../../src/ground/stores/open-store.ts';
import { parseStoreAddress } from '../../../src/ground/stores/store-address.ts';

describe('an address', () => {
  test('of a folder', () => {
    expect(parseStoreAddress('file:///srv/a%20b')).toEqual({ kind: 'file', root: '/srv/a b' });
  });

  test('of a bucket, with and without the rest', () => {
    expect(parseStoreAddress('s3://bucket')).toEqual({ kind: 's3', bucket: 'bucket', prefix: '' });
    expect(parseStoreAddress('s3://bucket/a/b/?endpoint=http://127.0.0.1:9000&region=eu-central-1&style=virtual')).toEqual({
      kind: 's3',
      bucket: 'bucket',
      prefix: 'a/b',
      endpoint: 'http://127.0.0.1:9000',
      region: 'eu-central-1',
      style: 'virtual',
    });
  });

  test.each([
    'srv/backup',
    'file://host/srv',
    'file:///',
    'file:///srv?x=1',
    'ftp://host/dir',
    's3://',
    's3://B/prefix',
    's3://bucket/.hidden',
    's3://bucket/a//b',
    's3://key:secret@bucket/prefix',
    's3://key@bucket/prefix',
    's3://bucket?endpoint=http://key:secret@host',
    's3://bucket?endpoint=host:9000',
    's3://bucket?accessKeyId=key&secretAccessKey=secret',
    's3://bucket#secret',
  ])('is refused without repeating it: %s', (text) => {
    const refusal: unknown = (() => {
      try {
        return parseStoreAddress(text);
      } catch (error) {
        return error;
      }
    })();
    expect(refusal).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'url' } });
    expect(String(refusal)).not.toContain('=secret');
    expect(String(refusal)).not.toContain(':secret');
  });
});

describe('opening', () => {
  test('a folder: made only when asked to, counted, retried', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-open-'));
    const url = pathToFileURL(join(folder, 'store')).href;
    const retry = { sleep: () => Promise.resolve() };
    {
      await using absent = await openStore(url, { retry });
      await expect(absent.list('')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
      expect(absent.totals()).toMatchObject({ retries: 4, operations: { list: { calls: 5, errors: 5 } } });
    }
    await using store = await openStore(url, { create: true });
    await store.put('a', Buffer.alloc(10), { ifAbsent: true });
    expect(store.totals()).toMatchObject({ bytesSent: 10, retries: 0 });
    expect(store.describe().url).toBe(url);
    await expect(store.lifecycle()).resolves.toEqual({ refused: [], warnings: [] });
    await rm(folder, { recursive: true });
  });

  test('a bucket: credentials by the names of variables, and a missing one is named', async () => {
    const credentials = { accessKeyIdEnv: 'CELLAR_KEY', secretAccessKeyEnv: 'CELLAR_SECRET' };
    const url = 's3://bucket/prefix?endpoint=http://127.0.0.1:9';
    await expect(openStore(url, { credentials, environment: { CELLAR_KEY: 'id' } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'CELLAR_SECRET' },
    });
    await using store = await openStore(url, {
      credentials,
      environment: { CELLAR_KEY: 'id', CELLAR_SECRET: 'hush' },
      retry: { attempts: 1 },
    });
    expect(store.describe().url).toBe('s3://bucket/prefix?endpoint=http://127.0.0.1:9&region=us-east-1');
    expect(parseStoreAddress(store.describe().url)).toEqual({ ...parseStoreAddress(url), region: 'us-east-1' });
    const refusal: unknown = await store.get('a').catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(JSON.stringify(refusal)).not.toContain('hush');
  });
});
