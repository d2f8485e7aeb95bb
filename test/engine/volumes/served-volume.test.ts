/**
 * A served volume against a model: whatever is written, zeroed and trimmed while views are open, each view reads as the
 * volume did at its freeze, and what changed since is what the model says, after a restart, too.
 */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Backend, Export } from '../../../src/engine/volumes/nbd/export.ts';
import { ServedVolume, type Freeze } from '../../../src/engine/volumes/served-volume.ts';

const EXTENT = 4096;
const SIZE = 150 * EXTENT + 100;
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function newVolume() {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-served-'));
  folders.push(folder);
  const file = path.join(folder, 'disk.img');
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  const options = { name: 'disk', path: file, sizeBytes: SIZE, extentBytes: EXTENT, stateFolder: path.join(folder, 'state') };
  return { file, open: (preserveBytesMax = SIZE) => ServedVolume.open({ ...options, preserveBytesMax }) };
}

const backendOf = async (of: Export): Promise<Backend> => of.open();

async function readAll(of: Export, offset = 0, length: number = SIZE): Promise<Buffer> {
  const into = Buffer.alloc(length);
  const backend = await backendOf(of);
  if (!backend.readNow(into, offset)) await backend.read(into, offset);
  return into;
}

type Op =
  | {
      readonly kind: 'write' | 'zero' | 'punch' | 'trim';
      readonly offset: number;
      readonly length: number;
      readonly value: number;
      readonly fua: boolean;
    }
  | { readonly kind: 'freeze' }
  | { readonly kind: 'close' }
  | { readonly kind: 'restart' }
  | { readonly kind: 'look'; readonly offset: number; readonly length: number };

const range = { offset: fc.nat(SIZE - 1), length: fc.integer({ min: 1, max: 9 * EXTENT }) };
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('write' as const, 'write' as const, 'zero' as const, 'punch' as const, 'trim' as const),
      ...range,
      value: fc.integer({ min: 1, max: 255 }),
      fua: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('look' as const), ...range }) },
  { weight: 2, arbitrary: fc.constantFrom<Op>({ kind: 'freeze' }, { kind: 'close' }, { kind: 'restart' }) },
);

test('views read as their moment, and what changed is told, whatever goes on', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 40 }), async (ops) => {
      const { file, open } = newVolume();
      let volume = await open();
      let backend = await backendOf(volume.asExport());
      const model = Buffer.alloc(SIZE);
      const views: { readonly freeze: Freeze; readonly was: Buffer }[] = [];
      const changed = new Map<string, Set<number>>();
      const closeAll = async (): Promise<void> => {
        for (const { freeze, was } of views.splice(0)) {
          expect((await readAll(freeze.export)).equals(was)).toBe(true);
          await freeze.close();
        }
      };
      for (const one of ops) {
        if (one.kind === 'freeze') {
          const id = `s${changed.size + 1}`;
          views.push({ freeze: await volume.freeze(id), was: Buffer.from(model) });
          changed.set(id, new Set());
        } else if (one.kind === 'close') {
          const [oldest] = views.splice(0, 1);
          if (oldest === undefined) continue;
          expect((await readAll(oldest.freeze.export)).equals(oldest.was)).toBe(true);
          await oldest.freeze.close();
        } else if (one.kind === 'restart') {
          await closeAll();
          await volume.stop();
          volume = await open();
          backend = await backendOf(volume.asExport());
        } else {
          const length = Math.min(one.length, SIZE - one.offset);
          if (one.kind === 'look') {
            for (const { freeze, was } of views)
              expect(await readAll(freeze.export, one.offset, length)).toEqual(was.subarray(one.offset, one.offset + length));
            continue;
          }
          if (one.kind === 'write') await backend.write([Buffer.alloc(length, one.value)], one.offset, one.fua);
          else if (one.kind === 'trim') await backend.trim(one.offset, length, one.fua);
          else await backend.zero(one.offset, length, { fua: one.fua, mayPunch: one.kind === 'punch', fast: false });
          model.fill(one.kind === 'write' ? one.value : 0, one.offset, one.offset + length);
          for (const set of changed.values())
            for (let at = one.offset - (one.offset % EXTENT); at < one.offset + length; at += EXTENT) set.add(at / EXTENT);
        }
      }
      expect((await readAll(volume.asExport())).equals(model)).toBe(true);
      for (const context of volume.asExport().contexts()) {
        const truth = changed.get(context.name.replace('holdfast:changed:', ''));
        if (truth === undefined) continue;
        const told: number[] = [];
        let at = 0;
        for await (const run of context.status(0, SIZE)) {
          if (run.flags === 1) told.push(at / EXTENT);
          at += run.length;
        }
        expect([context.name, told]).toEqual([context.name, [...truth].sort((a, b) => a - b)]);
      }
      await closeAll();
      await volume.stop();
      expect(readFileSync(file).equals(model)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('writes under way at a freeze are in the view whole or not at all', async () => {
  const { open } = newVolume();
  await using volume = await open();
  const backend = await backendOf(volume.asExport());
  // The first touch of each region has to wait, so that the freeze comes between asking and writing.
  const going = [0, 70, 140].map((extent) => backend.write([Buffer.alloc(3 * EXTENT, 7)], extent * EXTENT, false));
  const freezing = volume.freeze('s1');
  for (const write of going) await write;
  const freeze = await freezing;
  for (const extent of [0, 70, 140]) {
    const seen = await readAll(freeze.export, extent * EXTENT, 3 * EXTENT);
    expect([Buffer.alloc(3 * EXTENT, 7), Buffer.alloc(3 * EXTENT)].some((one) => one.equals(seen))).toBe(true);
  }
});

test('at its bound a view holds writers until it is closed, and counts them', async () => {
  const { open } = newVolume();
  await using volume = await open(2 * EXTENT);
  const backend = await backendOf(volume.asExport());
  await backend.write([Buffer.alloc(10 * EXTENT, 1)], 0, false);
  const freeze = await volume.freeze('s1');
  await backend.write([Buffer.alloc(2 * EXTENT, 2)], 0, false);
  let done = false;
  const held = Promise.resolve(backend.write([Buffer.alloc(EXTENT, 3)], 5 * EXTENT, false)).then(() => (done = true));
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect([done, freeze.figures()]).toEqual([false, { preservedBytes: 2 * EXTENT, writersHeld: 1 }]);
  expect(await readAll(freeze.export, 0, 10 * EXTENT)).toEqual(Buffer.alloc(10 * EXTENT, 1));
  await freeze.close();
  await held;
  expect(await readAll(volume.asExport(), 5 * EXTENT, EXTENT)).toEqual(Buffer.alloc(EXTENT, 3));
});
