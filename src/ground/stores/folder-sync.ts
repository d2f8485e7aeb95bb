/**
 * Syncs of folders, shared among the puts that need them.
 *
 * A file whose folder was not synced can be gone after power loss, however well the file itself was synced. One sync
 * covers every entry made before it began; so while one runs, all that ask meanwhile wait for one common next one. With
 * many small puts in flight this halves what a put costs; with one in flight it changes nothing.
 */
import { hasErrno } from './file-errors.ts';
import { syncFolder } from './file-root.ts';

export function createFolderSync(): (folder: string) => Promise<void> {
  const running = new Map<string, Promise<void>>();
  const queued = new Map<string, Promise<void>>();

  const run = (folder: string): Promise<void> => {
    const round = syncUnlessGone(folder).finally(() => running.delete(folder));
    running.set(folder, round);
    return round;
  };

  return (folder) => {
    const current = running.get(folder);
    if (current === undefined) return run(folder);
    const waiting = queued.get(folder);
    if (waiting !== undefined) return waiting;
    // How the running round ends is told to those who wait for that one.
    const next = current
      .catch(() => undefined)
      .then(() => {
        queued.delete(folder);
        return run(folder);
      });
    queued.set(folder, next);
    return next;
  };
}

/** A folder that is gone was removed because it was empty: there is nothing left in it to keep. */
async function syncUnlessGone(folder: string): Promise<void> {
  try {
    await syncFolder(folder);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}
