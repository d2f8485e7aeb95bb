/**
 * A disk server is killed under load, again and again, and once the machine is lost with it: what was acknowledged is in the volume and in
 * what is recovered from the stores, and both are the same to the byte.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync, openSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createRandom, type Random } from '../../simulation/random.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { openWorld, type ProtectionWorld } from './protection-world.ts';
import { BLOCK, createHistory, type WriteHistory } from './write-history.ts';

const SIZE = 8 * 1024 * 1024;
const DISKS = ['one', 'two'];
/** The history has the first half of each disk, and fio the rest. */
const HISTORY_BLOCKS = SIZE / 2 / BLOCK;
const ROUNDS = 3;

let folder: string;
let world: ProtectionWorld;
let child: ChildProcess | null;
let random: Random;
let history: WriteHistory;

beforeEach(() => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  process.stderr.write(`seed ${seed}\n`);
  random = createRandom(seed);
  history = createHistory(HISTORY_BLOCKS, random);
  folder = mkdtempSync(path.join(tmpdir(), 'hf-protect-kill-'));
  world = openWorld(folder);
  child = null;
});
afterEach(async () => {
  await end('SIGKILL');
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<void> {
  const node = fork(path.join(import.meta.dirname, 'protected-node.ts'), [folder], { execArgv: [] });
  child = node;
  await new Promise((resolve, reject) => {
    node.once('message', resolve);
    node.once('exit', () => reject(new Error('the disk server has ended')));
  });
}

async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const ending = child;
  child = null;
  if (ending === null) return;
  const exited = new Promise((resolve) => ending.once('exit', resolve));
  ending.kill(signal);
  await exited;
}

const images = (): Buffer[] => DISKS.map((disk) => readFileSync(path.join(folder, `${disk}.img`)));
const uri = (disk: string): string => `nbd+unix:///${disk}?socket=${path.join(folder, 'disks/nbd.sock')}`;

/** Loads all disks for a while, in which something has come into a region; `stop` ends it. */
async function load(stop: () => Promise<void>): Promise<void> {
  const users = await Promise.all(DISKS.map((disk) => useDisk(uri(disk))));
  const loading: Promise<unknown>[] = users.map((user, i) => history.load(user, i, 8));
  for (const disk of DISKS) loading.push(once(fio(disk), 'exit'));
  for (const until = Date.now() + 30_000, before = history.flushes; Date.now() < until; await sleep(20)) {
    const [status] = await world.host.disks.protection();
    if (history.flushes >= before + 5 && (status?.closed ?? 0) > 20) break;
  }
  await sleep(random.below(600));
  await stop();
  await Promise.all(loading);
}

function fio(disk: string): ChildProcess {
  const load = [
    `--name=${disk}`,
    '--ioengine=nbd',
    `--uri=${uri(disk)}`,
    '--rw=randwrite',
    '--bsrange=512-64k',
    '--iodepth=16',
    '--fsync=32',
  ];
  const where = ['--time_based', '--runtime=60', `--offset=${SIZE / 2}`, `--size=${SIZE / 2}`, `--randseed=${random.below(1000)}`];
  return spawn('fio', [...load, ...where], { stdio: 'ignore', cwd: folder });
}

async function recovered(seq: number): Promise<readonly Buffer[]> {
  const { paths } = await world.recover(
    seq,
    DISKS.map(() => SIZE),
  );
  return paths.map((file) => readFileSync(file));
}

const describeFio = await describeWithPrograms('fio');
describeFio.each(['local', 'pair'] as const)('killed under load, mode %s', (mode) => {
  test('what was answered is in the volumes, and the journal is what the volumes are', async () => {
    await start();
    for (const disk of DISKS) await world.attach(disk, SIZE);
    await world.host.disks.protect(world.group(DISKS, { mode }));
    for (let round = 1; round <= ROUNDS; round++) {
      await load(() => end('SIGKILL'));
      expect(history.flushes).toBeGreaterThan(0);
      history.adopt(images(), 'answered');
      await start();
      await world.until('PROTECTED', 'CATCHING_UP');
      const { seq } = await world.host.disks.point('j', []);
      const volumes = images();
      await world.untilListed(seq);
      const points = await recovered(seq);
      expect(points.map((one, i) => one.equals(volumes[i] ?? Buffer.alloc(0)))).toEqual([true, true]);
      expect(() => history.checkPrefix(points, 'flushed')).not.toThrow();
    }
  });

  test('what the regions have without the host is a prefix, of a pair with every flush', async () => {
    await start();
    for (const disk of DISKS) await world.attach(disk, SIZE);
    await world.host.disks.protect(world.group(DISKS, { mode }));
    await load(() => end('SIGKILL'));
    rmSync(path.join(folder, 'disks'), { recursive: true });
    const journal = await world.journal();
    const { takeOver } = await import('../../../src/engine/journal/takeover/take-over.ts');
    const { closed: before } = await takeOver(journal, { owner: 'site two', mode, members: world.group(DISKS).members, tailLost: false });
    const seq = before?.end?.seq ?? 0;
    expect(() => expect(seq).toBeGreaterThan(0)).not.toThrow();
    const points = await recovered(seq);
    expect(() => history.checkPrefix(points, mode === 'pair' ? 'flushed' : 'none')).not.toThrow();
  });

  test('the machine is lost: what was flushed is written again, and a base makes volumes and journal one', async () => {
    await start();
    for (const disk of DISKS) await world.attach(disk, SIZE);
    await world.host.disks.protect(world.group(DISKS, { mode }));
    let older: readonly Buffer[] = [];
    await load(async () => {
      // What was on the disks some time ago: after a checkpoint, whose number the state has.
      const state = path.join(folder, 'disks/.journals/j/state.json');
      for (let tries = 0; tries < 1000 && !/"synced": [1-9]/.test(readFileSync(state, 'utf8')); tries++) await sleep(20);
      copyFileSync(state, path.join(folder, 'state.json'));
      older = images();
      await sleep(200 + random.below(500));
      await end('SIGKILL');
    });
    // Any block may have been written since, or not.
    const newer = images();
    for (const [i, disk] of DISKS.entries()) {
      const fd = openSync(path.join(folder, `${disk}.img`), 'r+');
      for (let at = 0; at < SIZE; at += BLOCK) if (random.chance(0.5)) writeSync(fd, older[i] ?? Buffer.alloc(0), at, BLOCK, at);
      closeSync(fd);
    }
    expect(images().every((one, i) => one.equals(newer[i] ?? one))).toBe(false);
    const state = JSON.parse(readFileSync(path.join(folder, 'state.json'), 'utf8')) as object;
    writeFileSync(path.join(folder, 'disks/.journals/j/state.json'), JSON.stringify({ ...state, boot: 'another' }));
    await start();
    await world.until('RESYNC');
    history.adopt(images(), 'flushed');
    // A region that lagged lacks the end of the epoch before: it gets a base when it was filled.
    const others = (await world.takeBase()).filter(({ kind }) => kind !== 'recorded');
    const lacks = /does not hold what is before|lacks something of closed epochs/;
    expect(others).toEqual(others.map(() => expect.objectContaining({ why: expect.stringMatching(lacks) })));
    expect(others.length).toBeLessThan(2);
    await world.until('PROTECTED', 'CATCHING_UP');
    const { seq } = await world.host.disks.point('j', []);
    const volumes = images();
    await world.untilListed(seq);
    expect((await recovered(seq)).map((one, i) => one.equals(volumes[i] ?? Buffer.alloc(0)))).toEqual([true, true]);
  });
});
