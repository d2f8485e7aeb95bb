/**
 * How a file of an output comes to its name: written beside it under a name of its own, synced, and only then linked to the name, which
 * must be free. So there is the whole file or none, whenever the process dies, and nothing that was there is ever replaced.
 *
 * The name aside stays until `clearAside`: by it a try that comes after a lost answer knows that what stands at the target
 * is the work of the try before, and not somebody else's. Names aside of tries that died are removed by the next one.
 */
import { link, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError } from '../../../domain/errors.ts';
import { hasErrno, saysFull } from '../../../ground/stores/file-errors.ts';
import { syncFolder } from '../../../ground/stores/file-root.ts';

const MARK = '.holdfast-part';

/** Where a try writes. `owner`: of the job, the same for all its tries. */
export const asideOf = (target: string, owner: string): string =>
  path.join(path.dirname(target), `.${path.basename(target)}.${owner}${MARK}`);

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

/** An owner has no dot, so `.a.b.<owner>` belongs to `a.b` and not to `a`. */
const isAsideOf = (target: string, name: string): boolean =>
  name.startsWith(`.${target}.`) && name.endsWith(MARK) && !name.slice(target.length + 2, -MARK.length).includes('.');

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
      if (there === (await inodeOf(asideOf(target, owner)))) return 'landed';
      throw exists(target);
    }
    const folder = path.dirname(target);
    const left = (await readdir(folder)).filter((name) => isAsideOf(path.basename(target), name));
    for (const name of left) await rm(path.join(folder, name), { force: true });
    return 'free';
  } catch (error) {
    throw unwritable(target, error);
  }
}

/** Gives what was written aside its name. TARGET_EXISTS when somebody else was first. */
export async function land(target: string, owner: string): Promise<void> {
  const aside = asideOf(target, owner);
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

/** The end of a job: the name aside goes. */
export const clearAside = (target: string, owner: string): Promise<void> => rm(asideOf(target, owner), { force: true });
