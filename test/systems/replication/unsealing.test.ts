/** Images of what a sender sealed, opened with its passphrase alone: whole, cut, damaged, of zeros, or with another passphrase. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { sealedBytes, sealedKeys, sealExtent, type SealedKeys } from '../../../src/engine/replication/sending/sealed.ts';
import { encodeBody } from '../../../src/ground/sealing/blob.ts';
import { sealingSecret } from '../../../src/systems/replication/sender-sealing.ts';
import { unseal, type Unsealed, type Unsealing } from '../../../src/systems/replication/unsealing.ts';
import { flip } from '../../flip.ts';

const KIB = 1024;
const EXTENT = 64 * KIB;
const PASSPHRASE = 'of the sender';
let keys: SealedKeys;
beforeAll(async () => {
  keys = sealedKeys(await sealingSecret(PASSPHRASE));
});

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-unseal-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => path.join(folder, name);

interface Made {
  readonly plain: Buffer;
  readonly extents: number;
}

/** Every third extent is a hole; of the others some compress and some do not. */
async function make(extents: number, extentBytes = EXTENT, first = 1): Promise<Made> {
  const plain = Buffer.alloc(extents * extentBytes);
  await using file = await open(at('sealed'), 'w');
  await file.truncate(extents * sealedBytes(extentBytes));
  let count = 0;
  for (let extent = first; extent < extents; extent++) {
    if (extent % 3 === 0) continue;
    const bytes = extent % 2 === 0 ? randomBytes(extentBytes) : Buffer.alloc(extentBytes, `text ${extent} `);
    bytes.copy(plain, extent * extentBytes);
    const sealed = sealExtent(keys, encodeBody(bytes, 'extent', 'zstd-1'), extentBytes);
    await file.write(sealed, 0, sealed.length, extent * sealed.length);
    count++;
  }
  return { plain, extents: count };
}

const opened = (options: Partial<Unsealing> = {}): Promise<Unsealed> =>
  unseal({ sealed: at('sealed'), target: at('target'), passphrase: PASSPHRASE, sizeBytes: null, ...options });

/** What is wrong with a run that failed; nothing is left beside the image, under whatever name. */
async function refused(
  options: Partial<Unsealing> = {},
): Promise<{ readonly code: string; readonly message: string; readonly details: object }> {
  const error: unknown = await opened(options).catch((thrown: unknown) => thrown);
  expect(readdirSync(folder)).toEqual(['sealed']);
  return error as { code: string; message: string; details: object };
}

test.each([
  [16 * KIB, 40],
  [64 * KIB, 40],
  [2048 * KIB, 5],
])('an image with extents of %i bytes opens as what was sealed; zeros stay holes', async (extentBytes, extents) => {
  const made = await make(extents, extentBytes);
  const seen: [number, number][] = [];
  const result = await opened({ onProgress: (done, total) => seen.push([done, total]) });
  expect(result).toEqual({ target: at('target'), sizeBytes: extents * extentBytes, extentBytes, extents: made.extents });
  expect(readFileSync(at('target')).equals(made.plain)).toBe(true);
  expect(statSync(at('target')).blocks * 512).toBeLessThan(made.plain.length * 0.75);
  expect(statSync(at('target')).mode & 0o777).toBe(0o600);
  expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1]);
  expect(readdirSync(folder).sort()).toEqual(['sealed', 'target']);
});

test('a size cuts the tail of the last extent, and no more', async () => {
  const { plain } = await make(11);
  const sizeBytes = 10 * EXTENT + 4096;
  await opened({ sizeBytes });
  expect(readFileSync(at('target')).equals(plain.subarray(0, sizeBytes))).toBe(true);
  rmSync(at('target'));
  for (const wrong of [10 * EXTENT, 11 * EXTENT + 1])
    expect(await refused({ sizeBytes: wrong })).toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: '--size' } });
});

test('what is at the target stays, and is not written to', async () => {
  await make(3);
  writeFileSync(at('target'), 'mine');
  await expect(opened()).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  expect(readFileSync(at('target'), 'utf8')).toBe('mine');
  rmSync(at('target'));
  expect((await refused({ target: at('no/such/folder') })).code).toBe('TARGET_UNWRITABLE');
});

test('extents that do not open are named, all of them, and nothing is left', async () => {
  const { extents } = await make(40);
  for (const extent of [1, 7, 8]) flip(at('sealed'), extent * sealedBytes(EXTENT) + 60);
  // Padding is nobody's: that of extent 11, which compresses.
  flip(at('sealed'), 12 * sealedBytes(EXTENT) - 1);
  truncateSync(at('sealed'), 40 * sealedBytes(EXTENT) - EXTENT);
  const error = await refused();
  // The last one, 39, is a hole that is cut.
  expect(error).toMatchObject({ code: 'DAMAGED', details: { count: 5, extents: [1, 7, 8, 11, 39] } });
  expect(error.message).toBe(`5 of ${extents + 1} sealed extents do not open: number 1, 7, 8, 11, 39`);
});

test('of very many that do not open the first hundred are named', async () => {
  await make(400, 16 * KIB);
  for (let extent = 100; extent < 400; extent++) if (extent % 3 !== 0) flip(at('sealed'), extent * 32 * KIB + 100);
  const { details } = (await refused()) as { details: { count: number; extents: number[] } };
  expect([details.count, details.extents.length, details.extents[0]]).toEqual([200, 100, 100]);
});

test('another passphrase is told from damage where others open, and both are said where none does', async () => {
  await make(12);
  const wrong = await refused({ passphrase: 'a guess' });
  expect(wrong.code).toBe('PASSPHRASE_WRONG');
  expect(wrong.message).toMatch(/none of the first 8 .* not the one .* or the image is damaged/);
  expect(JSON.stringify(wrong)).not.toContain('guess');
  // The first one is damaged, in its magic or behind it: the next one says how long they are.
  for (const offset of [60, 0]) {
    flip(at('sealed'), sealedBytes(EXTENT) + offset);
    expect(await refused()).toMatchObject({ code: 'DAMAGED', details: { extents: [1] } });
  }
});

test('an image of zeros is a volume of zeros; one that nobody sealed is none', async () => {
  writeFileSync(at('sealed'), '');
  truncateSync(at('sealed'), 8 * sealedBytes(EXTENT));
  expect(await opened()).toMatchObject({ sizeBytes: 8 * EXTENT, extentBytes: null, extents: 0 });
  expect(statSync(at('target')).size).toBe(8 * EXTENT);
  rmSync(at('target'));
  expect(await opened({ sizeBytes: 7 * EXTENT + 1 })).toMatchObject({ sizeBytes: 7 * EXTENT + 1 });
  rmSync(at('target'));
  writeFileSync(at('sealed'), randomBytes(3 * EXTENT));
  expect(await refused()).toMatchObject({ code: 'DAMAGED' });
  expect(await refused({ sealed: folder })).toMatchObject({ code: 'SOURCE_UNREADABLE' });
  expect(await refused({ sealed: at('nothing') })).toMatchObject({ code: 'SOURCE_UNREADABLE' });
});

test('who leaves leaves nothing; what a killed try has left is removed by the next', async () => {
  const { plain } = await make(30);
  const left = new AbortController();
  const error = await refused({
    signal: left.signal,
    onProgress: (done) => done > 5 * sealedBytes(EXTENT) && left.abort(new Error('left')),
  });
  expect(error.message).toBe('left');
  writeFileSync(at('.target.0123456789abcdef_1.holdfast-part'), 'of a try that was killed');
  await opened();
  expect(readFileSync(at('target')).equals(plain)).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(['sealed', 'target']);
});
