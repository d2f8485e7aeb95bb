/**
 * A file system on a served volume: made, mounted and filled by the kernel, frozen while it is busy, and clean in the view.
 *
 * A view is what a disk is after a power cut, so it is mounted once, for its journal, before `e2fsck -fn` judges it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { conformanceVolume, type ConformanceVolume } from './conformance-volume.ts';
import { describeWithMounts, expectClean, mountVolume, replayJournal, run } from './mounting.ts';

const MIB = 1024 * 1024;
const SIZE = 128 * MIB;
/** That one writer makes. */
const FILES = 200;

async function copyOf(volume: ConformanceVolume, snapshot: string): Promise<string> {
  const copy = path.join(volume.folder, `${snapshot}.img`);
  await run('nbdcopy', volume.uri(`disk@${snapshot}`), copy);
  return copy;
}

const content = (name: string): Buffer =>
  Buffer.concat(Array.from({ length: 3000 }, (_, i) => createHash('sha256').update(`${name} ${i}`).digest()));

const describeMounted = await describeWithMounts('nbdcopy', 'e2fsck', 'debugfs');
describeMounted('mounted', () => {
  test('files written while it is frozen: every view is a clean file system with all that was synced before it', async () => {
    await using volume = await conformanceVolume(SIZE);
    const views: { readonly snapshot: string; readonly synced: readonly string[] }[] = [];
    {
      await using mounted = await mountVolume(volume.uri(), path.join(volume.folder, 'mounted'));
      const synced: string[] = [];
      let stop = false;
      const fill = async (worker: number): Promise<void> => {
        for (let i = 0; !stop; i++) {
          const [name, once] = [`f${worker}-${i % FILES}`, i % 4 === 0];
          // What was synced stays as it is; the others are written anew, again and again.
          if (once && i >= FILES) continue;
          await using file = await open(path.join(mounted.folder, name), 'w');
          await file.write(content(name));
          if (!once) continue;
          await file.sync();
          synced.push(name);
        }
      };
      const going = Promise.allSettled([1, 2, 3].map(fill));
      try {
        for (const snapshot of ['s1', 's2', 's3']) {
          await sleep(700);
          for (const until = Date.now() + 30_000; synced.length === 0 && Date.now() < until;) await sleep(20);
          const before = [...synced];
          await volume.freeze(snapshot);
          views.push({ snapshot, synced: before });
        }
        // The first is read while they still write, and again when they are done.
        await copyOf(volume, 's1');
      } finally {
        stop = true;
        await going;
      }
      expect((await going).filter(({ status }) => status === 'rejected')).toEqual([]);
    }
    await volume.freeze('end');
    for (const { snapshot, synced } of [...views, { snapshot: 'end', synced: [] }]) {
      const copy = await copyOf(volume, snapshot);
      await replayJournal(copy);
      await expectClean(copy);
      expect(snapshot === 'end' || synced.length > 0).toBe(true);
      for (const name of synced.filter((_, i) => i % 3 === 0)) {
        const out = path.join(volume.folder, 'out');
        await run('debugfs', '-R', `dump ${name} ${out}`, copy);
        expect([name, (await readFile(out)).equals(content(name))]).toEqual([name, true]);
      }
    }
  });
});

const describeCopied = await describeWithPrograms('nbdcopy', 'mke2fs', 'e2fsck', 'debugfs');
describeCopied('copied', () => {
  test('a file system that was made elsewhere is clean on the volume and in its view, and its files are what they were', async () => {
    await using volume = await conformanceVolume(SIZE);
    const [tree, image, out] = ['tree', 'fs.img', 'out'].map((name) => path.join(volume.folder, name)) as [string, string, string];
    mkdirSync(tree);
    const files = Array.from({ length: 40 }, (_, i) => ({ name: `f${i}`, bytes: randomBytes(1 + i * 7001) }));
    for (const { name, bytes } of files) writeFileSync(path.join(tree, name), bytes);
    await run('mke2fs', '-q', '-F', '-t', 'ext4', '-d', tree, image, `${SIZE / 1024}k`);
    await run('nbdcopy', '--connections=4', '--flush', image, volume.uri());
    await volume.freeze('s1');
    const copy = await copyOf(volume, 's1');
    await expectClean(copy);
    for (const { name, bytes } of files) {
      await run('debugfs', '-R', `dump ${name} ${out}`, copy);
      expect((await readFile(out)).equals(bytes)).toBe(true);
    }
  });
});
