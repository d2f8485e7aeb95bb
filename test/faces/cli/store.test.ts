import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { changeRepositoryPassphrase } from '../../../src/faces/cli/store-passphrase.ts';
import { ensureRepository, openRepositoryFormat } from '../../../src/engine/repository/format.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import { captureFile } from './capture-file.ts';
import { startLyingS3 } from './lying-s3.ts';
import { cli, cliJson, errorOf, type CliOptions } from './run-cli.ts';

const SECRET = 'correct-horse-battery';
let folder: string;
let options: CliOptions;
const at = (...parts: readonly string[]): string => path.join(folder, ...parts);
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'holdfast-store-'));
  options = {
    variables: { HOLDFAST_HOME: at('home'), HOLDFAST_PASSPHRASE: SECRET, NEXT: 'another-secret', AWS_KEY: 'key', AWS_SECRET: 'aws-secret' },
  };
});
afterEach(() => rm(folder, { recursive: true, force: true }));
const add = (name: string, ...more: readonly string[]) =>
  cli(['store', 'add', name, at('stores', name), '--passphrase', 'env:HOLDFAST_PASSPHRASE', ...more], options);

test('a folder is raced, made, added and described on a sheet that holds no secret', async () => {
  const run = await add('local', '--sheet', at('sheet.txt'));
  expect(run.code).toBe(0);
  const sheet = await readFile(at('sheet.txt'), 'utf8');
  expect(run.out).toContain(sheet.split('\n').slice(1).join('\n'));
  expect(sheet).toContain(
    `holdfast rescue restore VOLUME TARGET --store 'file://${at('stores', 'local')}' --passphrase 'env:HOLDFAST_PASSPHRASE'`,
  );
  expect((await stat(at('sheet.txt'))).mode & 0o777).toBe(0o600);
  expect(`${run.out}${run.err}${sheet}`).not.toContain(SECRET);
  expect(await cliJson(['store', 'list'], options)).toMatchObject([{ name: 'local', volumes: 0, codec: 'zstd-1' }]);
  expect(await cliJson(['store', 'check', 'local'], options)).toMatchObject({ ok: true });
});

test('a name or an address that is taken is refused, and a store in use is not removed', async () => {
  await add('local');
  expect(await add('local')).toMatchObject({ code: 4 });
  const twin = await cli(
    ['store', 'add', 'twin', `file://${at('stores', 'local')}`, '--passphrase', 'env:HOLDFAST_PASSPHRASE', '--json'],
    options,
  );
  expect(errorOf(twin)).toMatchObject({ code: 'STORE_EXISTS', message: 'store local has the same address' });
  await writeFile(at('image'), 'bytes');
  await cliJson(['volume', 'add', 'v', at('image'), '--store', 'local'], options);
  expect(await cli(['store', 'remove', 'local'], options)).toMatchObject({ code: 4 });
  await cliJson(['volume', 'set', 'v', '--store', 'local'], options);
  await cliJson(['volume', 'retire', 'v'], options);
  expect(await cli(['store', 'remove', 'local'], options)).toMatchObject({ code: 0 });
  expect(await readdir(at('stores', 'local'))).not.toEqual([]);
});

test('an S3 server that overwrites what exists is refused with the reason, and is not in the catalog', async () => {
  await using server = await startLyingS3();
  const credentials = ['--access-key-env', 'AWS_KEY', '--secret-key-env', 'AWS_SECRET'];
  const run = await cli(
    [
      'store',
      'add',
      'liar',
      's3://bucket?style=path',
      '--endpoint',
      server.endpoint,
      '--passphrase',
      'env:HOLDFAST_PASSPHRASE',
      ...credentials,
      '--json',
    ],
    options,
  );
  expect(run.code).toBe(4);
  expect(errorOf(run)).toMatchObject({ code: 'STORE_UNFIT', message: expect.stringMatching(/what exists is not overwritten/) });
  expect(run.err).not.toContain('aws-secret');
  expect(await cliJson(['store', 'list'], options)).toEqual([]);
});

test('a changed passphrase opens every repository, the old one none, and the sheet names the new reference', async () => {
  await add('local');
  await writeFile(at('image'), randomBytes(300_000));
  await cliJson(['volume', 'add', 'v', at('image'), '--store', 'local'], options);
  await captureFile(options.variables, 'v');
  const rescue = (reference: string) =>
    cli(['rescue', 'list', '--store', at('stores', 'local'), '--passphrase', reference, '--json'], options);
  const changed = await cli(['store', 'passphrase', 'local', '--new', 'env:NEXT'], options);
  expect(changed.code).toBe(0);
  expect(`${changed.out}${changed.err}`).not.toContain('another-secret');
  expect(errorOf(await rescue('env:HOLDFAST_PASSPHRASE')).code).toBe('PASSPHRASE_WRONG');
  expect((await rescue('env:NEXT')).code).toBe(0);
  expect(await cliJson(['store', 'show', 'local'], options)).toMatchObject({
    passphrase: 'env:NEXT',
    sheet: expect.stringContaining('env:NEXT'),
  });
  // Given again after it was done: nothing is left to do.
  expect(await cliJson(['store', 'passphrase', 'local', '--new', 'env:NEXT'], options)).toMatchObject({
    repositories: [{ repository: 'v', change: 'was changed before' }],
  });
  expect(await cliJson<readonly unknown[]>(['snapshot', 'list'], options)).toHaveLength(1);
});

test('a passphrase change that died before the old slot was removed ends it when it is given again', async () => {
  const inside = createFileStore({ root: at('repository'), create: true, durability: 'os' });
  await ensureRepository(inside, 'v', 'old', 0, { random: randomBytes, scryptN: 2 ** 10 });
  const interrupted = { ...inside, delete: () => Promise.reject(new Error('killed')) };
  await expect(changeRepositoryPassphrase(interrupted, 'old', 'new')).rejects.toThrow('killed');
  expect(await inside.list('keys/')).toHaveLength(2);
  expect(await changeRepositoryPassphrase(inside, 'old', 'new')).toBe('was changed before');
  expect(await inside.list('keys/')).toHaveLength(1);
  await openRepositoryFormat(inside, 'new');
  await expect(openRepositoryFormat(inside, 'old')).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
});
