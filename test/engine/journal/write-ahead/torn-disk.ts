/**
 * A disk under a write-ahead file that keeps what it has said is durable, and of what was done since keeps what it likes: of a write nothing, a
 * beginning, an end without its beginning, zeros, or all of it; of names the old or the new ones.
 */
import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import { SEGMENT_FILES, type SegmentFile, type SegmentFiles } from '../../../../src/engine/journal/write-ahead/segment-files.ts';

export interface TornDisk extends Disposable {
  readonly files: SegmentFiles;
  /** Loses power: what was not synced is torn. */
  crash(random: () => number): void;
  /** The n-th write from now on fails, and is torn later. */
  failSync(after: number): void;
  /** Writes that came to be made durable. */
  readonly syncs: number;
  /** How often a file that was there was opened to be written over. */
  readonly reused: number;
}

interface Write {
  readonly fd: number;
  readonly at: number;
  readonly bytes: Buffer;
}

export function createTornDisk(): TornDisk {
  let unsynced: Write[] = [];
  /** Since the folder's last sync; undone from the newest on. */
  let renamed: { readonly from: string; readonly to: string }[] = [];
  const fds: number[] = [];
  let [syncs, reused] = [0, 0];
  let failAt = Infinity;
  let lost = false;
  const alive = (): void => {
    if (lost) throw new Error('no power');
  };

  const keep = ({ fd, at, bytes }: Write): void => void writeSync(fd, bytes, 0, bytes.length, at);

  const opened = (path: string, how: 'wx' | 'r+'): SegmentFile => {
    alive();
    // Open until the end: a file that was given another name is still written.
    const fd = openSync(path, how);
    fds.push(fd);
    return {
      async write(bytes, at) {
        alive();
        const write = { fd, at, bytes: Buffer.from(bytes) };
        unsynced.push(write);
        // What comes between may be the crash.
        await Promise.resolve();
        alive();
        if (++syncs >= failAt) throw Object.assign(new Error('EIO'), { code: 'EIO' });
        keep(write);
        unsynced = unsynced.filter((one) => one !== write);
      },
      async close() {},
    };
  };

  return {
    files: {
      create: async (path) => opened(path, 'wx'),
      async open(path) {
        reused++;
        return opened(path, 'r+');
      },
      async rename(from, to) {
        alive();
        await SEGMENT_FILES.rename(from, to);
        renamed.push({ from, to });
      },
      async remove(path) {
        alive();
        await SEGMENT_FILES.remove(path);
      },
      async syncFolder(folder) {
        alive();
        await SEGMENT_FILES.syncFolder(folder);
        renamed = [];
      },
    },
    crash(random) {
      for (const write of unsynced) keep(torn(write, random));
      unsynced = [];
      const kept = Math.floor(random() * (renamed.length + 1));
      while (renamed.length > kept) {
        const { from, to } = renamed.pop() ?? { from: '', to: '' };
        renameSync(to, from);
      }
      lost = true;
    },
    failSync(after) {
      failAt = syncs + after;
    },
    get syncs() {
      return syncs;
    },
    get reused() {
      return reused;
    },
    [Symbol.dispose]() {
      for (const fd of fds) closeSync(fd);
    },
  };
}

function torn({ fd, at, bytes }: Write, random: () => number): Write {
  const cut = Math.floor(random() * (bytes.length + 1));
  const how = Math.floor(random() * 5);
  if (how === 0) return { fd, at, bytes: bytes.subarray(0, 0) };
  if (how === 1) return { fd, at, bytes: bytes.subarray(0, cut) };
  if (how === 2) return { fd, at: at + cut, bytes: bytes.subarray(cut) };
  if (how === 3) return { fd, at, bytes: Buffer.concat([bytes.subarray(0, cut), Buffer.alloc(bytes.length - cut)]) };
  return { fd, at, bytes };
}
