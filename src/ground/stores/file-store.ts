/**
 * A store in a folder of a file system: one file an object, its path the object's name.
 *
 * Put writes the body whole to a temporary file, syncs it, and makes it an object with one call: `rename` replaces, `link`
 * fails when the name is taken, so the file system itself decides among racers of any number of processes. Then the folder
 * is synced. Invariants: a reader sees nothing or the whole body; what was acknowledged survives power loss (unless
 * `durability: 'os'`, which leaves it to the operating system); 'exists' is said only of an object that survives, too.
 *
 * Delete takes empty folders with it. A put that finds its folder gone makes it again, so the two can race.
 * Needs hard links, and a root with its folders on one file system. The root's marker: see file-root.ts.
 */
import type { Stats } from 'node:fs';
import { link, mkdir, rename, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { HoldfastError } from '../../domain/errors.ts';
import { fileStoreError, hasErrno } from './file-errors.ts';
import { mapParallel, orNull, readObject, unlinkObject } from './file-object.ts';
import { createRootCheck, initialiseFileStore } from './file-root.ts';
import { createTempFiles, removeTemp } from './file-temp.ts';
import { createNameWalk } from './file-walk.ts';
import { createFolderSync } from './folder-sync.ts';
import { checkName, checkNames, checkPrefix, checkRange, pageLength } from './object-name.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';

export interface FileStoreOptions {
  readonly root: string;
  /** 'sync' (default): acknowledged means it survives power loss. 'os': it survives the end of the process only. */
  readonly durability?: 'sync' | 'os';
  /** Makes the root a store at the first call, if it is none. Only ever asked for when a store is added. */
  readonly create?: boolean;
}

/** How often a put makes its folder again when deletes keep taking it away. */
const PLACE_ATTEMPTS_MAX = 20;

export function createFileStore(options: FileStoreOptions): ObjectStore {
  const root = resolve(options.root);
  const durable = (options.durability ?? 'sync') === 'sync';
  const checkMarker = createRootCheck(root);
  const temps = createTempFiles(root, durable);
  const walk = createNameWalk(root);
  const syncFolder = createFolderSync();
  /** Folders whose own entries, up to the root, are known to survive power loss. */
  const settledFolders = new Set<string>();
  const pathOf = (name: string): string => join(root, name);

  const initialised = options.create === true ? once(() => initialiseFileStore(root)) : undefined;
  const removeStale = once(() => temps.removeStale());
  const checkRoot = async (): Promise<void> => {
    await initialised?.();
    await checkMarker();
  };

  /** Runs one operation; errors of the file system come out as the contract's. */
  const run = async <T>(operation: string, name: string, signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T> => {
    signal?.throwIfAborted();
    try {
      return await body();
    } catch (error) {
      throw fileStoreError(error, operation, name);
    }
  };

  /** What is there under a name, if it is an object. */
  const statObject = async (name: string): Promise<Stats | null> => {
    const found = await orNull(stat(pathOf(name)));
    return found?.isFile() === true ? found : null;
  };

  /** The folders above a name, outermost first, as paths. */
  const foldersOf = (name: string): readonly string[] => {
    const segments = name.split('/').slice(0, -1);
    return segments.map((_, index) => join(root, ...segments.slice(0, index + 1)));
  };

  const makeFolders = async (name: string): Promise<void> => {
    for (const folder of foldersOf(name)) {
      settledFolders.delete(folder);
      try {
        await mkdir(folder);
      } catch (error) {
        // Gone again: the folder above was just removed; the caller comes back.
        if (hasErrno(error, 'ENOENT')) return;
        if (!hasErrno(error, 'EEXIST')) throw error;
      }
    }
  };

  const settle = async (name: string): Promise<void> => {
    if (!durable) return;
    await syncFolder(dirname(pathOf(name)));
    for (const folder of foldersOf(name).toReversed()) {
      if (settledFolders.has(folder)) continue;
      await syncFolder(dirname(folder));
      settledFolders.add(folder);
    }
  };

  /** Gives the temporary file its name, making the folders it needs. */
  const place = async (name: string, move: (path: string) => Promise<void>): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      try {
        await move(pathOf(name));
        return;
      } catch (error) {
        if (!hasErrno(error, 'ENOENT') || attempt === PLACE_ATTEMPTS_MAX) throw error;
      }
      await makeFolders(name);
    }
  };

  const placeBody = async (name: string, temp: string, ifAbsent: boolean): Promise<'created' | 'exists'> => {
    try {
      await place(name, (path) => (ifAbsent ? link(temp, path) : rename(temp, path)));
      return 'created';
    } catch (error) {
      if (!ifAbsent) throw error;
      if (hasErrno(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV')) throw noHardLinks(root, error);
      if (!hasErrno(error, 'EEXIST')) throw error;
      const there = await orNull(stat(pathOf(name)));
      if (there?.isDirectory() === true) throw isFolder(name);
      // A network file system may have made the link, lost the answer and asked again: the file is ours then.
      const ours = await stat(temp);
      return there?.ino === ours.ino && there.dev === ours.dev ? 'created' : 'exists';
    } finally {
      await removeTemp(temp);
    }
  };

  const removeEmptyFolders = async (name: string): Promise<void> => {
    for (const folder of foldersOf(name).toReversed()) {
      settledFolders.delete(folder);
      try {
        await rmdir(folder);
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) continue;
        if (hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'EBUSY')) return;
        throw error;
      }
    }
  };

  return {
    async put(name, bytes, { ifAbsent = false, signal } = {}) {
      checkName(name);
      return await run('put', name, signal, async () => {
        await checkRoot();
        await removeStale();
        const taken = ifAbsent && (await statObject(name)) !== null;
        const answer = taken ? 'exists' : await placeBody(name, await temps.write(bytes, signal), ifAbsent);
        await settle(name);
        return answer;
      });
    },

    async get(name, { range, signal } = {}) {
      checkName(name);
      if (range !== undefined) checkRange(range);
      return await run('get', name, signal, async () => {
        const bytes = await readObject(pathOf(name), range);
        if (bytes === null) await checkRoot();
        return bytes;
      });
    },

    async head(name, { signal } = {}) {
      checkName(name);
      return await run('head', name, signal, async () => {
        const found = await statObject(name);
        if (found !== null) return { name, sizeBytes: found.size };
        await checkRoot();
        return null;
      });
    },

    async list(prefix, { after, limit, signal } = {}) {
      checkPrefix(prefix);
      if (after !== undefined) checkPrefix(after, 'after');
      const length = pageLength(limit);
      return await run('list', prefix, signal, async () => {
        await checkRoot();
        const page: ObjectInfo[] = [];
        let names: string[] = [];
        const sizeUp = async (): Promise<void> => {
          signal?.throwIfAborted();
          const found = await mapParallel(names, statObject);
          // What was deleted since its folder was read is left out, and the next name takes its place in the page.
          for (const [index, info] of found.entries()) if (info) page.push({ name: names[index] ?? '', sizeBytes: info.size });
          names = [];
        };
        for await (const name of walk({ prefix, after })) {
          names.push(name);
          if (page.length + names.length === length) await sizeUp();
          if (page.length === length) return page;
        }
        await sizeUp();
        await checkRoot();
        return page;
      });
    },

    async delete(names, { signal } = {}) {
      checkNames(names);
      await run('delete', names[0] ?? '', signal, async () => {
        await checkRoot();
        await mapParallel(names, async (name) => {
          signal?.throwIfAborted();
          await unlinkObject(pathOf(name));
        });
        // One name for each folder stands for the folder.
        const folders = new Map(names.map((name) => [dirname(name), name]));
        for (const [folder, name] of folders) {
          if (durable) await syncFolder(join(root, folder));
          await removeEmptyFolders(name);
        }
      });
    },

    describe: () => ({ url: pathToFileURL(root).href, conditionalPut: true, retention: false }),
  };
}

const noHardLinks = (root: string, cause: unknown): HoldfastError =>
  new HoldfastError('STORE_UNFIT', `the file system of ${root} has no hard links, which put-if-absent needs`, { root }, cause);

const isFolder = (name: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${name} is the folder of other objects`, { field: 'name', expected: 'no folder of another name' });

/** Runs an action at the first call and shares its outcome; a failed one is run again at the next call. */
function once(action: () => Promise<void>): () => Promise<void> {
  let outcome: Promise<void> | undefined;
  return () => {
    outcome ??= action().catch((error: unknown) => {
      outcome = undefined;
      throw error;
    });
    return outcome;
  };
}
