/**
 * Which bytes of a volume may be overwritten in place so that its file system stays sound: contents of regular files, and
 * nothing else. Only so can `e2fsck -fn` judge what comes back.
 *
 *     icheck (a block in the middle of each extent) -> inode     stat <inode> -> its type and where its data lies
 *
 * debugfs opens the image for reading. A volume without such a file system may be overwritten anywhere.
 */
import type { DataRange } from '../../ground/libc/libc.ts';
import type { Programs } from './programs.ts';

/** An extent, and the bytes of it that may be overwritten. */
export interface Overwritable {
  readonly extent: number;
  readonly ranges: readonly DataRange[];
}

/** debugfs reads its commands in lines of at most 8 KiB. */
const BLOCKS_A_LINE = 400;

export const wholeExtents = (extents: readonly number[], extentBytes: number, sizeBytes: number): readonly Overwritable[] =>
  extents.map((extent) => ({
    extent,
    ranges: [{ offset: extent * extentBytes, length: Math.min(extentBytes, sizeBytes - extent * extentBytes) }],
  }));

export async function fileContents(
  programs: Programs,
  image: string,
  blockBytes: number,
  extents: readonly number[],
  extentBytes: number,
): Promise<readonly Overwritable[]> {
  const blocksAnExtent = extentBytes / blockBytes;
  const middles = extents.map((extent) => Math.floor((extent + 0.5) * blocksAnExtent));
  const lines = Array.from({ length: Math.ceil(middles.length / BLOCKS_A_LINE) }, (_, i) =>
    ['icheck', ...middles.slice(i * BLOCKS_A_LINE, (i + 1) * BLOCKS_A_LINE)].join(' '),
  );
  const owners = readOwners((await programs.run('debugfs', ['-f', '-', image], { input: `${lines.join('\n')}\n` })).stdout);
  const inodes = [...new Set(owners.values())];
  const described = await programs.run('debugfs', ['-f', '-', image], {
    input: `${inodes.map((inode) => `stat <${inode}>`).join('\n')}\n`,
  });
  const contents = readContents(described.stdout);
  return extents.flatMap((extent, i): Overwritable[] => {
    const owner = owners.get(middles[i] ?? -1);
    const ranges = (owner === undefined ? [] : (contents.get(owner) ?? [])).flatMap((run) => clip(run, blockBytes, extent, extentBytes));
    return ranges.length === 0 ? [] : [{ extent, ranges }];
  });
}

/** Physical blocks, first and last. */
type BlockRun = readonly [first: number, last: number];

function clip([first, last]: BlockRun, blockBytes: number, extent: number, extentBytes: number): DataRange[] {
  const from = Math.max(first * blockBytes, extent * extentBytes);
  const to = Math.min((last + 1) * blockBytes, (extent + 1) * extentBytes);
  return from < to ? [{ offset: from, length: to - from }] : [];
}

/** Lines "block<TAB>inode"; the journal and its like have inodes below 11. */
function readOwners(output: string): ReadonlyMap<number, number> {
  const owners = new Map<number, number>();
  for (const [, block, inode] of output.matchAll(/^(\d+)\t(\d+)$/gm)) if (Number(inode) > 10) owners.set(Number(block), Number(inode));
  return owners;
}

/** Data runs of the regular files in the output of `stat`. Runs that are allocated and unwritten ("[u]") and blocks of the tree are left out. */
function readContents(output: string): ReadonlyMap<number, readonly BlockRun[]> {
  const contents = new Map<number, readonly BlockRun[]>();
  for (const section of output.split(/^Inode: /m).slice(1)) {
    const [head = '', tail = ''] = section.split(/^EXTENTS:$/m);
    const inode = Number(/^\d+/.exec(head)?.[0]);
    if (!/^\d+\s+Type: regular\b/.test(head)) continue;
    const runs = [...tail.matchAll(/\(\d+(?:-\d+)?\):(\d+)(?:-(\d+))?/g)];
    contents.set(
      inode,
      runs.map(([, first, last]): BlockRun => [Number(first), Number(last ?? first)]),
    );
  }
  return contents;
}
