/**
 * A Temporal server that wants TLS, a client certificate and an API key, named by the environment as the Temporal CLI knows it:
 * the command line and real worker processes work through it, and the key is in nothing that they write.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ERROR_KINDS } from '../../../src/domain/errors.ts';
import { startTemporal, type RunningTemporal } from '../../../src/faces/stack/temporal.ts';
import { describeWith, finder } from '../stack/describe-with.ts';
import { cli, cliJson, errorOf } from './run-cli.ts';
import { makeCertificates, startGateway, type Gateway } from './tls-gateway.ts';

const KEY = 'the-key-of-the-operator';
const NAME = 'temporal.example';

let folder: string;
let temporal: RunningTemporal;
let gateway: Gateway;
let variables: Readonly<Record<string, string | undefined>>;
let secured: Readonly<Record<string, string | undefined>>;
const at = (...parts: readonly string[]): string => path.join(folder, ...parts);

const describeTemporal = await describeWith('temporal');
describeTemporal('a Temporal server behind TLS and an API key', () => {
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'holdfast-secure-'));
    temporal = await startTemporal({ namespace: 'team.prod' }, finder);
    const certificates = makeCertificates(folder, NAME);
    gateway = await startGateway(temporal.address, certificates, KEY);
    const { PATH, HOME } = process.env;
    variables = { PATH, HOME, HOLDFAST_HOME: at('home'), HOLDFAST_CACHE: finder.environment.cacheDir, HOLDFAST_HOST: 'machine' };
    secured = {
      TEMPORAL_ADDRESS: gateway.address,
      TEMPORAL_NAMESPACE: 'team.prod',
      TEMPORAL_API_KEY: KEY,
      TEMPORAL_TLS_SERVER_CA_CERT_PATH: certificates.ca,
      TEMPORAL_TLS_SERVER_NAME: NAME,
      TEMPORAL_TLS_CLIENT_CERT_PATH: certificates.client.certificate,
      TEMPORAL_TLS_CLIENT_KEY_PATH: certificates.client.key,
    };
    await writeFile(at('passphrase'), 'store-secret\n');
    await writeFile(at('db.img'), randomBytes(1024 * 1024));
  }, 240_000);
  afterAll(async () => {
    await cli(['down'], { variables: { ...variables, ...secured } });
    await gateway[Symbol.asyncDispose]();
    await temporal.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('is used by the command line and the workers, and never started', async () => {
    const options = { variables: { ...variables, ...secured } };
    const up = await cli(['up', '--json'], options);
    expect({ code: up.code, err: up.err }).toMatchObject({ code: 0 });
    expect(JSON.parse(up.out)).toMatchObject({
      components: [{ component: 'temporal', state: 'external', address: gateway.address, namespace: 'team.prod' }],
      workers: ['controller', 'disks', 'node', 'tables'].map((worker) => ({ worker, state: 'running' })),
    });
    await cliJson(['store', 'add', 'local', at('local'), '--passphrase', `file:${at('passphrase')}`], options);
    await cliJson(['volume', 'add', 'db', at('db.img'), '--store', 'local'], options);
    expect(await cliJson(['snapshot', 'create', 'db'], options)).toMatchObject({
      state: 'done',
      result: { stores: [{ kind: 'committed' }] },
    });
    const doctor = await cli(['doctor'], options);
    expect([doctor.code, doctor.out]).toEqual([0, expect.not.stringContaining('FAULT')]);
    expect(gateway.passed).toBeGreaterThan(20);
    expect(gateway.refused).toBe(0);
    for (const name of (await readdir(at('home', 'stack'))).filter((one) => !one.endsWith('.lock')))
      expect([name, (await readFile(at('home', 'stack', name), 'utf8')).includes(KEY)]).toEqual([name, false]);
    expect(doctor.out + doctor.err + up.out + up.err).not.toContain(KEY);
  }, 120_000);

  test('is named by a profile in a file, when the environment asks for it', async () => {
    const tls = ['SERVER_CA_CERT_PATH', 'SERVER_NAME', 'CLIENT_CERT_PATH', 'CLIENT_KEY_PATH'];
    const lines = tls.map((name) => `${name.toLowerCase()} = ${JSON.stringify(secured[`TEMPORAL_TLS_${name}`])}`);
    const named = [`address = "${gateway.address}"`, 'namespace = "team.prod"', `api_key = "${KEY}"`];
    await writeFile(at('temporal.toml'), ['[profile.prod]', ...named, '[profile.prod.tls]', ...lines, ''].join('\n'));
    const profile = { ...variables, TEMPORAL_CONFIG_FILE: at('temporal.toml'), TEMPORAL_PROFILE: 'prod' };
    expect(await cliJson(['job', 'list', '--all'], { variables: profile })).toMatchObject([{ id: 'capture.db', state: 'done' }]);
    const other = await cli(['job', 'list', '--json'], { variables: { ...profile, TEMPORAL_PROFILE: 'other' } });
    expect(errorOf(other)).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('profile other') });
    await writeFile(at('temporal.toml'), `[profile.prod\napi_key = "${KEY}"\n`);
    const broken = await cli(['job', 'list', '--json', '--verbose'], { variables: profile });
    expect(errorOf(broken).code).toBe('CONFIG_INVALID');
    expect(broken.err).not.toContain(KEY);
  });

  test('that refuses is told from one that is silent, and the key is not in what is said', async () => {
    const refused = async (more: Readonly<Record<string, string | undefined>>, ...args: readonly string[]) => {
      const run = await cli([...args, '--json'], { variables: { ...variables, ...secured, ...more } });
      expect(run.err).not.toContain(KEY);
      return [run.code, errorOf(run).code];
    };
    const expected = (code: keyof typeof ERROR_KINDS) => [ERROR_KINDS[code].exitCode, code];
    expect(await refused({ TEMPORAL_API_KEY: `${KEY}-no-more` }, 'job', 'show', 'x')).toEqual(expected('TEMPORAL_DENIED'));
    expect(await refused({ TEMPORAL_API_KEY: `${KEY}-no-more` }, 'up')).toEqual(expected('TEMPORAL_DENIED'));
    expect(await refused({ TEMPORAL_TLS_CLIENT_KEY_PATH: undefined }, 'job', 'show', 'x')).toEqual(expected('CONFIG_INVALID'));
    expect(await refused({ TEMPORAL_TLS_CLIENT_CERT_PATH: at('none') }, 'job', 'show', 'x')).toEqual(expected('CONFIG_INVALID'));
    expect(await refused({ TEMPORAL_TLS_SERVER_NAME: 'another' }, 'job', 'show', 'x')).toEqual(expected('TEMPORAL_UNREACHABLE'));
    const plain = Object.fromEntries(Object.keys(secured).map((name) => [name, name === 'TEMPORAL_ADDRESS' ? gateway.address : undefined]));
    expect(await refused(plain, 'job', 'show', 'x')).toEqual(expected('TEMPORAL_UNREACHABLE'));
  });
});
