/**
 * How a file of an output comes to its name: written beside it under a name of its own, synced, and only then linked to the name, which
 * must be free. So there is the whole file or none, whenever the process dies, and nothing that was there is ever replaced.
 *
 * The name aside stays until `clearAside`: by it a try that comes after a lost answer knows that what stands at the target
 * is the work of the try before, and not somebody else's. Names aside of tries that died are removed by the next one.
 */
import { link, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../domain/errors.ts';
import { hasErrno, saysFull } from './file-errors.ts';
import { syncFolder } from './file-root.ts';

const MARK = '.holdfast-part';

/**
 * Where a try writes. `owner`: of the job, the same for all its tries, without a dot; `tried`: of the try, for one that was taken for dead may write
 * on, and must not find the file of the next one under its name.
 */
export const asideOf = (target: string, owner: string, tried: string): string =>
  path.join(path.dirname(target), `.${path.basename(target)}.${owner}_${tried}${MARK}`);

export const exists = (target: string): HoldfastError =>
  new HoldfastError('TARGET_EXISTS', `${target} is there already`, { target, expected: 'a target that is not there yet' });

export const unwritable = (target: string, cause: unknown): unknown =>
  cause instanceof HoldfastError
    ? cause
    : new HoldfastError(
        saysFull(cause) ? 'TARGET_FULL' : 'TARGET_UNWRITABLE',
        `${target} cannot be written: ${String(cause)}`,
        { target },
        cause,
      );

/** Names aside of a target, of one owner or of all. An owner has no dot, so `.a.b.<owner>` belongs to `a.b` and not to `a`. */
async function asidesOf(target: string, owner: string | null): Promise<string[]> {
  const [folder, before] = [path.dirname(target), `.${path.basename(target)}.`];
  const names = await readdir(folder);
  const isOne = (name: string): boolean => {
    const whose = name.slice(before.length, -MARK.length);
    return name.startsWith(before) && name.endsWith(MARK) && !whose.includes('.') && (owner === null || whose.startsWith(`${owner}_`));
  };
  return names.filter(isOne).map((name) => path.join(folder, name));
}

async function inodeOf(file: string): Promise<string | null> {
  try {
    const { dev, ino } = await stat(file, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

/**
 * Makes sure that a target can be written, and removes what tries that died have left. `landed`: a try of this owner has written it before.
 * TARGET_EXISTS when something else is there.
 */
export async function prepareLanding(target: string, owner: string): Promise<'free' | 'landed'> {
  try {
    const there = await inodeOf(target);
    if (there !== null) {
      for (const aside of await asidesOf(target, owner)) if ((await inodeOf(aside)) === there) return 'landed';
      throw exists(target);
    }
    for (const aside of await asidesOf(target, null)) await rm(aside, { force: true });
    return 'free';
  } catch (error) {
    throw unwritable(target, error);
  }
}

/** Gives what was written aside its name. TARGET_EXISTS when somebody else was first. */
export async function land(target: string, aside: string): Promise<void> {
  try {
    await using file = await open(aside, 'r');
    await file.sync();
    await linkTo(aside, target);
    await syncFolder(path.dirname(target));
  } catch (error) {
    throw unwritable(target, error);
  }
}

async function linkTo(aside: string, target: string): Promise<void> {
  try {
    await link(aside, target);
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) throw exists(target);
    if (!hasErrno(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error;
    // A file system without links: looked at just before, not held.
    if ((await inodeOf(target)) !== null) throw exists(target);
    await rename(aside, target);
  }
}

/** The end of a job: its names aside go. */
export async function clearAsides(target: string, owner: string): Promise<void> {
  for (const aside of await asidesOf(target, owner)) await rm(aside, { force: true });
}
