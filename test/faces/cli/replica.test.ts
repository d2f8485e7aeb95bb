/** A replica as an operator runs it: the real process behind TLS with a token, killed and started again, looked at, released. */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { mintToken } from '../../../src/engine/replication/tokens.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import { openStore } from '../../../src/ground/stores/open-store.ts';
import type { ServingStatus } from '../../../src/systems/regions/replica/serving.ts';
import { createCertificates } from '../../engine/volumes/nbd/certificates.ts';
import { createInstallation } from '../../systems/installation.ts';
import { eventually } from '../../systems/regions/replica/a-replica.ts';
import { freePort, spawnServer, type StartedProcess } from './receiver-process.ts';
import { cli, cliJson, errorOf } from './run-cli.ts';

const READY = 'the replica is serving';

test('a region behind a replica: added, killed, started again, released, and then used directly', async () => {
  await using installation = await createInstallation();
  const inside = (name: string): string => path.join(installation.folder, name);
  const [folder, behind, certificates] = [inside('replica'), inside('behind'), inside('certificates')];
  mkdirSync(certificates);
  await createCertificates(certificates);
  const port = await freePort();
  const metricsPort = await freePort();
  const options = { variables: installation.variables };
  const { token, id } = await cliJson<{ token: string; id: string }>(['replica', 'token', 'add', '--folder', folder], options);
  const variables = { ...installation.variables, REGION_TOKEN: token };
  await using running = new AsyncDisposableStack();
  const start = async (): Promise<StartedProcess> => {
    const started = spawnServer('replica', READY, {
      ...installation.variables,
      HOLDFAST_REPLICA_FOLDER: folder,
      HOLDFAST_REPLICA_STORE: `file://${behind}`,
      HOLDFAST_REPLICA_LISTEN: `127.0.0.1:${port}`,
      HOLDFAST_REPLICA_CERTIFICATES: certificates,
      HOLDFAST_REPLICA_CLIENTS: 'required',
      HOLDFAST_METRICS_PORT: String(metricsPort),
    });
    running.defer(async () => void (await started.end('SIGKILL')));
    await started.ready;
    return started;
  };
  const url = `replicas://localhost:${port}?token=env:REGION_TOKEN&certificates=${encodeURIComponent(certificates)}`;
  const status = (): Promise<ServingStatus> => cliJson<ServingStatus>(['replica', 'status', '--folder', folder], options);
  const passphrase = ['--passphrase', 'env:HOLDFAST_PASSPHRASE'];
  const bodies = new Map(Array.from({ length: 20 }, (_, i) => [`some/${i}`, randomBytes(10_000)]));

  const first = await start();
  const added = await cli(['store', 'add', 'region', url, ...passphrase], { variables });
  expect([added.code, added.code === 0 ? '' : added.err + first.log()]).toEqual([0, '']);
  {
    await using store = await openStore(url, { environment: variables });
    await Promise.all([...bodies].map(([name, body]) => store.put(name, body, { ifAbsent: true })));
    await first.end('SIGKILL');
    await expect(store.get('some/1')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  }
  expect(errorOf(await cli(['replica', 'status', '--folder', folder, '--json'], options)).code).toBe('REPLICA_NOT_RUNNING');

  const second = await start();
  {
    await using store = await openStore(url, { environment: variables });
    for (const [name, body] of bodies) expect((await store.get(name))?.equals(body)).toBe(true);
    await using stranger = await openStore(url, { environment: { REGION_TOKEN: mintToken(randomBytes).token } });
    await expect(stranger.get('some/1')).rejects.toMatchObject({ code: 'STORE_DENIED' });
  }
  const now = await eventually(status, ({ waiting }) => waiting.entries === 0, 'everything is moved');
  expect(now).toMatchObject({ state: 'serving', epoch: 2, lastError: null, store: `file://${behind}` });
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  for (const name of ['waiting_entries', 'waiting_bytes', 'oldest_seconds', 'moved_entries', 'trusted_seconds', 'call_seconds_count'])
    expect(metrics).toContain(`holdfast_replica_${name}`);
  expect(await cliJson<{ id: string }[]>(['replica', 'token', 'list', '--folder', folder], options)).toMatchObject([{ id }]);

  const release = ['replica', 'release', '--folder', folder, '--store', behind];
  expect(errorOf(await cli([...release, '--json'], options)).code).toBe('REPLICA_RUNS');
  const directly = ['store', 'add', 'direct', behind, ...passphrase];
  expect(errorOf(await cli([...directly, '--json'], options))).toMatchObject({ code: 'STORE_UNFIT' });
  expect(await second.end('SIGTERM')).toEqual([0, null]);
  const released = await cli(release, options);
  expect([released.code, released.err]).toEqual([0, '']);
  expect((await cli(directly, options)).code).toBe(0);
  const store = createFileStore({ root: behind });
  for (const [name, body] of bodies) expect((await store.get(name))?.equals(body)).toBe(true);
}, 180_000);

test.each([
  [['serve', '--store', '/x', '--listen', 'nowhere'], 'ARGUMENT_INVALID'],
  [['serve', '--store', '/x', '--other-is-gone'], 'ARGUMENT_INVALID'],
  [['serve'], 'ARGUMENT_INVALID'],
  [['release', '--store', 'replica://127.0.0.1:1', '--folder', '/tmp/none'], 'ARGUMENT_INVALID'],
])('%j is refused', async (args, code) => {
  await using installation = await createInstallation();
  expect(errorOf(await cli(['replica', ...args, '--json'], { variables: installation.variables })).code).toBe(code);
});

test.each([
  ['replica://10.0.0.1:9480', 'others could read'],
  ['replica://127.0.0.1', 'no port'],
  ['replica://127.0.0.1:9480?certificates=/x', 'for TLS'],
  ['replicas://h:1?token=hf1.0123456789abcdef.secret', 'parameter token'],
  ['replicas://h:1?token=command:cat', 'parameter token'],
  ['replicas://user:secret@h:1', 'a user or a password'],
  ['replicas://h:1?secret=x', 'unknown parameters secret'],
  ['replicas://h:1/../x y', 'prefix'],
])('%s is no address, and no secret of it is repeated', async (url, why) => {
  const error = await openStore(url).then(
    () => null,
    (refused: unknown) => refused as { code: string; message: string },
  );
  expect(error).toMatchObject({ code: 'ARGUMENT_INVALID', message: expect.stringContaining(why) });
  expect(error?.message).not.toContain('hf1.');
});
