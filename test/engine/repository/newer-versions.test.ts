/**
 * Every kind of stored thing, as a newer version would mark it: each is refused as UPGRADE_REQUIRED, and not called damaged. And
 * the other way round: the same mark made by a flipped bit is damage where a tag or a digest can tell.
 */
import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { lineageOf, newSnapshotId, volumeName } from '../../../src/domain/ids.ts';
import { decodeNode } from '../../../src/engine/map/node.ts';
import { createNodeCaches } from '../../../src/engine/repository/node-cache.ts';
import { openCached, type CachedRepository } from '../../../src/engine/repository/cached.ts';
import { decodeChangePart, emptyPart, encodeChangePart } from '../../../src/engine/repository/change.ts';
import { writeCheckpoint } from '../../../src/engine/repository/checkpoint.ts';
import { readDirectory } from '../../../src/engine/repository/destination.ts';
import { ensureRepository, openRepositoryFormat, type UnlockedRepository } from '../../../src/engine/repository/format.ts';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { openEnvelope, sealEnvelope } from '../../../src/ground/sealing/envelope.ts';
import { decodeBody } from '../../../src/ground/sealing/blob.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { capture } from './ship.ts';
import { environment } from './world.ts';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-newer-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let caches = 0;
const pristine = createMemoryStore();
let unlocked: UnlockedRepository;
const openIn = (store: MemoryStore, opened: UnlockedRepository): CachedRepository =>
  openCached(store, opened, { dir: join(folder, String(caches++)), nodes: createNodeCaches() }, environment);

beforeAll(async () => {
  unlocked = await ensureRepository(pristine, 'v', 'right', 0, { random: randomBytes, scryptN: 2 });
  const repository = await openIn(pristine, unlocked).whole();
  const lineage = lineageOf(volumeName('v'), 1);
  await capture(repository, { lineage, snapshot: newSnapshotId(1, Math.random), content: new Map([[0, 1]]) });
  await writeCheckpoint(repository);
});

const nameOf = (prefix: string, mark = ''): string => {
  const name = [...pristine.objects.keys()].find((one) => one.startsWith(prefix) && one.includes(mark));
  if (name === undefined) throw new Error(`no ${prefix}`);
  return name;
};
const stored = (name: string): Buffer => Buffer.from(pristine.objects.get(name) ?? '');
const withByte = (bytes: Buffer, at: number, value: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at] = value;
  return copy;
};
/** As a version 2 would look to this one: marked so, and sealed in a way that it does not know. */
const newerEnvelope = (name: string): Buffer => Buffer.concat([Buffer.from('HFE2'), randomBytes(stored(name).length - 4)]);
const withObject = (name: string, bytes: Buffer): MemoryStore => {
  const store = createMemoryStore();
  for (const [other, content] of pristine.objects) store.objects.set(other, content);
  store.objects.set(name, bytes);
  return store;
};
/** Without the checkpoint, which would spare a reader the record. */
function withRecord(bytes: Buffer): MemoryStore {
  const store = withObject(nameOf('log/'), bytes);
  for (const name of [...store.objects.keys()]) if (name.startsWith('checkpoint')) store.objects.delete(name);
  return store;
}
const json = (change: object, name: string): Buffer =>
  Buffer.from(JSON.stringify({ ...(JSON.parse(String(stored(name))) as object), ...change }));
const record = (change: object, name: string): Buffer => {
  const plain = JSON.parse(openEnvelope(unlocked.key, name, stored(name)).toString()) as object;
  return sealEnvelope(unlocked.key, name, Buffer.from(JSON.stringify({ ...plain, ...change })), randomBytes(32));
};

/** An envelope of version 1 with a codec of a newer one: under the tag, so no accident (docs/format.md, section 4). */
function sealedWithCodec(codec: number, name: string): Buffer {
  const { dataKey, repositoryId } = unlocked.key;
  const [header, salt] = [Buffer.from([...Buffer.from('HFE1'), codec, 0, 0, 0]), randomBytes(32)];
  const key = Buffer.from(hkdfSync('sha256', dataKey, salt, 'holdfast envelope', 32));
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12)).setAAD(Buffer.concat([header, repositoryId, Buffer.from(name)]));
  return Buffer.concat([header, salt, cipher.update('{}'), cipher.final(), cipher.getAuthTag()]);
}

/** Opens the repository cold, by way of everything that is read then. */
async function openAll(store: MemoryStore): Promise<void> {
  const opened = await openRepositoryFormat(store, 'right');
  await (await openIn(store, opened).whole()).sync();
}

const readPack = async (bytes: Buffer): Promise<void> => {
  const name = nameOf('a/', '-p');
  await readDirectory({ store: withObject(name, bytes), key: unlocked.key }, name, bytes.length);
};

const newer: Readonly<Record<string, () => unknown>> = {
  'repository.json, by its version': () =>
    openAll(withObject('repository.json', json({ version: 2, features: { a: 1 } }, 'repository.json'))),
  'repository.json, by a feature': () => openAll(withObject('repository.json', json({ features: ['holes'] }, 'repository.json'))),
  'repository.json, by its hash': () => openAll(withObject('repository.json', json({ hash: 'sha256' }, 'repository.json'))),
  'a key slot': () => openAll(withObject(nameOf('keys/'), json({ version: 2, kdf: 'argon2' }, nameOf('keys/')))),
  'the envelope of a record': () => openAll(withRecord(newerEnvelope(nameOf('log/')))),
  'a record': () => openAll(withRecord(record({ version: 2 }, nameOf('log/')))),
  'an entry': () => openAll(withRecord(record({ entries: [{ kind: 'FREEZE' }] }, nameOf('log/')))),
  'the envelope of a manifest': () => openAll(withObject(nameOf('checkpoint/'), newerEnvelope(nameOf('checkpoint/')))),
  'a manifest': () => openAll(withObject(nameOf('checkpoint/'), record({ version: 2 }, nameOf('checkpoint/')))),
  // Below here a digest or a fingerprint names the bytes: that of the newer ones, so the parser is what decides.
  'the envelope of a change part': () => openEnvelope(unlocked.key, nameOf('a/', '-c'), newerEnvelope(nameOf('a/', '-c'))),
  'the envelope of a checkpoint part': () =>
    openEnvelope(unlocked.key, nameOf('checkpoint-part/'), newerEnvelope(nameOf('checkpoint-part/'))),
  'a change part': () => decodeChangePart(withByte(encodeChangePart(emptyPart), 3, '2'.charCodeAt(0)), 'part'),
  'a map node': () => decodeNode(Buffer.concat([Buffer.from('HFN\x02', 'latin1'), randomBytes(100)])),
  'a codec of an envelope': () => {
    const name = nameOf('log/');
    return openEnvelope(unlocked.key, name, sealedWithCodec(2, name));
  },
  'a codec of a blob': () => decodeBody({ codec: 0x02, bytes: Buffer.alloc(4) }, Buffer.alloc(32), 8),
  'a flag of a blob': () => decodeBody({ codec: 0x20, bytes: Buffer.alloc(4) }, Buffer.alloc(32), 8),
  'a pack, in a shape that is not known': () => readPack(withByte(withByte(stored(nameOf('a/', '-p')), -1, 2), -16, 1)),
  'a pack, in the known shape': () => {
    const bytes = withByte(stored(nameOf('a/', '-p')), -1, 2);
    const tag = bytes.length - 17;
    return readPack(withByte(bytes, tag, (bytes[tag] ?? 0) ^ 1));
  },
};

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
    return 'none';
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
};

describe('what a newer version wrote', () => {
  test.each(Object.keys(newer))('is told from damage: %s', async (kind) => {
    expect(await codeOf(newer[kind] ?? (() => 'nothing'))).toBe('UPGRADE_REQUIRED');
  });
});

describe('a flipped bit in a version', () => {
  test('is damage in an envelope, whatever kind of object it is', async () => {
    for (const prefix of ['log/', 'checkpoint/', 'checkpoint-part/'])
      expect(await codeOf(() => openEnvelope(unlocked.key, nameOf(prefix), withByte(stored(nameOf(prefix)), 3, '3'.charCodeAt(0))))).toBe(
        'DAMAGED',
      );
    expect(await codeOf(() => openEnvelope(unlocked.key, nameOf('log/'), withByte(stored(nameOf('log/')), 3, '0'.charCodeAt(0))))).toBe(
      'DAMAGED',
    );
    expect(await codeOf(() => openEnvelope(unlocked.key, nameOf('log/'), withByte(stored(nameOf('log/')), 4, 2)))).toBe('DAMAGED');
  });

  test('is damage in a pack whose directory opens', async () => {
    expect(await codeOf(() => readPack(withByte(stored(nameOf('a/', '-p')), -1, 3)))).toBe('DAMAGED');
  });
});
