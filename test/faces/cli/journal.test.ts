/**
 * `holdfast journal` over stores that are folders: what is appended is read back, a region goes away in the middle, an appender is killed, and nothing that
 * was acknowledged is lost or comes twice.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { storeName } from '../../../src/domain/ids.ts';
import { Owner } from '../../../src/engine/journal/owning/owner.ts';
import { takeOver } from '../../../src/engine/journal/takeover/take-over.ts';
import { createRiskMetrics } from '../../../src/systems/protection/domain/risk-metrics.ts';
import { openForAppending } from '../../../src/systems/regions/home-stream.ts';
import type { StreamStatus } from '../../../src/systems/regions/stream-status.ts';
import { journalsOf } from '../../../workers/journals.ts';
import { createInstallation, type Installation } from '../../systems/installation.ts';
import { cli, cliJson, errorOf, type CliRun } from './run-cli.ts';

const MAIN = fileURLToPath(new URL('../../../src/faces/cli/main.ts', import.meta.url));
const PIECE = 32 * 1024;

let installation: Installation;

beforeAll(async () => {
  installation = await createInstallation();
  for (const store of ['log', 'east', 'west', 'north']) await installation.addStore(store);
});
afterAll(async () => {
  await installation[Symbol.asyncDispose]();
});

const run = (...args: readonly string[]): Promise<CliRun> => cli(args, installation);
const status = (name: string): Promise<StreamStatus> => cliJson<StreamStatus>(['journal', 'status', name], installation);
const REGIONS = ['--log', 'log', '--region', 'east:one', '--region', 'west:two'];

async function* pieces(...all: readonly (string | Buffer)[]): AsyncGenerator<Uint8Array> {
  for (const one of all) yield Buffer.from(one);
}

const append = (name: string, input: AsyncIterable<Uint8Array>, ...args: readonly string[]): Promise<CliRun> =>
  cli(['journal', 'append', name, ...args], { ...installation, input });

const read = async (name: string, ...args: readonly string[]): Promise<Buffer> => {
  const done = await run('journal', 'read', name, ...args);
  if (done.code !== 0) throw new Error(`exit ${done.code}: ${done.err}`);
  return done.bytes;
};

const move = (store: string, to: 'away' | 'back'): void => {
  const folder = installation.storeFolder(store);
  if (to === 'away') renameSync(folder, `${folder}.away`);
  else renameSync(`${folder}.away`, folder);
};

test('what is appended is read back, from any byte on, and goes on where it ended', async () => {
  const first = await append('plain', pieces('hello ', 'world'), ...REGIONS, '--json');
  expect(first.code).toBe(0);
  const lines = first.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines[0]).toMatchObject({ begin: 0, members: ['east', 'west'] });
  expect(lines.at(-2)).toMatchObject({ acknowledged: 11 });
  expect(lines.at(-1)).toEqual({ ended: 11 });
  expect((await append('plain', pieces(', again'), '--resume-at', '11')).out).toBe('plain: acknowledged up to byte 18\n');
  expect((await read('plain')).toString()).toBe('hello world, again');
  expect((await read('plain', '--from', '6', '--to', '13')).toString()).toBe('world, ');
  expect((await read('plain', '--from', '18')).length).toBe(0);
  expect(await status('plain')).toMatchObject({ ends: { acknowledged: 18, end: 18 }, heldOnce: { epochs: [] } });
  const text = (await run('journal', 'status', 'plain')).out;
  expect(text).toContain('acknowledged up to byte 18\n');
  expect(text).toMatch(/east, west +east, west +\d+ +n1\.cli\./);
  expect((await run('journal', 'status')).out).toMatch(/plain +log +east, west/);
});

test('bytes in many batches and several epochs are found by a few heads', async () => {
  const all = randomBytes(40 * PIECE);
  for (let begin = 0; begin < all.length; begin += 20 * PIECE) {
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = begin; at < begin + 20 * PIECE; at += PIECE) {
        yield all.subarray(at, at + PIECE);
        await sleep(5);
      }
    };
    expect((await append('many', slow(), '--resume-at', String(begin), ...REGIONS)).code).toBe(0);
  }
  for (let tries = 0; tries < 8; tries++) {
    const [from = 0, to = 0] = [all, all].map(() => Math.floor(Math.random() * (all.length + 1))).sort((a, b) => a - b);
    expect({
      from,
      to,
      same: (await read('many', '--from', String(from), '--to', String(to))).equals(all.subarray(from, to)),
    }).toMatchObject({ same: true });
  }
});

/** As a controller tells Prometheus, which is asked until it has been looked up. */
async function atRisk(name: string): Promise<number> {
  const registry = new Registry();
  createRiskMetrics(registry, installation.home.environment, journalsOf(installation.home));
  for (const deadline = Date.now() + 60_000; ; await sleep(100)) {
    const [metric] = await registry.getMetricsAsJSON();
    const found = metric?.values.find(({ labels }) => labels['journal'] === name);
    if (found !== undefined) return Number(found.value);
    if (Date.now() > deadline) throw new Error(JSON.stringify(metric));
  }
}

test('a region is gone in the middle: a spare takes its place, and the rest is copied there', async () => {
  const all = randomBytes(60 * PIECE);
  const losing = async function* (): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 60; i++) {
      if (i === 20) move('west', 'away');
      yield all.subarray(i * PIECE, (i + 1) * PIECE);
      await sleep(5);
    }
  };
  const done = await append('lossy', losing(), ...REGIONS, '--spare', 'north:three', '--retries', '2');
  expect(done.err).toContain('lossy: goes on in east and north');
  expect(done).toMatchObject({ code: 0, out: `lossy: acknowledged up to byte ${all.length}\n` });
  expect((await read('lossy')).equals(all)).toBe(true);
  const before = await status('lossy');
  expect(before.members.map(({ region }) => region)).toEqual(['east', 'north']);
  expect(before.heldOnce.epochs.length).toBe(0);
  // West is said to hold the first epoch; the new pair alone holds it after this.
  expect((await run('journal', 'backfill', 'lossy')).out).toMatch(/north: holds 1 epoch more, .* copied/);
  expect((await run('journal', 'backfill', 'lossy')).out).toContain('lack nothing');
  expect(await atRisk('lossy')).toBe(0);
  move('east', 'away');
  expect((await read('lossy')).equals(all)).toBe(true);
  move('east', 'back');
  move('west', 'back');
});

test('an appender is killed, and the next one goes on behind all that was acknowledged', async () => {
  const all = randomBytes(400 * PIECE);
  let begin = 0;
  let acknowledged = 0;
  for (let round = 0; round < 2; round++) {
    const args = [MAIN, 'journal', 'append', 'killed', ...REGIONS, '--resume-at', String(begin), '--json'];
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
      env: installation.variables,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (text: Buffer) => (out += text.toString()));
    child.stderr.on('data', (text: Buffer) => (err += text.toString()));
    child.stdin.on('error', () => undefined);
    const exited = once(child, 'exit');
    const told = (): readonly number[] => [...out.matchAll(/"acknowledged":(\d+)/g)].map(([, offset]) => Number(offset));
    while (!out.includes('"begin"') && child.exitCode === null) await sleep(10);
    for (let at = begin; at < begin + 120 * PIECE && told().length < 8 && child.exitCode === null; at += PIECE) {
      child.stdin.write(all.subarray(at, at + PIECE));
      await sleep(5);
    }
    for (let tries = 0; tries < 3000 && told().length < 3 && child.exitCode === null; tries++) await sleep(10);
    child.kill('SIGKILL');
    await exited;
    expect(err).not.toContain('rror');
    acknowledged = Math.max(acknowledged, ...told());
    expect(acknowledged).toBeGreaterThan(begin);
    // What was taken and not acknowledged may be there, and then it is the beginning of what was sent.
    const { ends } = await status('killed');
    expect(ends?.end).toBeGreaterThanOrEqual(acknowledged);
    begin = ends?.end ?? 0;
    const seen = await read('killed');
    expect(seen.equals(all.subarray(0, seen.length))).toBe(true);
  }
  expect((await append('killed', pieces(all.subarray(begin)), '--resume-at', String(begin))).code).toBe(0);
  expect((await read('killed')).equals(all)).toBe(true);
});

test('one who follows a stream gets everything once, across a take-over, and who was taken over learns of it', async () => {
  expect(errorOf(await run('journal', 'tail', 'both', '--json')).code).toBe('JOURNAL_NOT_FOUND');
  let open: () => void = () => undefined;
  const taken = new Promise<void>((resolve) => (open = resolve));
  const first = append(
    'both',
    (async function* () {
      yield Buffer.from('one ');
      await taken;
      yield Buffer.from('lost');
    })(),
    ...REGIONS,
  );
  while ((await status('both').catch(() => null))?.ends?.acknowledged !== 4) await sleep(50);
  const stop: { handler: () => void } = { handler: () => undefined };
  const got: Uint8Array[] = [];
  const { runCli } = await import('../../../src/faces/cli/program.ts');
  const tail = runCli(['journal', 'tail', 'both', '--from', '2'], installation.variables, {
    input: () => pieces(),
    write: async (bytes) => void got.push(bytes),
    out: () => undefined,
    err: () => undefined,
    bar: null,
    onInterrupt(handler) {
      stop.handler = handler;
      return () => undefined;
    },
  });
  expect((await append('both', pieces('two'))).code).toBe(0);
  open();
  const fenced = await first;
  expect(fenced.code).toBe(4);
  expect(fenced.err).toContain('acknowledged up to byte 4, and no further');
  for (let tries = 0; tries < 600 && Buffer.concat(got).length < 5; tries++) await sleep(50);
  stop.handler();
  expect(await tail).toBe(130);
  expect(Buffer.concat(got).toString()).toBe('e two');
});

test('who cannot go on says how far it came', async () => {
  const losing = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('held');
    while ((await status('stuck').catch(() => null))?.ends?.acknowledged !== 4) await sleep(50);
    move('west', 'away');
    yield Buffer.from('not held');
    await sleep(60_000, undefined, { ref: false });
  };
  const done = await append('stuck', losing(), ...REGIONS, '--give-up', '5s', '--json');
  move('west', 'back');
  expect(done.code).toBe(6);
  expect(errorOf(done)).toMatchObject({ code: 'STORE_UNREACHABLE', details: { acknowledged: 4 } });
  expect((await read('stuck')).toString()).toBe('held');
});

test('what is damaged in one region is taken from the other; in both it is named, and not given', async () => {
  const all = randomBytes(8 * PIECE);
  await append('hurt', pieces(all), ...REGIONS);
  const damage = (store: string): void => {
    const folder = path.join(installation.storeFolder(store), 'journals', 'hurt', 'e');
    const epoch = path.join(folder, readdirSync(folder)[0] ?? '');
    const file = path.join(epoch, readdirSync(epoch).sort()[0] ?? '');
    const bytes = readFileSync(file);
    bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
    writeFileSync(file, bytes);
  };
  damage('east');
  const healed = await run('journal', 'read', 'hurt');
  expect(createHash('sha256').update(healed.bytes).digest('hex')).toBe(createHash('sha256').update(all).digest('hex'));
  expect(healed.err).toContain('warning: ');
  damage('west');
  const hurt = await run('journal', 'read', 'hurt', '--json');
  expect(errorOf(hurt)).toMatchObject({ code: 'DAMAGED', details: { offset: 0 } });
  expect(hurt.bytes.length).toBe(0);
});

test('a region of which this machine has no credentials is gone on without, and named', async () => {
  const credentials = { accessKeyIdEnv: 'NOBODY_HAS_SET_THIS', secretAccessKeyEnv: 'NOR_THIS' };
  await installation.addStore('keyless', { url: 's3://bucket/prefix', endpoint: 'http://127.0.0.1:9', credentials });
  await installation.addStore('tokenless', { url: 'replica://127.0.0.1:9?token=env:NOBODY_HAS_SET_THIS' });
  const done = await append('partly', pieces('bytes'), ...REGIONS, '--spare', 'keyless', '--spare', 'tokenless');
  expect(done).toMatchObject({ code: 0, out: 'partly: acknowledged up to byte 5\n' });
  expect(done.err).toMatch(/keyless does not answer: .*NOBODY_HAS_SET_THIS/);
  expect(done.err).toMatch(/tokenless does not answer: .*NOBODY_HAS_SET_THIS/);
  expect((await read('partly')).toString()).toBe('bytes');
});

test('a journal that was one of disks is not taken for a stream', async () => {
  const { home } = installation;
  const regions = ['east', 'west'].map((name) => ({ region: storeName(name), domain: name }));
  const record = { journal: 'disks', log: storeName('log'), regions };
  const { journal, candidates } = await openForAppending(home, record, false, () => undefined);
  const opened = await takeOver(journal, { owner: 'n1 disks', mode: 'pair', members: candidates, tailLost: false });
  {
    await using owner = new Owner({ journal, opened, writeAhead: null });
    for (const offset of [8192, 4096]) await owner.append([{ kind: 'write', volume: 0, offset, data: randomBytes(4096) }]);
    await owner.flush();
    await owner.drain();
  }
  const refused = await append('disks', pieces('bytes'), '--region', 'east', '--region', 'west', '--log', 'log', '--json');
  expect(errorOf(refused)).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'journal' } });
});

test('what does not fit is refused', async () => {
  const code = async (...args: readonly string[]): Promise<string> => errorOf(await run('journal', ...args, '--json')).code;
  expect(await code('read', 'nothing')).toBe('JOURNAL_NOT_FOUND');
  expect(await code('append', 'new')).toBe('ARGUMENT_INVALID');
  expect(await code('append', 'new', '--region', 'east:one', '--region', 'west:one')).toBe('ARGUMENT_INVALID');
  expect(await code('append', 'new', '--region', 'east', '--region', 'nowhere')).toBe('STORE_NOT_FOUND');
  const long = errorOf(await append('j'.repeat(50), pieces('x'), ...REGIONS, '--json'));
  expect(long).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'journal', limit: 49 } });
  expect(await code('append', 'plain', '--resume-at', '5')).toBe('ARGUMENT_INVALID');
  expect(await code('append', 'plain', '--log', 'east')).toBe('ARGUMENT_INVALID');
  expect(await code('read', 'plain', '--from', '19')).toBe('ARGUMENT_INVALID');
  // Who is refused has fenced nobody, and added nothing.
  expect(await status('plain')).toMatchObject({ ends: { end: 18 } });
  expect(errorOf(await run('store', 'remove', 'north', '--json')).code).toBe('STORE_EXISTS');
  expect((await run('journal', 'forget', 'lossy')).code).toBe(0);
  expect(await code('status', 'lossy')).toBe('JOURNAL_NOT_FOUND');
});
