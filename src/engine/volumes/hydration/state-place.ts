/** A state file in a folder: under another name until it is whole. */
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { syncFolder } from '../../../ground/stores/file-root.ts';
import { openExistingFile, randomFile } from '../tracking/random-file.ts';
import type { StatePlace } from './state-file.ts';

export const statePlace = (name: string): StatePlace => ({
  open: () => openExistingFile(name),
  async begin(bytes) {
    const unfinished = `${name}.new`;
    await rm(unfinished, { force: true });
    await using opening = new AsyncDisposableStack();
    const file = opening.use(randomFile(await open(unfinished, 'wx+', 0o600)));
    await file.write(bytes, 0);
    await file.sync();
    await rename(unfinished, name);
    await syncFolder(path.dirname(name));
    opening.move();
    return file;
  },
  async remove() {
    await rm(name, { force: true });
  },
});
