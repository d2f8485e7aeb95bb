/** Protected disks that change hosts, through workflows: a host killed under load, a planned switch, steps whose answers are lost. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import { findProtection } from '../../src/engine/catalog/protections.ts';
import { hooksFolderOf } from '../../src/engine/volumes/host.ts';
import { openProtection } from '../../src/systems/protection/home-journal.ts';
import { useDisk } from '../engine/volumes/nbd/disk-user.ts';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { startFaultServer, type FaultServer } from '../faults/server.ts';
import { createRandom, type Random } from '../simulation/random.ts';
import { BLOCK, createHistory, type WriteHistory } from '../systems/protection/write-history.ts';
import { raiseSite, recovered, type Interfere, type Site } from './protected-site.ts';
import { raiseStage, type Stage } from './stage.ts';

const SIZE = 8 * 1024 * 1024;
const DISKS = ['one', 'two'];
/** What the history does not write to. */
const BEYOND = 12 * 1024 * 1024;
const WRITES_THERE = 300;
const WRITES_ON = 500;

let folder: string;
let server: FaultServer;
let stage: Stage;
let random: Random;
let history: WriteHistory;
let sites: Site[] = [];
let count = 0;

/** Answers of these are lost once: what was done is done again. */
const losing =
  (...names: readonly string[]): Interfere =>
  (activities) => {
    const lost = new Set<string>();
    const wrapped = Object.entries(activities).map(([name, operation]) => [
      name,
      async (...args: never[]) => {
        const result: unknown = await (operation as (...given: never[]) => Promise<unknown>)(...args);
        if (!names.includes(name) || lost.has(name)) return result;
        lost.add(name);
        throw ApplicationFailure.retryable('the answer is lost', 'STORE_UNREACHABLE');
      },
    ]);
    return Object.fromEntries(wrapped) as ReturnType<Interfere>;
  };

async function raise(interfere?: Interfere, sizeBytes = SIZE): Promise<readonly [Site, Site]> {
  const number = ++count;
  const [a, b] = [await raiseSite(stage, `a${number}`, interfere), await raiseSite(stage, `b${number}`, interfere)];
  sites = [a, b];
  await Promise.all([a.start(), b.start()]);
  for (const disk of DISKS) await a.attach(disk, sizeBytes);
  return [a, b];
}

/** Until there were some flushes, and something is in a region; whoever is cut off has stopped by itself. */
async function load(site: Site): Promise<() => Promise<void>> {
  const users = await Promise.all(DISKS.map((disk) => useDisk(site.uri(disk))));
  const loading = users.map((user, disk) => history.load(user, disk, 8));
  for (const until = Date.now() + 30_000, before = history.flushes; Date.now() < until; await sleep(20)) {
    const [status] = await site.host.disks.protection();
    if (history.flushes >= before + 10 && (status?.closed ?? 0) > 20) break;
  }
  return async () => {
    for (const user of users) user[Symbol.dispose]();
    await Promise.all(loading);
  };
}

async function fillBeyond(site: Site): Promise<void> {
  for (const disk of DISKS) {
    using user = await useDisk(site.uri(disk));
    for (let at = 0; at < BEYOND; at += 1024 * 1024) await user.write(SIZE + at, randomBytes(1024 * 1024));
    await user.flush();
  }
}

/** What is written from now on is in the journal, in one order with what was there. */
async function expectGoesOn(site: Site, journal: string): Promise<void> {
  const before = history.flushes;
  // All of it is answered: what a client leaves behind is made after it has left.
  const users = await Promise.all(DISKS.map((disk) => useDisk(site.uri(disk))));
  await Promise.all(users.map((user, disk) => history.load(user, disk, 8, WRITES_ON)));
  for (const user of users) await user.leave();
  expect(history.flushes).toBeGreaterThan(before);
  const seq = await site.point(journal);
  const images = await site.images(DISKS);
  history.adopt(images, 'answered');
  const points = await recovered(stage, journal, seq);
  expect(points.map((one, i) => one.equals(images[i] ?? Buffer.alloc(0)))).toEqual(DISKS.map(() => true));
}

const hostOf = async (journal: string): Promise<string> => findProtection(await stage.installation.home.catalog.sync(), journal).host;

async function pinsOf(journal: string): Promise<readonly string[]> {
  const { home } = stage.installation;
  const { reading } = await openProtection({ home, threads: stage.threads }, findProtection(await home.catalog.sync(), journal));
  return [...(await reading.journal.log.sync()).pins.keys()];
}

const describeBoth = await describeWith('temporal', 's3');
describeBoth('failover', () => {
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'hf-failover-'));
    server = await startFaultServer(folder, finder);
    Object.assign(process.env, server.variables);
    stage = await raiseStage(finder);
    for (const store of ['log', 'a', 'b']) await stage.installation.addStore(store, server.place(store));
    for (const store of ['near', 'far']) await stage.installation.addStore(store);
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    process.stderr.write(`seed ${seed}\n`);
    random = createRandom(seed);
    history = createHistory(SIZE / BLOCK, random);
  });
  afterEach(async () => {
    for (const site of sites) await site[Symbol.asyncDispose]();
  });

  test.each(['local', 'pair'] as const)(
    'mode %s: the host is killed under load: another one has a prefix, goes on with it, and the old one learns so',
    async (mode) => {
      const [a, b] = await raise();
      const journal = `killed-${mode}`;
      await a.protect(journal, DISKS, { mode });
      const stop = await load(a);
      await a.end('SIGKILL');
      await stop();
      const result = await stage.run('failover', { journal, host: b.name });
      expect(result).toMatchObject({ journal, from: a.name, to: b.name, planned: false });
      expect(result.point).toBe(result.end);
      expect(result.replayBytes).toBeGreaterThan(0);
      expect(result.uris).toHaveLength(DISKS.length);
      expect(Object.keys(result.stepsMs)).toEqual(['prepare', 'fence', 'recover', 'serve', 'protect']);
      const images = await b.images(DISKS);
      expect(() => history.checkPrefix(images, mode === 'pair' ? 'flushed' : 'none')).not.toThrow();
      expect(await hostOf(journal)).toBe(b.name);
      const [status] = await b.host.disks.protection();
      expect(status).toMatchObject({ gap: null });
      await a.start();
      await a.until(journal, 'FENCED');
      await expect(useDisk(a.uri('one')).then((user) => user.write(0, Buffer.alloc(BLOCK)))).rejects.toThrow();
      // What was lost is nobody's any more.
      history.adopt(images, 'none');
      await expectGoesOn(b, journal);
    },
    180_000,
  );

  test('planned: everything that was answered is there, also what nobody flushed', async () => {
    const [a, b] = await raise();
    await a.protect('planned', DISKS);
    const stop = await load(a);
    const result = await stage.run('failover', { journal: 'planned', host: b.name, planned: true });
    await stop();
    expect(result).toMatchObject({ planned: true, lostMsMax: 0 });
    expect(result.point).toBe(result.end);
    history.adopt(await b.images(DISKS), 'answered');
    expect(await a.host.disks.list()).toEqual([]);
    await expectGoesOn(b, 'planned');
  }, 180_000);

  test('every answer is lost once: each step finds what it has done', async () => {
    const steps = ['prepareFailover', 'handOverGroup', 'fenceGroup', 'recoverGroup', 'serveGroup', 'awaitProtected', 'endFailover'];
    const [a, b] = await raise(losing(...steps));
    await a.protect('lost', DISKS);
    const stop = await load(a);
    const result = await stage.run('failover', { journal: 'lost', host: b.name, planned: true });
    await stop();
    expect(result.point).toBe(result.end);
    history.adopt(await b.images(DISKS), 'answered');
    await expectGoesOn(b, 'lost');
  }, 180_000);

  test('a region that does not answer may hold more: consent is asked for, and nothing is done without', async () => {
    const [a, b] = await raise();
    const { installation } = stage;
    const members = ['near', 'far'].map((region) => ({ region: region as never, domain: region }));
    await a.protect('tail', DISKS, { members });
    const stop = await load(a);
    await a.end('SIGKILL');
    await stop();
    const far = installation.storeFolder('far');
    renameSync(far, `${far}.away`);
    expect(await stage.failure('failover', { journal: 'tail', host: b.name })).toBe('TAIL_LOST');
    expect(await hostOf('tail')).toBe(a.name);
    const result = await stage.run('failover', { journal: 'tail', host: b.name, tailLost: true });
    renameSync(`${far}.away`, far);
    const images = await b.images(DISKS);
    expect(() => history.checkPrefix(images, 'none')).not.toThrow();
    expect(result.lostMsMax).toBeGreaterThan(0);
  }, 180_000);

  test('a planned one from a host that has nothing to hand over fails, and the disks stay where they are', async () => {
    const [a, b] = await raise();
    await a.protect('stays', DISKS);
    await a.host.disks.unprotect('stays');
    expect(await stage.failure('failover', { journal: 'stays', host: b.name, planned: true })).toBe('NOT_PROTECTED');
    expect(await hostOf('stays')).toBe(a.name);
    expect(await stage.failure('failover', { journal: 'stays', host: a.name })).toBe('ARGUMENT_INVALID');
    expect(await stage.failure('failover', { journal: 'nobody', host: a.name })).toBe('JOURNAL_NOT_FOUND');
  }, 180_000);

  test('a test failover beside running writes: a prefix is found good, or not, and nothing is left, whatever becomes of it', async () => {
    const [a, b] = await raise();
    await a.protect('tested', DISKS);
    const [before] = await a.host.disks.protection();
    const stop = await load(a);
    const kept = path.join(b.folder, 'kept');
    const hook = path.join(hooksFolderOf(b.folder), 'tested', 'check');
    mkdirSync(path.dirname(hook), { recursive: true });
    mkdirSync(kept);
    const check = (script: string): void => writeFileSync(hook, `#!/bin/sh\n${script}\n`, { mode: 0o755 });

    check(`cp "$@" ${kept}; echo they are fine`);
    const result = await stage.run('testFailover', { journal: 'tested', host: b.name });
    expect(result).toMatchObject({ host: b.name, passed: true, checks: [{ by: hook, passed: true, said: 'they are fine' }] });
    expect(result.rtoMs).toBeGreaterThan(0);
    const images = DISKS.map((disk) => readFileSync(path.join(kept, `${disk}.img`)));
    expect(() => history.checkPrefix(images, 'none')).not.toThrow();

    check('echo the invoices are gone >&2; exit 3');
    const bad = await stage.run('testFailover', { journal: 'tested', host: b.name });
    expect(bad).toMatchObject({ passed: false, checks: [{ passed: false, said: 'the invoices are gone' }] });
    expect(bad.point).toBeGreaterThanOrEqual(result.point);

    // In the middle of its check.
    check(`touch ${kept}/begun; sleep 60`);
    const cancelled = await stage.start('testFailover', { journal: 'tested', host: b.name });
    for (const until = Date.now() + 60_000; !existsSync(path.join(kept, 'begun')) && Date.now() < until;) await sleep(20);
    await cancelled.cancel();
    await expect(cancelled.result()).rejects.toThrow();

    rmSync(hook);
    const read = await stage.run('testFailover', { journal: 'tested', host: b.name });
    expect(read.checks.map(({ by }) => by)).toEqual(['read', 'read']);

    expect(await pinsOf('tested')).toEqual([]);
    expect(readdirSync(path.join(b.folder, 'tests'))).toEqual([]);
    const [after] = await a.host.disks.protection();
    expect(after).toMatchObject({ epoch: before?.epoch, gap: null, lastError: null });
    expect(await hostOf('tested')).toBe(a.name);
    await stop();
    history.adopt(await a.images(DISKS), 'answered');
  }, 180_000);

  test('a test failover of ext4 is checked by its own checker', async () => {
    const [a, b] = await raise();
    const image = path.join(a.folder, 'made.ext4');
    execFileSync('mkfs.ext4', ['-q', '-F', image, '8M'], { stdio: 'pipe' });
    await a.protect('ext4', DISKS);
    using user = await useDisk(a.uri('one'));
    await user.write(0, readFileSync(image));
    await a.point('ext4');
    const { passed, checks } = await stage.run('testFailover', { journal: 'ext4', host: b.name });
    expect([passed, checks.map(({ by }) => by)]).toEqual([true, ['e2fsck -fn', 'read']]);
    // The bitmaps of its blocks.
    await user.write(64 * 1024, randomBytes(256 * 1024));
    await a.point('ext4');
    expect(await stage.run('testFailover', { journal: 'ext4' })).toMatchObject({ passed: false, host: a.name });
  }, 180_000);

  test('failback after a kill: only what differs is fetched, what nobody else has seen is undone, and nothing of the other host is lost', async () => {
    const [a, b] = await raise(losing('beginFailback', 'catchUpGroup', 'catchUpLast', 'endFailover'), SIZE + BEYOND);
    await a.protect('back', DISKS);
    await fillBeyond(a);
    // In a region: what is not is fetched again.
    await a.point('back');
    const stop = await load(a);
    await a.end('SIGKILL');
    await stop();
    await stage.run('failover', { journal: 'back', host: b.name });
    history.adopt(await b.images(DISKS), 'none');
    await a.start();
    const users = await Promise.all(DISKS.map((disk) => useDisk(b.uri(disk))));
    const loading = users.map((user, disk) => history.load(user, disk, 4, WRITES_THERE));
    const result = await stage.run('failback', { journal: 'back', host: a.name });
    await Promise.all(loading);
    expect(result).toMatchObject({ from: b.name, to: a.name, full: null, lostMsMax: 0 });
    expect(result.fetchedBytes).toBeGreaterThan(0);
    // All that the history writes to, once, and what was written there; of 2 x 12 MiB that nobody has written to since, nothing.
    expect(result.fetchedBytes).toBeLessThanOrEqual(2 * SIZE + 2 * WRITES_THERE * BLOCK);
    expect(2 * SIZE + 2 * WRITES_THERE * BLOCK).toBeLessThan(2 * BEYOND);
    const images = await a.images(DISKS);
    history.adopt(images, 'answered');
    const others = await b.images(DISKS);
    expect(images.map((image, i) => image.equals(others[i] ?? Buffer.alloc(0)))).toEqual(DISKS.map(() => true));
    expect(await pinsOf('back')).toEqual([]);
    expect(await hostOf('back')).toBe(a.name);
    await b.host.disks.takeUp('back');
    await b.until('back', 'FENCED');
    await expectGoesOn(a, 'back');
  }, 240_000);

  test('failback to a host that does not know what its files hold says so, and fetches all', async () => {
    const [a, b] = await raise();
    await a.protect('unclear', DISKS);
    const stop = await load(a);
    await stage.run('failover', { journal: 'unclear', host: b.name, planned: true });
    await stop();
    history.adopt(await b.images(DISKS), 'answered');
    // Somebody has written to one of them.
    writeFileSync(path.join(a.folder, 'one.img'), 'mine', { flag: 'r+' });
    const result = await stage.run('failback', { journal: 'unclear', host: a.name });
    expect(result.full).toMatch(/somebody has written/);
    history.adopt(await a.images(DISKS), 'answered');
    expect(readFileSync(path.join(a.folder, 'one.img')).subarray(0, 4).toString()).toBe('mine');
    await expectGoesOn(a, 'unclear');
    // And to and fro: what was handed over is known to the byte.
    const again = await stage.run('failback', { journal: 'unclear', host: b.name });
    expect(again).toMatchObject({ full: null });
    history.adopt(await b.images(DISKS), 'answered');
    await expectGoesOn(b, 'unclear');
  }, 240_000);
});
