/** A group that is handed over ends where its host says, and what is written down of it is taken up again, here or elsewhere. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { currentEpoch } from '../../../src/engine/journal/state.ts';
import { takeOver } from '../../../src/engine/journal/takeover/take-over.ts';
import type { DiskServer } from '../../../src/systems/serving/disk-server.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { openWorld, SIZE, type ProtectionWorld } from './protection-world.ts';

let folder: string;
let world: ProtectionWorld;
let server: DiskServer;
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-hand-over-'));
  world = openWorld(folder);
  server = await world.start();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

test.each(['local', 'pair'] as const)('mode %s: the number that is told is the end, and all of it is in the regions', async (mode) => {
  const uri = await world.attach('one');
  await world.host.disks.protect(world.group(['one'], { mode }));
  await world.until('PROTECTED', 'CATCHING_UP');
  using user = await useDisk(uri);
  for (let i = 0; i < 20; i++) await user.write(i * 4096, Buffer.alloc(4096, i + 1));
  // Not flushed: that it was answered is enough.
  const end = await world.host.disks.handOver('j');
  expect(end).toBeGreaterThan(20);
  expect(await world.host.disks.handOver('j')).toBe(end);
  expect(server.disks).toEqual([]);
  await expect(user.write(0, Buffer.alloc(4096))).rejects.toThrow();

  const journal = await world.journal();
  const { members } = world.group(['one']);
  const { closed } = await takeOver(journal, { owner: 'n2 x', mode, members, tailLost: false });
  expect(closed?.end?.seq).toBe(end);
  const { paths } = await world.recover(end ?? 0, [SIZE]);
  expect(readFileSync(paths[0] ?? '').equals(readFileSync(path.join(folder, 'one.img')))).toBe(true);
  // It learns whose the journal is when it is taken up again, and is not served.
  await world.host.disks.takeUp('j');
  await world.until('FENCED');
});

test('what was handed over, and taken by nobody, is taken up again without a gap', async () => {
  const uri = await world.attach('one');
  await world.host.disks.protect(world.group(['one']));
  await world.until('PROTECTED', 'CATCHING_UP');
  using user = await useDisk(uri);
  await user.write(0, Buffer.alloc(4096, 7));
  const end = (await world.host.disks.handOver('j')) ?? 0;
  await world.host.disks.takeUp('j');
  await world.host.disks.takeUp('j');
  await world.until('PROTECTED', 'CATCHING_UP');
  const [status] = await world.host.disks.protection();
  expect(status).toMatchObject({ gap: null });
  expect(currentEpoch(await (await world.journal()).log.sync())?.start).toBe(end + 1);
  using again = await useDisk(uri);
  expect((await again.read(0, 4096)).every((byte) => byte === 7)).toBe(true);
});

test('while the regions take nothing it is not handed over, and goes on', async () => {
  await server[Symbol.asyncDispose]();
  server = await world.start({ handOverMs: 500 });
  const uri = await world.attach('one');
  await world.host.disks.protect(world.group(['one']));
  await world.until('PROTECTED', 'CATCHING_UP');
  using user = await useDisk(uri);
  for (const region of ['a', 'b']) world.away.add(region);
  await user.write(0, Buffer.alloc(4096, 7));
  await expect(world.host.disks.handOver('j')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  world.away.clear();
  await world.until('PROTECTED', 'CATCHING_UP');
  using again = await useDisk(uri);
  await again.write(4096, Buffer.alloc(4096, 8));
  await again.flush();
});
