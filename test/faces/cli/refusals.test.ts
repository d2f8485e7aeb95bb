import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ERROR_KINDS, type ErrorCode } from '../../../src/domain/errors.ts';
import { cli, errorOf, type CliOptions } from './run-cli.ts';

const SECRET = 'correct-horse-battery';
const ID = '01k0000000000000000000000a';
let folder: string;
let options: CliOptions;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'holdfast-cli-'));
  options = {
    variables: { HOLDFAST_HOME: path.join(folder, 'home'), HOLDFAST_PASSPHRASE: SECRET, HOLDFAST_TEMPORAL_ADDRESS: '127.0.0.1:1' },
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const cases: readonly (readonly [command: string, code: ErrorCode, says: RegExp])[] = [
  ['stor list', 'ARGUMENT_INVALID', /unknown command 'stor'.*store/],
  ['store show', 'ARGUMENT_INVALID', /missing required argument 'name'/],
  ['store add a/b /x --passphrase env:P', 'ARGUMENT_INVALID', /store name/],
  ['store add a /x', 'ARGUMENT_INVALID', /--passphrase/],
  [`store add a /x --passphrase ${SECRET}`, 'ARGUMENT_INVALID', /by reference/],
  ['store add a /x --passphrase env:NOT_SET', 'PASSPHRASE_MISSING', /env:NOT_SET/],
  [`store add a s3://user:${SECRET}@bucket --passphrase env:HOLDFAST_PASSPHRASE`, 'ARGUMENT_INVALID', /address of a store/],
  [`store add a s3://bucket?secret=${SECRET} --passphrase env:HOLDFAST_PASSPHRASE`, 'ARGUMENT_INVALID', /address of a store/],
  ['store add a ftp://x --passphrase env:HOLDFAST_PASSPHRASE', 'ARGUMENT_INVALID', /nothing is known of ftp/],
  ['store add a s3://bucket --passphrase env:P --access-key-env A', 'ARGUMENT_INVALID', /half of the credentials/],
  [`store add a s3://bucket --passphrase env:P --access-key-env ${SECRET}`, 'ARGUMENT_INVALID', /name of an environment variable/],
  ['store add a /x --passphrase env:P --codec lz4', 'ARGUMENT_INVALID', /codec/],
  ['store add a /x --passphrase env:P --bandwidth fast', 'ARGUMENT_INVALID', /no size/],
  ['store show nowhere', 'STORE_NOT_FOUND', /nowhere/],
  ['store remove nowhere', 'STORE_NOT_FOUND', /nowhere/],
  ['store check nowhere', 'STORE_NOT_FOUND', /nowhere/],
  ['volume add v /dev/null', 'ARGUMENT_INVALID', /--store/],
  ['volume add v /nowhere/at/all -s a', 'SOURCE_UNREADABLE', /nowhere/],
  ['volume add v relative -s a --node elsewhere', 'ARGUMENT_INVALID', /another machine/],
  ['volume add v /x -s a --extent-size 300K', 'ARGUMENT_INVALID', /extent/],
  ['volume retire v', 'VOLUME_NOT_FOUND', /v/],
  ['snapshot create', 'ARGUMENT_INVALID', /volume/],
  ['snapshot list nowhere', 'VOLUME_NOT_FOUND', /nowhere/],
  ['store add a /dev/null/x --passphrase env:HOLDFAST_PASSPHRASE', 'ARGUMENT_INVALID', /ENOTDIR/],
  [`snapshot create v --changed-since ${ID}`, 'ARGUMENT_INVALID', /two parts/],
  ['snapshot create v', 'TEMPORAL_UNREACHABLE', /127\.0\.0\.1:1/],
  ['snapshot show nonsense', 'ARGUMENT_INVALID', /snapshot id/],
  [`snapshot show ${ID}`, 'SNAPSHOT_NOT_FOUND', /01k/],
  [`snapshot delete ${ID}`, 'ARGUMENT_INVALID', /--store/],
  [`copy ${ID} --volume v --from a`, 'ARGUMENT_INVALID', /--to/],
  ['restore v /x --overwrite --differences', 'ARGUMENT_INVALID', /cannot be used with/],
  ['restore v /x', 'VOLUME_NOT_FOUND', /v/],
  ['verify v --all --structure -s a', 'ARGUMENT_INVALID', /cannot be used with/],
  ['verify v', 'ARGUMENT_INVALID', /--store/],
  ['job show no-such-job', 'TEMPORAL_UNREACHABLE', /does not answer/],
  ['job detach some-job', 'ARGUMENT_INVALID', /which store/],
  ['up --with mysql', 'ARGUMENT_INVALID', /component/],
  ['rescue list --passphrase env:HOLDFAST_PASSPHRASE', 'ARGUMENT_INVALID', /--store/],
  ['rescue list --store /nowhere/at/all --passphrase env:HOLDFAST_PASSPHRASE', 'STORE_UNREACHABLE', /nowhere/],
  ['completion tcsh', 'ARGUMENT_INVALID', /tcsh/],
];

test.each(cases)('holdfast %s is refused with %s', async (command, code, says) => {
  const run = await cli([...command.split(' '), '--json'], options);
  const error = errorOf(run);
  expect({ code: error.code, exit: run.code, told: error.exitCode }).toEqual({
    code,
    exit: ERROR_KINDS[code].exitCode,
    told: ERROR_KINDS[code].exitCode,
  });
  expect(error.message).toMatch(says);
  expect(run.out).toBe('');
  expect(run.err).not.toContain(SECRET);
});

test('without the passphrase of the catalog it says whose it is and where a first one comes from', async () => {
  const run = await cli(['store', 'list', '--json'], { variables: { HOLDFAST_HOME: path.join(folder, 'fresh') } });
  expect(errorOf(run)).toMatchObject({ code: 'PASSPHRASE_MISSING', message: expect.stringMatching(/for the catalog.*holdfast up/) });
});

test('a refusal reads as code, message and next step', async () => {
  const { code, err } = await cli(['snapshot', 'show', 'nonsense'], options);
  expect(code).toBe(2);
  expect(err).toMatch(
    /^error ARGUMENT_INVALID: snapshot id "nonsense" is not valid\n {2}field: snapshot id\n {2}expected: .*\n {2}next: .*\n$/,
  );
});

test('help and version are no errors, and ask nothing of the machine', async () => {
  const untouched = { variables: { HOLDFAST_HOME: path.join(folder, 'untouched') } };
  for (const args of [['--help'], ['--version'], ['store', 'add', '--help'], ['help', 'restore'], ['completion', 'bash']]) {
    const run = await cli(args, untouched);
    expect(run).toMatchObject({ code: 0, err: '' });
    expect(run.out).not.toBe('');
  }
  expect((await cli([], untouched)).code).toBe(2);
  expect(await readdir(folder)).not.toContain('untouched');
});
