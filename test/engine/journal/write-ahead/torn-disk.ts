/**
 * A disk under a write-ahead file that keeps what was synced, and of what was written since keeps what it likes: nothing, a
 * beginning, an end without its beginning, zeros, or all of it.
 */
import { openSync, writeSync, closeSync } from 'node:fs';
import type { SegmentFile } from '../../../../src/engine/journal/write-ahead/write-ahead.ts';

export interface TornDisk {
  createFile(path: string): Promise<SegmentFile>;
  /** Loses power: what was not synced is torn. */
  crash(random: () => number): void;
  /** The n-th datasync from now on fails, and what it was for is torn later. */
  failSync(after: number): void;
  readonly syncs: number;
}

interface Write {
  readonly path: string;
  readonly at: number;
  readonly bytes: Buffer;
}

export function createTornDisk(): TornDisk {
  let unsynced: Write[] = [];
  let syncs = 0;
  let failAt = Infinity;
  let lost = false;
  const alive = (): void => {
    if (lost) throw new Error('no power');
  };

  const keep = ({ path, at, bytes }: Write): void => {
    const file = openSync(path, 'r+');
    writeSync(file, bytes, 0, bytes.length, at);
    closeSync(file);
  };

  return {
    async createFile(path) {
      alive();
      closeSync(openSync(path, 'wx'));
      return {
        async write(bytes, at) {
          alive();
          unsynced.push({ path, at, bytes: Buffer.from(bytes) });
        },
        async datasync() {
          alive();
          if (++syncs >= failAt) throw Object.assign(new Error('EIO'), { code: 'EIO' });
          unsynced.filter((write) => write.path === path).forEach(keep);
          unsynced = unsynced.filter((write) => write.path !== path);
        },
        async close() {},
      };
    },
    crash(random) {
      for (const write of unsynced) keep(torn(write, random));
      unsynced = [];
      lost = true;
    },
    failSync(after) {
      failAt = syncs + after;
    },
    get syncs() {
      return syncs;
    },
  };
}

function torn({ path, at, bytes }: Write, random: () => number): Write {
  const cut = Math.floor(random() * (bytes.length + 1));
  const how = Math.floor(random() * 5);
  if (how === 0) return { path, at, bytes: bytes.subarray(0, 0) };
  if (how === 1) return { path, at, bytes: bytes.subarray(0, cut) };
  if (how === 2) return { path, at: at + cut, bytes: bytes.subarray(cut) };
  if (how === 3) return { path, at, bytes: Buffer.concat([bytes.subarray(0, cut), Buffer.alloc(bytes.length - cut)]) };
  return { path, at, bytes };
}
