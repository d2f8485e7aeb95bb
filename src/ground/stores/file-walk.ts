/**
 * The names below the root of a file store, in byte order, folder by folder and only as far as they are asked for.
 *
 * The order of whole names is not the order in which folders list: `a-b` < `a/b` < `a0`, but the folder `a` sorts before
 * the file `a-b`. Within one folder, though, giving folders a trailing `/` is enough: then no entry is the beginning of
 * another, and the order of the entries is the order of everything below them.
 *
 * A page of 1,000 names out of a folder of a million has to read the folder whole, as file systems do not sort. So the
 * sorted entries of long folders are kept for the next page and used as long as the folder's time of change stands still.
 * Times are coarse, so an entry is only kept when the folder had been still for two seconds when it was read.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasErrno } from './file-errors.ts';
import { isObjectName } from './object-name.ts';

const KEEP_FROM_ENTRIES = 2000;
/** About 80 bytes an entry: at most some 80 MB, and only while so long a folder is listed. */
const KEEP_ENTRIES_MAX = 1_000_000;
const STILL_FOR_NS = 2_000_000_000n;

interface SortedFolder {
  readonly changedNs: bigint;
  readonly inode: bigint;
  /** Names of files, and names of folders with a trailing `/`. */
  readonly entries: readonly string[];
}

export interface NameRange {
  readonly prefix: string;
  readonly after: string | undefined;
}

export function createNameWalk(root: string): (range: NameRange) => AsyncGenerator<string> {
  const kept = new Map<string, SortedFolder>();

  const sortedEntries = async (folder: string): Promise<readonly string[]> => {
    const path = join(root, folder);
    const { mtimeNs: changedNs, ino: inode } = await stat(path, { bigint: true });
    const known = kept.get(folder);
    if (known !== undefined && known.changedNs === changedNs && known.inode === inode) return known.entries;
    kept.delete(folder);
    const entries: string[] = [];
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (!isObjectName(entry.name)) continue;
      if (entry.isFile()) entries.push(entry.name);
      else if (entry.isDirectory()) entries.push(`${entry.name}/`);
    }
    entries.sort(byBytes);
    const still = BigInt(Date.now()) * 1_000_000n - changedNs > STILL_FOR_NS;
    if (still && entries.length >= KEEP_FROM_ENTRIES && entries.length <= KEEP_ENTRIES_MAX) {
      let count = entries.length;
      for (const other of kept.values()) count += other.entries.length;
      if (count > KEEP_ENTRIES_MAX) kept.clear();
      kept.set(folder, { changedNs, inode, entries });
    }
    return entries;
  };

  async function* below(folder: string, { prefix, after }: NameRange): AsyncGenerator<string> {
    const entries = await entriesUnlessGone(folder);
    // Everything before this is smaller than the prefix or than `after`; what contains them is looked into.
    const from = after !== undefined && after > prefix ? after : prefix;
    for (let index = firstAtLeast(entries, folder, from); index < entries.length; index++) {
      const name = folder + entries[index];
      if (!name.startsWith(prefix)) {
        if (name > prefix) return;
      } else if (name.endsWith('/')) {
        yield* below(name, { prefix, after });
      } else if (after === undefined || name > after) {
        yield name;
      }
    }
  }

  const entriesUnlessGone = async (folder: string): Promise<readonly string[]> => {
    try {
      return await sortedEntries(folder);
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return [];
      throw error;
    }
  };

  return (range) => below(range.prefix.slice(0, range.prefix.lastIndexOf('/') + 1), range);
}

const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The first entry that is not smaller than `from`, or the folder in which `from` would be. */
function firstAtLeast(entries: readonly string[], folder: string, from: string): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const name = folder + entries[middle];
    if (name < from && !(name.endsWith('/') && from.startsWith(name))) low = middle + 1;
    else high = middle;
  }
  return low;
}
