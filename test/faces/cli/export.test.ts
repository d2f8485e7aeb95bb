/** `holdfast snapshot export`: a real client reads the disk; the snapshot is pinned meanwhile, and let go at the end. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { runCli } from '../../../src/faces/cli/program.ts';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { createCertificates } from '../../engine/volumes/nbd/certificates.ts';
import { captureFile } from './capture-file.ts';
import { cli, cliJson, errorOf, type CliOptions } from './run-cli.ts';

const run = promisify(execFile);
let folder: string;
let options: CliOptions;
let snapshot: string;
let image: Buffer;
const at = (name: string): string => path.join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'holdfast-export-test-'));
  options = { variables: { HOLDFAST_HOME: at('home'), HOLDFAST_PASSPHRASE: 'home-secret', P: 'store-secret' } };
  await cliJson(['store', 'add', 'local', at('store'), '--passphrase', 'env:P'], options);
  await writeFile(at('image'), randomBytes(3 * 256 * 1024));
  await truncate(at('image'), 40 * 256 * 1024);
  await cliJson(['volume', 'add', 'db', at('image'), '--store', 'local'], options);
  snapshot = await captureFile(options.variables, 'db');
  image = await readFile(at('image'));
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs an export until `work` is done with it, then ends it as Ctrl-C does. */
async function whileExported(
  args: readonly string[],
  work: (uri: string) => Promise<void>,
): Promise<{ readonly code: number; readonly err: string }> {
  const handlers = new Set<() => void>();
  let err = '';
  let told: (uri: string) => void = () => undefined;
  const uri = new Promise<string>((resolve) => (told = resolve));
  const code = runCli(['snapshot', 'export', snapshot, ...args, '--json'], options.variables, {
    input: () => Readable.from([]),
    write: () => Promise.resolve(),
    out: (text) => told((JSON.parse(text) as { readonly uri: string }).uri),
    err: (text) => void (err += text),
    bar: null,
    onInterrupt(handler) {
      handlers.add(handler);
      return () => void handlers.delete(handler);
    },
  });
  try {
    await work(await Promise.race([uri, code.then((status) => Promise.reject(new Error(`exit ${status}: ${err}`)))]));
  } finally {
    for (const handler of handlers) handler();
  }
  return { code: await code, err };
}

const describePrograms = await describeWithPrograms('nbdcopy', 'qemu-io');
describePrograms('an exported snapshot', () => {
  test.each([
    ['a Unix socket', []],
    ['TCP', ['--listen', '127.0.0.1:0']],
  ])('over %s is the disk that was captured; it is pinned while it is served', async (_, args) => {
    const ended = await whileExported(args, async (uri) => {
      await run('nbdcopy', [uri, at('copy')]);
      expect((await readFile(at('copy'))).equals(image)).toBe(true);
      expect(await cliJson(['snapshot', 'pins'], options)).toMatchObject([{ snapshot, why: 'exported' }]);
    });
    expect(ended).toEqual({ code: 0, err: '' });
    expect(await cliJson(['snapshot', 'pins'], options)).toEqual([]);
  });

  test('takes changes when it may, and forgets them', async () => {
    for (const expected of ['0x55', '0x55'])
      await whileExported(['--writable'], async (uri) => {
        const { stdout } = await run('qemu-io', [
          '-f',
          'raw',
          '-c',
          'read -P 0 1M 64k',
          '-c',
          `write -P ${expected} 1M 64k`,
          '-c',
          `read -P ${expected} 1M 64k`,
          uri,
        ]);
        expect(stdout).not.toMatch(/verification failed/i);
      });
  });
});

const describeTls = await describeWithPrograms('nbdinfo', 'openssl');
describeTls('with --tls-certificates', () => {
  test('a client with a certificate of the same authority gets in; one of another, one without any, and one in the clear do not', async () => {
    const [certificates, stranger] = [at('certificates'), at('stranger')];
    for (const made of [certificates, stranger]) {
      await mkdir(made);
      await createCertificates(made);
    }
    await copyFile(path.join(certificates, 'ca-cert.pem'), path.join(stranger, 'ca-cert.pem'));
    await mkdir(at('nobody'));
    await copyFile(path.join(certificates, 'ca-cert.pem'), path.join(at('nobody'), 'ca-cert.pem'));
    const ended = await whileExported(['--listen', 'localhost:0', '--tls-certificates', certificates], async (uri) => {
      expect(uri).toMatch(/^nbds:/);
      const { stdout } = await run('nbdinfo', [`${uri}?tls-certificates=${certificates}`]);
      expect(stdout).toMatch(new RegExp(`newstyle-fixed with TLS[^]*export-size: ${image.length}`));
      for (const folderOf of [stranger, at('nobody')])
        await expect(run('nbdinfo', [`${uri}?tls-certificates=${folderOf}`])).rejects.toThrow();
      await expect(run('nbdinfo', [uri.replace(/^nbds:/, 'nbd:')])).rejects.toThrow();
      // Turned away, and not in the way of the next one.
      await run('nbdinfo', [`${uri}?tls-certificates=${certificates}`]);
    });
    expect(ended.code).toBe(0);
  });

  test('a folder without them is refused before anything is served', async () => {
    const refused = await cli(['snapshot', 'export', snapshot, '--tls-certificates', at('nowhere'), '--json'], options);
    expect([refused.code, errorOf(refused).code]).toEqual([2, 'ARGUMENT_INVALID']);
  });
});

test('refuses what others could reach without credentials, a bad address, and a snapshot that is not there', async () => {
  const exposed = await cli(['snapshot', 'export', snapshot, '--listen', '0.0.0.0:0', '--json'], options);
  expect([exposed.code, errorOf(exposed).code]).toEqual([2, 'ARGUMENT_INVALID']);
  const bad = await cli(['snapshot', 'export', snapshot, '--listen', 'somewhere', '--json'], options);
  expect([bad.code, errorOf(bad).code]).toEqual([2, 'ARGUMENT_INVALID']);
  const missing = await cli(['snapshot', 'export', '01hf7ycbsrcaw09jjr9favmsst', '--json'], options);
  expect([missing.code, errorOf(missing).code]).toEqual([3, 'SNAPSHOT_NOT_FOUND']);
});
