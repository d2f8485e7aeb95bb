/** Disks whose every write goes to a journal: points, bases, states, what comes back after a stop and after being overtaken. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync, openSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { newSnapshotId, volumeName } from '../../../src/domain/ids.ts';
import { listPoints } from '../../../src/engine/journal/reading/points.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import { takeOver } from '../../../src/engine/journal/takeover/take-over.ts';
import { Places } from '../../../src/systems/protection/places.ts';
import type { DiskServer } from '../../../src/systems/serving/disk-server.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { EXTENT, openWorld, SIZE, type ProtectionWorld } from './protection-world.ts';

let folder: string;
let world: ProtectionWorld;
let server: DiskServer;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-protect-'));
  world = openWorld(folder);
  server = await world.start();
});
afterEach(async () => {
  world.putMs = 0;
  world.isSilent = () => false;
  world.away.clear();
  await server[Symbol.asyncDispose]();
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

const image = (disk = 'db'): Buffer => readFileSync(path.join(folder, `${disk}.img`));

describe('a protected disk', () => {
  test('that is blank is protected at once, and each flush is a point that is recovered to the byte', async () => {
    const uri = await world.attach('db');
    expect(await world.host.disks.protect(world.group(['db']))).toMatchObject({ state: 'PROTECTED', epoch: 1, gap: null });
    using user = await useDisk(uri);
    const states: { readonly seq: number; readonly image: Buffer }[] = [];
    for (let i = 1; i <= 4; i++) {
      await user.write(i * 1000, Buffer.alloc(5000, i));
      await user.flush();
      states.push({ ...(await world.host.disks.point('j', [])), image: image() });
      await user.write(40 * EXTENT, Buffer.alloc(EXTENT, i));
    }
    states.push({ ...(await world.host.disks.point('j', [])), image: image() });
    const newest = states.at(-1)?.seq ?? 0;
    await world.untilListed(newest);
    const { points } = await listPoints(readingOf(await world.journal()));
    expect(points.map(({ seq }) => seq)).toEqual(expect.arrayContaining(states.map(({ seq }) => seq)));
    for (const { seq, image: then } of states) {
      const { paths } = await world.recover(seq, [SIZE]);
      expect(readFileSync(paths[0] ?? '').equals(then)).toBe(true);
    }
  });

  test('whose user never flushes has points all the same', async () => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db']));
    using user = await useDisk(uri);
    await user.write(0, Buffer.from('never flushed'));
    const reading = readingOf(await world.journal());
    for (let tries = 0; tries < 1000 && (await listPoints(reading)).points.every(({ seq }) => seq < 3); tries++) await sleep(20);
    const { points } = await listPoints(reading);
    const { paths } = await world.recover(points.at(-1)?.seq ?? 0, [SIZE]);
    expect(readFileSync(paths[0] ?? '').equals(image())).toBe(true);
    // And no more while nothing changes.
    await sleep(2500);
    expect((await listPoints(reading)).points).toHaveLength(points.length);
  });

  test('that is not blank has points from its first base on', async () => {
    const uri = await world.attach('db');
    using user = await useDisk(uri);
    await user.write(0, Buffer.alloc(3 * EXTENT, 7));
    expect(await world.host.disks.protect(world.group(['db']))).toMatchObject({ state: 'RESYNC', gap: 1 });
    await user.write(EXTENT, Buffer.from('while it is not based'));
    await user.flush();
    const outcomes = await world.takeBase();
    expect(outcomes.map(({ kind }) => kind)).toEqual(['recorded', 'recorded']);
    await world.until('PROTECTED');
    await user.write(2 * EXTENT, Buffer.from('after'));
    const { seq } = await world.host.disks.point('j', []);
    const { points, gaps } = await listPoints(readingOf(await world.journal()));
    expect(gaps).toEqual([1]);
    expect(points[0]?.seq).toBeGreaterThan(3);
    await world.untilListed(seq);
    const { paths, recovered } = await world.recover(seq, [SIZE]);
    expect(recovered.baseSeq).toBeGreaterThan(1);
    expect(readFileSync(paths[0] ?? '').equals(image())).toBe(true);
  });

  test.each(['what a base is put to', 'its journal'])('has its first base though one region is silent: %s', async (what) => {
    const uri = await world.attach('db');
    using user = await useDisk(uri);
    await user.write(0, Buffer.alloc(3 * EXTENT, 7));
    await world.host.disks.protect(world.group(['db']));
    await world.until('RESYNC');
    const isOf = (object: string): boolean => object.startsWith('journals/') === (what === 'its journal');
    const outcomes = await world.takeBase({
      // Its repository is open, and it answered so far.
      onProgress: () => (world.isSilent = (store, object) => store === 'b' && isOf(object)),
      silentMs: 6000,
    });
    expect(outcomes).toEqual([
      expect.objectContaining({ region: 'a', kind: 'recorded' }),
      expect.objectContaining({ region: 'b', kind: 'none', code: 'STORE_UNREACHABLE', why: expect.stringContaining('b is waited for') }),
    ]);
    await world.until('PROTECTED', 'CATCHING_UP');
    world.isSilent = () => false;
    await world.until('PROTECTED');
    expect((await world.takeBase()).map(({ kind }) => kind)).toEqual(['recorded', 'recorded']);
  });

  test('is one moment with the others of its group, and a capture of all of them knows its number', async () => {
    const [one, two] = [await world.attach('one'), await world.attach('two', SIZE / 2)];
    await world.host.disks.protect(world.group(['one', 'two'], { mode: 'pair' }));
    using first = await useDisk(one);
    using second = await useDisk(two);
    for (let i = 0; i < 50; i++)
      await Promise.all([first.write(i * 512, Buffer.alloc(512, i)), second.write(i * 512, Buffer.alloc(512, i))]);
    const wanted = ['one', 'two'].map((disk) => ({ disk, volume: volumeName(disk), snapshot: newSnapshotId(Date.now(), Math.random) }));
    const views = await world.host.disks.freeze(wanted);
    const [place] = views.map((view) => view.place);
    expect(place).toMatchObject({ journal: 'j' });
    const frozen = [image('one'), image('two')];
    await Promise.all([first.write(0, Buffer.from('later')), second.write(0, Buffer.from('later'))]);
    await first.flush();
    await world.untilListed(place?.seq ?? 0);
    const { paths } = await world.recover(place?.seq ?? 0, [SIZE, SIZE / 2]);
    expect(paths.map((file, i) => readFileSync(file).equals(frozen[i] ?? Buffer.alloc(0)))).toEqual([true, true]);
    expect((await world.host.disks.freeze(wanted.slice(0, 1)))[0]?.place).not.toBeNull();
  });

  test('comes back protected after a stop, and after a stop in which somebody wrote to it needs a base', async () => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db']));
    {
      using user = await useDisk(uri);
      await user.write(0, Buffer.from('before'));
      await user.leave();
    }
    await server[Symbol.asyncDispose]();
    server = await world.start();
    await world.until('PROTECTED');
    expect((await world.host.disks.protection())[0]).toMatchObject({ gap: null });
    await server[Symbol.asyncDispose]();
    const fd = openSync(path.join(folder, 'db.img'), 'r+');
    writeSync(fd, Buffer.from('around the server'), 0, 17, EXTENT);
    closeSync(fd);
    server = await world.start();
    await world.until('RESYNC');
    await world.takeBase();
    await world.until('PROTECTED');
    const { seq } = await world.host.disks.point('j', []);
    await world.untilListed(seq);
    const { paths } = await world.recover(seq, [SIZE]);
    expect(readFileSync(paths[0] ?? '').equals(image())).toBe(true);
  });

  test.each(['local', 'pair'] as const)('that somebody has taken over (%s) refuses writes, and is not served again', async (mode) => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db'], { mode }));
    using user = await useDisk(uri);
    await user.write(0, Buffer.from('mine'));
    await user.flush();
    const members = world.group(['db']).members;
    const { epoch } = await takeOver(await world.journal(), { owner: 'somebody', mode, members, tailLost: false });
    await expect(
      (async () => {
        for (;;) {
          await user.write(EXTENT, Buffer.from('not any more'));
          await user.flush();
          await sleep(10);
        }
      })(),
    ).rejects.toThrow();
    await world.until('FENCED');
    const before = image();
    await expect(user.write(2 * EXTENT, Buffer.from('never'))).rejects.toThrow();
    expect(image().equals(before)).toBe(true);
    await server[Symbol.asyncDispose]();
    server = await world.start();
    await world.until('FENCED');
    expect((await world.host.disks.protection())[0]).toMatchObject({ epoch, lastError: { code: 'JOURNAL_FENCED' } });
    await expect(useDisk(uri)).rejects.toThrow();
    if (mode === 'local') expect(readdirSync(path.join(folder, 'disks/.journals/j/wal'))).toContainEqual(expect.stringMatching(/^orphan-/));
  });

  test('what failed in a member is said while it fails, and not when it has recovered', async () => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db']));
    using user = await useDisk(uri);
    const errors = async () => (await world.host.disks.protection())[0]?.members.map(({ lastError }) => lastError);
    const untilErrors = async (...wanted: readonly (string | null)[]): Promise<void> => {
      for (let tries = 0; JSON.stringify(await errors()) !== JSON.stringify(wanted); tries++) {
        if (tries > 600) throw new Error(`it stays at ${JSON.stringify(await errors())}`);
        await sleep(50);
      }
    };
    world.away.add('b');
    await user.write(0, Buffer.from('for one of them'));
    await untilErrors(null, 'STORE_UNREACHABLE');
    world.away.clear();
    await untilErrors(null, null);
  });

  test.each(['local', 'pair'] as const)('that somebody has taken over (%s) says so though nobody uses it, and once', async (mode) => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db'], { mode }));
    {
      using user = await useDisk(uri);
      await user.write(0, Buffer.from('mine'));
      await user.flush();
      await user.leave();
    }
    const told = () => world.events.filter((event) => event.kind === 'state' && event.state === 'FENCED');
    // The log is away for a while: no trouble.
    world.away.add('log');
    const members = world.group(['db']).members;
    await sleep(2500);
    expect((await world.host.disks.protection())[0]).toMatchObject({ state: 'PROTECTED', lastError: null });
    world.away.clear();
    const { epoch } = await takeOver(await world.journal(), { owner: 'somebody', mode, members, tailLost: false });
    await world.until('FENCED');
    expect((await world.host.disks.protection())[0]).toMatchObject({ epoch, lastError: { code: 'JOURNAL_FENCED' } });
    await sleep(600);
    expect(told()).toHaveLength(1);
    await server[Symbol.asyncDispose]();
    server = await world.start();
    await world.until('FENCED');
    await sleep(600);
    expect(told()).toHaveLength(2);
  });

  test.each(['local', 'pair'] as const)(
    'that was killed (%s) with changes which are on its disk, and in no region, comes back with them, and without a gap',
    async (mode) => {
      const uri = await world.attach('db');
      await world.host.disks.protect(world.group(['db'], { mode }));
      {
        using user = await useDisk(uri);
        await user.write(0, Buffer.from('in the regions'));
        await user.flush();
        await user.leave();
      }
      await server[Symbol.asyncDispose]();
      // As a kill leaves it after a checkpoint: the volume has synced a change of which the record did not get anywhere.
      const stateFile = path.join(folder, 'disks/.journals/j/state.json');
      const state = JSON.parse(readFileSync(stateFile, 'utf8')) as { readonly synced: number };
      // The stop itself made a flush.
      const seq = state.synced + 2;
      writeFileSync(stateFile, JSON.stringify({ ...state, synced: seq, clean: null }));
      using places = Places.open(path.join(folder, 'disks/.journals/j/places'));
      places.note({ seq, volume: 0, offset: EXTENT, length: 512 });
      const fd = openSync(path.join(folder, 'db.img'), 'r+');
      writeSync(fd, Buffer.alloc(512, 7), 0, 512, EXTENT);
      closeSync(fd);
      server = await world.start();
      await world.until('PROTECTED', 'RESYNC');
      expect((await world.host.disks.protection())[0]).toMatchObject({ state: 'PROTECTED', gap: null });
      const point = await world.host.disks.point('j', []);
      await world.untilListed(point.seq);
      expect(readFileSync((await world.recover(point.seq, [SIZE])).paths[0] ?? '').equals(image())).toBe(true);
    },
  );

  test('has a point that is asked for while a flush and writes are under way', async () => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db'], { mode: 'pair' }));
    using user = await useDisk(uri);
    await user.write(0, Buffer.from('in it'));
    world.putMs = 400;
    const flushed = user.flush();
    await sleep(100);
    const asked = world.host.disks.point('j', []);
    await sleep(100);
    await user.write(0, Buffer.from('later'));
    const [{ seq }] = await Promise.all([asked, flushed]);
    world.putMs = 0;
    await user.flush();
    const { points } = await listPoints(readingOf(await world.journal()));
    expect(points.map((point) => point.seq)).toContain(seq);
  });

  test('whose stores are away goes on without its journal, says so, and comes back by itself but for a base', async () => {
    const uri = await world.attach('db');
    await server[Symbol.asyncDispose]();
    const limits = { owner: { heldBytesMax: 1024 * 1024 }, bitmapAfterMs: 300, resyncHeldBytes: 256 * 1024 };
    server = await world.start(limits);
    await world.host.disks.protect(world.group(['db']));
    using user = await useDisk(uri);
    await user.write(0, Buffer.alloc(EXTENT, 1));
    const { seq: kept } = await world.host.disks.point('j', []);
    const then = image();
    for (const name of ['a', 'b']) world.away.add(name);
    // More than the owner takes: writes wait, until order is given up.
    for (let i = 0; i < 200; i++) await user.write((i % 64) * EXTENT, Buffer.alloc(EXTENT, i));
    await world.until('BITMAP');
    await user.flush();
    await expect(world.host.disks.point('j', [])).rejects.toMatchObject({ code: 'NOT_PROTECTED' });
    world.away.clear();
    await world.until('RESYNC');
    await user.write(EXTENT, Buffer.from('recorded again'));
    await world.takeBase();
    await world.until('PROTECTED');
    const { seq } = await world.host.disks.point('j', []);
    await world.untilListed(seq);
    expect(readFileSync((await world.recover(seq, [SIZE])).paths[0] ?? '').equals(image())).toBe(true);
    expect(readFileSync((await world.recover(kept, [SIZE])).paths[0] ?? '').equals(then)).toBe(true);
  });

  test('is not served while another one of its group cannot be', async () => {
    await world.attach('one');
    await world.attach('two');
    await world.host.disks.protect(world.group(['one', 'two']));
    await server[Symbol.asyncDispose]();
    rmSync(path.join(folder, 'two.img'));
    server = await world.start();
    expect(world.events).toContainEqual(expect.objectContaining({ kind: 'unserved', disk: 'one' }));
    await expect(
      world.host.disks.freeze([{ disk: 'one', volume: volumeName('one'), snapshot: newSnapshotId(1, Math.random) }]),
    ).resolves.toMatchObject([{ place: null }]);
    await world.host.disks.unprotect('j');
    await world.host.disks.detach('two', true);
  });

  test('waits to be served until its journal can be opened', async () => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db']));
    await server[Symbol.asyncDispose]();
    world.away.add('log');
    server = await world.start();
    await expect(useDisk(uri)).rejects.toThrow();
    expect((await world.host.disks.protection())[0]).toMatchObject({ state: 'OPENING' });
    world.away.clear();
    await world.until('PROTECTED');
    using user = await useDisk(uri);
    await user.write(0, Buffer.from('x'));
  });

  test('is let go: writes go on, the journal stays, and it can be detached', async () => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db']));
    using user = await useDisk(uri);
    await user.write(0, Buffer.from('in it'));
    const { seq } = await world.host.disks.point('j', []);
    const then = image();
    await expect(world.host.disks.detach('db', true)).rejects.toMatchObject({ code: 'DISK_IN_USE' });
    await world.host.disks.unprotect('j');
    await user.write(0, Buffer.from('not in it'));
    await user.flush();
    expect(await world.host.disks.protection()).toEqual([]);
    expect(readFileSync((await world.recover(seq, [SIZE])).paths[0] ?? '').equals(then)).toBe(true);
    // Begun again it goes on with its journal, behind a gap.
    expect(await world.host.disks.protect(world.group(['db']))).toMatchObject({ state: 'RESYNC' });
    await world.takeBase();
    await world.until('PROTECTED');
    expect(readFileSync((await world.recover(seq, [SIZE])).paths[0] ?? '').equals(then)).toBe(true);
    const { seq: later } = await world.host.disks.point('j', []);
    await world.untilListed(later);
    expect(readFileSync((await world.recover(later, [SIZE])).paths[0] ?? '').equals(image())).toBe(true);
    await world.host.disks.unprotect('j');
    await world.host.disks.detach('db', true);
  });

  test.each(['local', 'pair'] as const)('is not protected by a journal that somebody else owns (%s), and stays as it was', async (mode) => {
    const uri = await world.attach('db');
    await world.host.disks.protect(world.group(['db'], { mode }));
    await world.host.disks.unprotect('j');
    await takeOver(await world.journal(), { owner: 'n2 else', mode, members: world.group(['db']).members, tailLost: false });
    await expect(world.host.disks.protect(world.group(['db'], { mode }))).rejects.toMatchObject({ code: 'JOURNAL_FENCED' });
    expect(await world.host.disks.protection()).toEqual([]);
    using user = await useDisk(uri);
    await user.write(0, Buffer.from('as before'));
    await user.flush();
  });
});
