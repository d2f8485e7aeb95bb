import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFileStore } from '../../src/ground/stores/file-store.ts';
import { objectStoreSuite } from './object-store-suite.ts';

const makeFileStore = (durability: 'sync' | 'os') => async () => {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-file-store-'));
  return {
    store: createFileStore({ root, durability, create: true }),
    dispose: () => rm(root, { recursive: true, force: true }),
  };
};

objectStoreSuite('a file store', makeFileStore('os'));
objectStoreSuite('a file store that syncs', makeFileStore('sync'), { raceRounds: 10 });
