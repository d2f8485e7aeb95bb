/** A receiver as an operator runs it, and as a sender from another home meets it: real processes, sockets and certificates. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import path from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { repositoryName, storeName, type SnapshotId } from '../../../src/domain/ids.ts';
import type { Link } from '../../../src/engine/replication/frames.ts';
import { runSession, type SessionOutcome } from '../../../src/engine/replication/sending/session.ts';
import { plainSession } from '../../../src/engine/replication/sending/session-parts.ts';
import { openLink, type ReceiverLink } from '../../../src/engine/replication/transport/client.ts';
import type { Snapshot } from '../../../src/engine/repository/ledger.ts';
import { unhideSnapshot } from '../../../src/engine/repository/pins.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import type { ReceiverStatus } from '../../../src/systems/replication/receiver-control.ts';
import type { OwnSession } from '../../../src/systems/replication/receiver-questions.ts';
import { createCertificates } from '../../engine/volumes/nbd/certificates.ts';
import { shipCapture } from '../../systems/capture-volume.ts';
import { writeExtents } from '../../systems/image.ts';
import { createInstallation, type Installation } from '../../systems/installation.ts';
import { freePort, spawnReceiver } from './receiver-process.ts';
import { cli, cliJson, errorOf, type CliOptions } from './run-cli.ts';

const EXTENT = 16 * 1024;
const SIZE = 64 * 2 ** 20;

let sender: Installation;
let receiver: Installation;
let threads: Threads;
let certificates: string;
let options: CliOptions;
let port: number;
const file = (name: string): Buffer => readFileSync(path.join(certificates, name));

beforeAll(async () => {
  sender = await createInstallation();
  receiver = await createInstallation();
  threads = new Threads({ count: 1 });
  await sender.addStore('here');
  await receiver.addStore('there');
  certificates = path.join(receiver.folder, 'certificates');
  mkdirSync(certificates);
  await createCertificates(certificates);
  port = await freePort();
  options = {
    variables: {
      ...receiver.variables,
      HOLDFAST_RECEIVER_LISTEN: `127.0.0.1:${port}`,
      HOLDFAST_RECEIVER_CERTIFICATES: certificates,
      HOLDFAST_RECEIVER_CLIENTS: 'required',
    },
  };
});
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  await sender[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});

interface Added {
  readonly token: string;
  readonly id: string;
}
const addToken = (...more: readonly string[]): Promise<Added> =>
  cliJson(['receiver', 'token', 'add', '--store', 'there', ...more], options);

const linkWith = (token: string): ReceiverLink =>
  openLink({
    ...{ url: `https://localhost:${port}`, token },
    tls: { ca: file('ca-cert.pem'), client: { cert: file('client-cert.pem'), key: file('client-key.pem') } },
  });

let captures = 0;
async function capture(count: number): Promise<Snapshot> {
  const seed = ++captures;
  const writes = Array.from({ length: count }, (_, extent) => ({ extent, content: seed * 100_000 + extent + 1 }));
  if (seed === 1) await sender.addVolume('v', ['here'], { sizeBytes: SIZE, extentBytes: EXTENT, writes });
  else writeExtents(sender.imageOf('v'), SIZE, EXTENT, writes);
  const shipped = await shipCapture(sender.home, threads, 'v', { owner: `capture ${seed}`, attempt: 1 }, {});
  await shipped.commit();
  const snapshot = (await sender.repository('here', 'v')).ledger().snapshots.get(shipped.snapshot);
  if (snapshot === undefined) throw new Error('nothing was captured');
  return snapshot;
}

const send = async (of: Snapshot, link: Link): Promise<SessionOutcome> =>
  runSession(
    plainSession({
      ...{ source: await sender.repository('here', 'v'), store: 'here', of, threads, link, proof: 'listed', takesOver: false },
      ...{ owner: `run ${of.id}`, attempt: 1, patienceMs: 30_000 },
    }),
  );

async function rootThere(prefix: string, id: SnapshotId): Promise<string | null | undefined> {
  const repository = await receiver.home.repository(storeName('there'), repositoryName(`${prefix}v`));
  return (await repository.sync()).snapshots.get(id)?.root;
}

interface Answered {
  readonly status: number;
  readonly body: { readonly sessions?: readonly OwnSession[]; readonly code?: string; readonly hidden?: string };
}

/** As `curl --cacert ... --cert ...` does. */
async function ask(token: string, method: 'GET' | 'POST', at: string, input?: unknown): Promise<Answered> {
  const sent = request(`https://localhost:${port}${at}`, {
    ...{ method, ca: file('ca-cert.pem'), cert: file('client-cert.pem'), key: file('client-key.pem'), agent: false },
    headers: { authorization: `Bearer ${token}` },
  });
  sent.end(input === undefined ? undefined : JSON.stringify(input));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: (await json(response)) as Answered['body'] };
}

test('a token is shown once, kept as a digest, bounded as it was asked for, and withdrawn', async () => {
  const asked = ['--prefix', 'a-', '--rights', 'add,hide', '--quota', '10G', '--floor', '30d', '--proof', 'all', '--until', '2099-01-01'];
  const certificate = path.join(certificates, 'client-cert.pem');
  const { token, id } = await addToken(...asked, '--certificate', certificate);
  const secret = token.split('.')[2] ?? '';
  const listed = await cli(['receiver', 'token', 'list', '--json'], options);
  expect(listed.out).not.toContain(secret);
  expect(JSON.parse(listed.out)).toEqual([
    {
      ...{ id, store: 'there', repository: null, prefix: 'a-', rights: ['add', 'hide'], quotaBytes: 10 * 2 ** 30, proof: 'all' },
      ...{ retentionFloorMs: 30 * 86_400_000, untilMs: Date.UTC(2099, 0, 1) },
      certificate: new X509Certificate(readFileSync(certificate)).fingerprint256.replaceAll(':', '').toLowerCase(),
    },
  ]);
  expect((await cli(['receiver', 'token', 'list'], options)).out).toMatch(/add,hide +10\.0 GiB +720h00m +all +2099-01-01/);
  expect((await cli(['receiver', 'token', 'remove', id], options)).code).toBe(0);
  expect(await cliJson(['receiver', 'token', 'list'], options)).toEqual([]);
  for (const wrong of [
    ['--store', 'nowhere'],
    ['--store', 'there', '--rights', 'everything'],
    ['--store', 'there', '--floor', 'long'],
    ['--store', 'there', '--until', 'soon'],
    ['--store', 'there', '--certificate', path.join(certificates, 'client-key.pem')],
  ])
    expect((await cli(['receiver', 'token', 'add', ...wrong], options)).code).not.toBe(0);
  expect(await cliJson(['receiver', 'token', 'list'], options)).toEqual([]);
});

test('an address that others can reach wants certificates, and nobody else may serve the same installation', async () => {
  const open = spawnReceiver({ ...receiver.variables, HOLDFAST_RECEIVER_LISTEN: `0.0.0.0:${port}` });
  expect(await open.exit).toEqual([2, null]);
  expect(open.log()).toContain('ARGUMENT_INVALID');
  const bare = spawnReceiver({ ...receiver.variables, HOLDFAST_RECEIVER_CLIENTS: 'required' });
  expect(await bare.exit).toEqual([2, null]);
  const first = spawnReceiver(options.variables);
  await first.ready;
  const second = spawnReceiver({ ...options.variables, HOLDFAST_RECEIVER_LISTEN: '127.0.0.1:0' });
  expect(await second.exit).toEqual([4, null]);
  expect(second.log()).toContain('RECEIVER_RUNS');
  expect(await first.end('SIGTERM')).toEqual([0, null]);
  expect(errorOf(await cli(['receiver', 'status', '--json'], options)).code).toBe('RECEIVER_UNREACHABLE');
}, 120_000);

test('a session goes on after kill -9, is told of, and ends with its token', async () => {
  const { token, id } = await addToken('--prefix', 'b-');
  await using link = linkWith(token);
  let current = spawnReceiver(options.variables);
  await current.ready;
  let exchanges = 0;
  const killed: Link = {
    async exchange(first, rest, signal) {
      if (++exchanges === 3) {
        expect(await current.end('SIGKILL')).toEqual([null, 'SIGKILL']);
        current = spawnReceiver(options.variables);
        void current.ready;
      }
      return link.exchange(first, rest, signal);
    },
  };
  const full = await capture(3000);
  expect(await send(full, killed)).toMatchObject({ kind: 'committed', root: full.root });
  expect(exchanges).toBeGreaterThan(5);
  expect(await rootThere('b-', full.id)).toBe(full.root);

  const next = await capture(3);
  expect(await send(next, link)).toMatchObject({ kind: 'committed', figures: { sent: 3 } });
  const { sessions, ended } = await cliJson<ReceiverStatus>(['receiver', 'status'], options);
  expect(sessions).toEqual([]);
  expect(ended[0]).toMatchObject({
    peer: id,
    lineage: 'b-v@1',
    snapshot: next.id,
    status: 'committed',
    figures: { named: 3, accepted: 3 },
  });
  expect((await cli(['receiver', 'status'], options)).out).toContain(next.id);

  await cliJson(['receiver', 'token', 'remove', id], options);
  // Each exchange is judged anew: before long one is denied.
  const deadline = performance.now() + 30_000;
  const any = () =>
    link.exchange({ kind: 'SESSION', epoch: 1, snapshot: next.id, lineage: next.lineage }, [], new AbortController().signal);
  while ((await any().catch(({ code }: { readonly code: string }) => code)) !== 'RECEIVER_DENIED') {
    if (performance.now() > deadline) throw new Error('the token is still taken');
    await sleep(100);
  }
  const after = await capture(5);
  await expect(send(after, link)).rejects.toMatchObject({ code: 'RECEIVER_DENIED' });
  expect(await rootThere('b-', after.id)).toBeUndefined();
  expect(await current.end('SIGTERM')).toEqual([0, null]);
  expect(current.log()).toContain('the receiver has stopped');
  expect(current.log()).not.toContain(token.split('.')[2]);
}, 180_000);

test('a sender sees its own sessions, and hides what is older than its floor', async () => {
  const young = await addToken('--prefix', 'd-', '--rights', 'add,hide', '--floor', '1h');
  const old = await addToken('--prefix', 'd-', '--rights', 'add,hide', '--floor', '0s');
  const other = await addToken('--prefix', 'e-', '--rights', 'hide');
  const adder = await addToken('--prefix', 'd-');
  const serving = spawnReceiver(options.variables);
  await serving.ready;
  const snapshot = await capture(9);
  {
    await using link = linkWith(young.token);
    await send(snapshot, link);
  }
  const { status, body } = await ask(young.token, 'GET', '/v1/session');
  expect(status).toBe(200);
  expect(body.sessions).toMatchObject([{ lineage: snapshot.lineage, snapshot: snapshot.id, status: 'committed' }]);
  expect(body.sessions?.[0]?.figures.wireBytes).toBeGreaterThan(body.sessions?.[0]?.figures.storedBytes ?? 0);
  expect(await ask(other.token, 'GET', '/v1/session')).toEqual({ status: 200, body: { sessions: [] } });
  expect(await ask('hf1.none', 'GET', '/v1/session')).toMatchObject({ status: 401 });

  const named = { lineage: snapshot.lineage, snapshot: snapshot.id };
  const wish = { ...named, seen: 0 };
  expect(await ask(adder.token, 'POST', '/v1/hide', wish)).toMatchObject({ status: 403, body: { code: 'RECEIVER_DENIED' } });
  expect(await ask(other.token, 'POST', '/v1/hide', wish)).toMatchObject({ status: 404, body: { code: 'SNAPSHOT_NOT_FOUND' } });
  expect(await ask(young.token, 'POST', '/v1/hide', wish)).toMatchObject({ status: 409, body: { code: 'RETENTION_FLOOR' } });
  expect(await ask(young.token, 'GET', '/v1/hide')).toMatchObject({ status: 405 });
  expect(await ask(old.token, 'POST', '/v1/hide', { ...wish, purge: true })).toMatchObject({ status: 400 });
  expect(await ask(old.token, 'POST', '/v1/hide', named)).toMatchObject({ status: 400 });
  expect(await ask(adder.token, 'POST', '/v1/snapshot', named)).toMatchObject({ status: 403 });
  expect(await ask(young.token, 'POST', '/v1/snapshot', named)).toEqual({
    status: 200,
    body: { snapshot: snapshot.id, hidden: false, version: 0 },
  });
  expect(await ask(old.token, 'POST', '/v1/hide', { ...wish, text: 'x'.repeat(5000) })).toMatchObject({ status: 413 });
  const there = await receiver.home.repository(storeName('there'), repositoryName('d-v'));
  const hidden = async () => (await there.sync()).snapshots.get(snapshot.id)?.hidden;
  expect(await hidden()).toBe(false);

  // The same from the sender's home, with the records of its catalog.
  const variables = { ...sender.variables, T_YOUNG: young.token, T_OLD: old.token, T_ADDER: adder.token, T_OTHER: other.token };
  const at = (name: string) => path.join(certificates, name);
  const certified = ['--ca', at('ca-cert.pem'), '--cert', at('client-cert.pem'), '--key', at('client-key.pem')];
  for (const name of ['young', 'old', 'adder', 'other']) {
    const known = ['--url', `https://localhost:${port}`, '--token', `env:T_${name.toUpperCase()}`, ...certified];
    await cliJson(['replicate', 'receiver', 'add', name, ...known], { variables });
  }
  const hide = (receiver: string, id: string = snapshot.id) =>
    cli(['replicate', 'hide', 'v', id, '--receiver', receiver, '--json'], { variables });
  expect(errorOf(await hide('young'))).toMatchObject({
    code: 'RETENTION_FLOOR',
    message: expect.stringMatching(/it does from 2\d{3}-.*Z on/),
  });
  expect(errorOf(await hide('adder')).code).toBe('RECEIVER_DENIED');
  expect(errorOf(await hide('other')).code).toBe('SNAPSHOT_NOT_FOUND');
  expect(errorOf(await hide('old', '0'.repeat(26))).code).toBe('SNAPSHOT_NOT_FOUND');
  expect(errorOf(await hide('nobody')).code).toBe('RECEIVER_NOT_FOUND');
  const told = await cliJson<{ readonly sessions: readonly OwnSession[] }>(['replicate', 'status', '--receiver', 'young'], { variables });
  expect(told.sessions).toEqual((await ask(young.token, 'GET', '/v1/session')).body.sessions);
  expect((await cli(['replicate', 'status', '--receiver', 'young'], { variables })).out).toMatch(
    new RegExp(`${snapshot.lineage} +${snapshot.id} +committed`),
  );
  expect((await cli(['replicate', 'status', '--receiver', 'other'], { variables })).out).toMatch(/other has heard no session/);
  expect(await hidden()).toBe(false);
  expect(JSON.parse((await hide('old')).out)).toMatchObject({ lineage: snapshot.lineage, already: false });
  expect(await hidden()).toBe(true);
  expect(JSON.parse((await hide('old')).out)).toMatchObject({ already: true });
  expect(await ask(old.token, 'POST', '/v1/hide', wish)).toEqual({ status: 200, body: { hidden: snapshot.id } });
  await unhideSnapshot(there, snapshot.id, 1);
  expect(await ask(old.token, 'POST', '/v1/hide', wish)).toMatchObject({ status: 409, body: { code: 'VISIBILITY_CHANGED' } });
  expect(await hidden()).toBe(false);
  expect(await serving.end('SIGTERM')).toEqual([0, null]);
}, 120_000);

test('without a client certificate nobody is heard where it is required', async () => {
  const { token } = await addToken('--prefix', 'c-');
  const serving = spawnReceiver(options.variables);
  await serving.ready;
  await using link = openLink({ url: `https://localhost:${port}`, token, tls: { ca: file('ca-cert.pem'), client: null } });
  await expect(send(await capture(7), link)).rejects.toMatchObject({ code: 'RECEIVER_DENIED' });
  expect(await serving.end('SIGTERM')).toEqual([0, null]);
}, 120_000);
