/**
 * The serving process is killed under load, again and again, and begun anew on what it left: every write that was answered is
 * there, whole, and what it says has changed since the last freeze is never less than what did.
 *
 * A killed process loses no page cache, so this holds for answered writes and not only for flushed ones; what a power cut may
 * take is the file system's to promise and sync's to ask for (the tracker's own order of syncs is in tracking/tracker.test.ts).
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { connectNbd } from '../../../src/engine/volumes/nbd/client.ts';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { conformanceVolume, type ConformanceVolume } from './conformance-volume.ts';
import { useDisk } from './nbd/disk-user.ts';

const MIB = 1024 * 1024;
const SIZE = 64 * MIB;
const EXTENT = 64 * 1024;
const BLOCK = 4096;
/** The writer has the first part, fio the next, and the rest stays as it is. */
const WRITER_BLOCKS = (24 * MIB) / BLOCK;
const FIO_AT = 32 * MIB;
const DEPTH = 16;
const ROUNDS = 3;

/** A block that says which it is and which write of it this was, all over. */
function stamp(block: number, serial: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  for (let at = 0; at < BLOCK; at += 16) {
    bytes.writeDoubleLE(serial, at);
    bytes.writeDoubleLE(block, at + 8);
  }
  return bytes;
}

interface BlockState {
  /** The newest write that was answered, and the one that was under way. */
  readonly answered: number;
  readonly asked: number;
}

/** Writes blocks at random, one write of each at a time, and flushes now and then, until the server is gone. */
async function writeUntilGone(uri: string, blocks: Map<number, BlockState>, onFlush: () => void): Promise<void> {
  using disk = await useDisk(uri);
  const busy = new Set<number>();
  const write = async (): Promise<void> => {
    let block = randomInt(WRITER_BLOCKS);
    while (busy.has(block)) block = randomInt(WRITER_BLOCKS);
    busy.add(block);
    const { answered, asked } = blocks.get(block) ?? { answered: 0, asked: 0 };
    const serial = asked + 1;
    blocks.set(block, { answered, asked: serial });
    await disk.write(block * BLOCK, stamp(block, serial));
    blocks.set(block, { answered: serial, asked: serial });
    busy.delete(block);
  };
  const work = async (): Promise<void> => {
    for (let i = 1; ; i++) {
      await write();
      if (i % 50 !== 0) continue;
      await disk.flush();
      onFlush();
    }
  };
  await Promise.allSettled(Array.from({ length: DEPTH }, work));
}

/** What the server says has changed since a snapshot, by extents. */
async function changedSince(volume: ConformanceVolume, snapshot: string): Promise<ReadonlySet<number>> {
  const context = `holdfast:changed:${snapshot}`;
  await using client = await connectNbd({ at: { path: volume.socket }, export: 'disk', tls: null }, { contexts: [context] });
  expect(client.contexts).toEqual([context]);
  const changed = new Set<number>();
  for (let at = 0; at < SIZE;)
    for (const { length, flags } of await client.status(context, at, SIZE - at)) {
      if (flags === 1) for (let extent = Math.floor(at / EXTENT); extent * EXTENT < at + length; extent++) changed.add(extent);
      at += length;
    }
  return changed;
}

function differing(a: Buffer, b: Buffer): readonly number[] {
  const extents = Array.from({ length: SIZE / EXTENT }, (_, i) => i);
  return extents.filter((i) => !a.subarray(i * EXTENT, (i + 1) * EXTENT).equals(b.subarray(i * EXTENT, (i + 1) * EXTENT)));
}

const describeFio = await describeWithPrograms('fio');
describeFio('killed under load', () => {
  test('what was answered is there, and what changed is told', async () => {
    await using volume = await conformanceVolume(SIZE);
    const blocks = new Map<number, BlockState>();
    const bases: { readonly snapshot: string; readonly was: Buffer }[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const snapshot = `s${round}`;
      await volume.freeze(snapshot);
      bases.push({ snapshot, was: readFileSync(volume.image) });
      const load = ['--name=load', '--ioengine=nbd', `--uri=${volume.uri()}`, '--rw=randwrite', '--bs=4k', '--iodepth=16', '--time_based'];
      const fio = spawn('fio', [...load, '--runtime=60', `--offset=${FIO_AT}`, '--size=16m', `--randseed=${round}`], {
        ...{ stdio: 'ignore', cwd: volume.folder },
      });
      const ended = once(fio, 'exit');
      let flushes = 0;
      const writing = writeUntilGone(volume.uri(), blocks, () => flushes++);
      // Some hundred blocks, of about as many extents.
      for (const until = Date.now() + 30_000; flushes < DEPTH && Date.now() < until;) await sleep(20);
      await sleep(300 + randomInt(600));
      await volume.kill();
      await writing;
      await ended;
      expect(flushes).toBeGreaterThan(0);

      await volume.restart();
      using disk = await useDisk(volume.uri());
      for (const [block, { answered, asked }] of blocks) {
        const found = await disk.read(block * BLOCK, BLOCK);
        const serial = found.readDoubleLE(0);
        const isTold = (serial === answered || serial === asked) && (serial === 0 || found.equals(stamp(block, serial)));
        expect({ block, serial, answered, asked, isTold }).toMatchObject({ isTold: true });
        // What was under way may have been made: it is what the block holds from now on.
        blocks.set(block, { answered: serial, asked });
      }
      const is = readFileSync(volume.image);
      for (const { snapshot: since, was } of bases) {
        const changed = await changedSince(volume, since);
        const truth = differing(was, is);
        expect(truth.length).toBeGreaterThan(100);
        expect(truth.filter((extent) => !changed.has(extent))).toEqual([]);
        // It does not say "everything" to be right.
        expect(changed.size).toBeLessThan(SIZE / EXTENT);
      }
    }
  });
});
