/**
 * Every kind of object, damaged in every way: what needs it is refused with a code, everything else stays usable, and no
 * wrong byte is ever given out.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { lineageOf, newSnapshotId, volumeName, type SnapshotId } from '../../../src/domain/ids.ts';
import { openCached, type CachedRepository, type Caches } from '../../../src/engine/repository/cached.ts';
import { writeCheckpoint } from '../../../src/engine/repository/checkpoint.ts';
import { collect } from '../../../src/engine/repository/collector.ts';
import { ensureRepository, openRepositoryFormat } from '../../../src/engine/repository/format.ts';
import { createNodeCaches } from '../../../src/engine/repository/node-cache.ts';
import { hideSnapshot } from '../../../src/engine/repository/pins.ts';
import type { RepositoryReader } from '../../../src/engine/repository/reader.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { valuesOf } from '../../../src/engine/repository/transfer-reader.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { capture, fingerprintOfValue, type Content } from './ship.ts';
import { environment } from './world.ts';

const PASSPHRASE = 'right';
const folders: string[] = [];
const coldCaches = (): Caches => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-damage-'));
  folders.push(folder);
  return { dir: folder, nodes: createNodeCaches() };
};
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const openCold = async (store: MemoryStore): Promise<CachedRepository> =>
  openCached(store, await openRepositoryFormat(store, PASSPHRASE), coldCaches(), environment);

const open = async (store: MemoryStore): Promise<Repository> => (await openCold(store)).whole();

const contents = new Map<SnapshotId, Content>();
const pristine = createMemoryStore();

beforeAll(async () => {
  const unlocked = await ensureRepository(pristine, 'v', PASSPHRASE, 0, { random: randomBytes, scryptN: 2 });
  const repository = await openCached(pristine, unlocked, coldCaches(), environment).whole();
  const lineage = lineageOf(volumeName('v'), 1);
  const content = new Map<number, number>();
  const take = async (edits: Content): Promise<SnapshotId> => {
    for (const [extent, value] of edits) content.set(extent, value);
    const snapshot = newSnapshotId(contents.size + 1, Math.random);
    await capture(repository, { lineage, snapshot, content });
    contents.set(snapshot, new Map(content));
    return snapshot;
  };
  await take(
    new Map([
      [0, 1],
      [1, 2],
      [300, 3],
      [70_000, 4],
    ]),
  );
  const doomed = await take(
    new Map([
      [1, 5],
      [2, 6],
    ]),
  );
  await writeCheckpoint(repository);
  await take(new Map([[300, 7]]));
  await take(new Map([[70_001, 8]]));
  const seen = repository.ledger().snapshots.get(doomed);
  await hideSnapshot(repository, doomed, seen?.version ?? 0, false);
  await collect(repository, { owner: 'test', full: true });
  contents.delete(doomed);
});

/** Reads a snapshot to the last extent; the content, or the code of the refusal. */
async function readAll(repository: RepositoryReader, id: SnapshotId): Promise<Map<number, string> | string> {
  const snapshot = repository.ledger().snapshots.get(id);
  if (!snapshot) return 'not there';
  const found = new Map<number, string>();
  try {
    for (const subtree of [0, 1])
      for await (const value of valuesOf(repository, snapshot, subtree)) {
        await repository.values.readExtent(value.fingerprint, value.location);
        found.set(value.extent, value.fingerprint.toString('hex'));
      }
    return found;
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return error.code;
  }
}

const expected = (content: Content): Map<number, string> =>
  new Map([...content].sort(([a], [b]) => a - b).map(([extent, value]) => [extent, fingerprintOfValue(value).toString('hex')]));

const damages: Readonly<Record<string, (bytes: Buffer) => Buffer | null>> = {
  'a flipped bit': (bytes) => {
    const copy = Buffer.from(bytes);
    const at = Math.floor(copy.length / 2);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  },
  'cut short': (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2)),
  missing: () => null,
};

describe.each(Object.keys(damages))('%s', (kind) => {
  test.each(['whole', 'reader'] as const)('in any object: read by %s, a snapshot is exact or refused, and most are exact', async (way) => {
    for (const [name, bytes] of pristine.objects) {
      if (name === 'repository.json' || name.startsWith('keys/')) continue;
      const store = createMemoryStore();
      for (const [other, content] of pristine.objects) store.objects.set(other, content);
      const damaged = damages[kind]?.(bytes) ?? null;
      if (damaged === null) store.objects.delete(name);
      else store.objects.set(name, damaged);
      const repository = await (await openCold(store))[way]();
      let usable = 0;
      for (const [id, content] of contents) {
        const read = await readAll(repository, id);
        if (typeof read === 'string') expect([name, read]).toEqual([name, expect.stringMatching(/^(DAMAGED|OBJECT_MISSING|not there)$/)]);
        else expect([name, read]).toEqual([name, expected(content)]);
        if (typeof read !== 'string') usable++;
      }
      // A pack may be what several snapshots share; a record costs one snapshot at the most; changes and checkpoints cost a
      // reader none.
      const least = name.includes('-p') ? 0 : contents.size - (way === 'reader' && !name.startsWith('log/') ? 0 : 1);
      expect([name, usable >= least]).toEqual([name, true]);
    }
  });
});

test('damage of the log: writers are refused with its code, and nothing is written', async () => {
  const store = createMemoryStore();
  for (const [name, bytes] of pristine.objects) store.objects.set(name, bytes);
  store.objects.set('log/00000000000000000003', Buffer.from('nonsense'));
  for (const name of [...store.objects.keys()]) if (name.startsWith('checkpoint')) store.objects.delete(name);
  const repository = await open(store);
  const before = [...store.objects.keys()];
  const snapshot = newSnapshotId(99, Math.random);
  await expect(capture(repository, { lineage: lineageOf(volumeName('v'), 1), snapshot, content: new Map() })).rejects.toMatchObject({
    code: 'DAMAGED',
  });
  expect([...store.objects.keys()]).toEqual(before);
});

test('a wrong passphrase, another repository, a lost key slot: refused with a code each', async () => {
  await expect(openRepositoryFormat(pristine, 'wrong')).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
  await expect(openRepositoryFormat(pristine, PASSPHRASE, 'f'.repeat(32))).rejects.toMatchObject({ code: 'REPOSITORY_OTHER' });
  await expect(openRepositoryFormat(createMemoryStore(), PASSPHRASE)).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' });
  const store = createMemoryStore();
  for (const [name, bytes] of pristine.objects) if (!name.startsWith('keys/')) store.objects.set(name, bytes);
  await expect(ensureRepository(store, 'v', PASSPHRASE, 0, { random: randomBytes, scryptN: 2 })).rejects.toMatchObject({
    code: 'OBJECT_MISSING',
  });
});
