/**
 * A served volume against a model: whatever is written, zeroed and trimmed while views are open, each view reads as the
 * volume did at its freeze, and what changed since is what the model says, after a restart, too.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Backend, Export } from '../../../src/engine/volumes/nbd/export.ts';
import type { Clock } from '../../../src/engine/volumes/clock.ts';
import { GIVE_WAY_MS } from '../../../src/engine/volumes/frozen-view.ts';
import { ServedVolume, type Freeze, type ServedVolumeOptions, type VolumeEvent } from '../../../src/engine/volumes/served-volume.ts';
import { VolumeFile } from '../../../src/engine/volumes/volume-file.ts';

const EXTENT = 4096;
const SIZE = 150 * EXTENT + 100;
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Time that passes when a test says so. */
function handClock() {
  let now = 0;
  const due = new Set<{ readonly at: number; readonly call: () => void }>();
  const clock: Clock = {
    nowMs: () => now,
    after(ms, then) {
      const one = { at: now + ms, call: then };
      due.add(one);
      return () => due.delete(one);
    },
  };
  const pass = async (ms: number): Promise<void> => {
    now += ms;
    for (const one of [...due]) if (one.at <= now && due.delete(one)) one.call();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, pass };
}

function newVolume(name = 'disk', more: Pick<ServedVolumeOptions, 'clock' | 'onEvent'> = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-served-'));
  folders.push(folder);
  const file = path.join(folder, 'disk.img');
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  const options = { name, ...more, path: file, sizeBytes: SIZE, extentBytes: EXTENT, stateFolder: path.join(folder, 'state') };
  return { file, state: options.stateFolder, open: (preserveBytesMax = SIZE) => ServedVolume.open({ ...options, preserveBytesMax }) };
}

async function waitUntil(holds: () => boolean): Promise<void> {
  for (const until = Date.now() + 30_000; !holds() && Date.now() < until;) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(holds()).toBe(true);
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
          for (let each = at; run.flags === 1 && each < at + run.length; each += EXTENT) told.push(each / EXTENT);
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

test('copies of a process that was killed are gone when the volume is opened; those of a view wait a minute for the next one', async () => {
  const { clock, pass } = handClock();
  const { open, state } = newVolume('disk', { clock });
  await (await open()).stop();
  writeFileSync(path.join(state, 'disk.7.copies'), '');
  await using volume = await open();
  expect(readdirSync(state)).toEqual(['disk.tracking']);
  await (await volume.freeze('s1')).close();
  await pass(59_000);
  await (await volume.freeze('s2')).close();
  await pass(59_000);
  expect(readdirSync(state)).toEqual(['disk.0.copies', 'disk.tracking']);
  await pass(1000);
  await waitUntil(() => readdirSync(state).length === 1);
});

test('what changed is known after a clean stop, and exactly', async () => {
  const { open } = newVolume();
  let volume = await open();
  const freeze = await volume.freeze('s1');
  await freeze.close();
  await (await backendOf(volume.asExport())).write([Buffer.alloc(10)], 70 * EXTENT, false);
  for (let starts = 0; starts < 2; starts++) {
    await volume.stop();
    volume = await open();
    const [context] = volume
      .asExport()
      .contexts()
      .filter(({ name }) => name === 'holdfast:changed:s1');
    const runs = [];
    for await (const run of context?.status(0, SIZE) ?? []) runs.push(run);
    expect(runs).toEqual([
      { length: 70 * EXTENT, flags: 0 },
      { length: EXTENT, flags: 1 },
      { length: SIZE - 71 * EXTENT, flags: 0 },
    ]);
  }
  await volume.stop();
});

test('what a view says is zeros is zeros, whatever is trimmed while it looks', async () => {
  const { open } = newVolume();
  await using volume = await open();
  const backend = await backendOf(volume.asExport());
  for (let ticks = 0; ticks < 60; ticks++) {
    // Data and holes in turns, so that there are many runs to gather.
    for (let extent = 0; extent < 20; extent += 2) await backend.write([Buffer.alloc(EXTENT, 1)], extent * EXTENT, false);
    const freeze = await volume.freeze(`s${ticks}`);
    await backend.write([Buffer.alloc(1)], 30 * EXTENT, false);
    const [context] = freeze.export.contexts();
    const looking = (async () => {
      const data: number[] = [];
      let at = 0;
      for await (const run of context?.status(0, 20 * EXTENT) ?? []) {
        if (run.flags === 0) data.push(at / EXTENT);
        at += run.length;
      }
      return data;
    })();
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
    await backend.trim(0, 20 * EXTENT, false);
    expect([ticks, await looking]).toEqual([ticks, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]]);
    await freeze.close();
  }
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
  await waitUntil(() => freeze.figures().writersHeld === 1);
  expect([done, freeze.figures()]).toEqual([false, { preservedBytes: 2 * EXTENT, writersHeld: 1 }]);
  expect(await readAll(freeze.export, 0, 10 * EXTENT)).toEqual(Buffer.alloc(10 * EXTENT, 1));
  await freeze.close();
  await held;
  expect(await readAll(volume.asExport(), 5 * EXTENT, EXTENT)).toEqual(Buffer.alloc(EXTENT, 3));
});

/** A view at its bound, with a writer that waits for it. */
async function atItsBound() {
  const { clock, pass } = handClock();
  const events: VolumeEvent[] = [];
  const volume = await newVolume('disk', { clock, onEvent: (event) => events.push(event) }).open(2 * EXTENT);
  const backend = await backendOf(volume.asExport());
  await backend.write([Buffer.alloc(10 * EXTENT, 1)], 0, false);
  const freeze = await volume.freeze('s1');
  await backend.write([Buffer.alloc(2 * EXTENT, 2)], 0, false);
  let isWritten = false;
  const write = Promise.resolve(backend.write([Buffer.alloc(EXTENT, 3)], 5 * EXTENT, false)).then(() => (isWritten = true));
  return {
    volume,
    freeze,
    pass,
    write,
    isWritten: () => isWritten,
    told: (kind: VolumeEvent['kind']) => events.filter((one) => one.kind === kind),
  };
}

test('a view that nobody has open gives way to writers that wait for it; what it gave way for is counted and told', async () => {
  const { volume, freeze, pass, write, isWritten, told } = await atItsBound();
  await pass(GIVE_WAY_MS - 1);
  expect(isWritten()).toBe(false);
  await pass(1);
  await write;
  expect(told('gaveUp')).toEqual([{ kind: 'gaveUp', volume: 'disk', snapshot: 's1', preservedBytes: 2 * EXTENT }]);
  expect(told('held')).toEqual([{ kind: 'held', volume: 'disk', snapshot: 's1', ms: GIVE_WAY_MS }]);
  expect(volume.figures()).toMatchObject({ writersHeld: 1, heldMs: GIVE_WAY_MS, hydration: null });
  await expect(readAll(freeze.export)).rejects.toThrow(/given up/);
  // Whoever asks again gets a moment of now.
  const again = await volume.freeze('s1');
  expect(await readAll(again.export, 5 * EXTENT, EXTENT)).toEqual(Buffer.alloc(EXTENT, 3));
  await expect(readAll(freeze.export)).rejects.toThrow(/closed/);
  expect(volume.exports().map(({ name }) => name)).toEqual(['disk', 'disk@s1']);
  await volume.stop();
});

test('a view that somebody has open does not give way, however long it takes; its time begins when the last one leaves', async () => {
  const { volume, freeze, pass, write, isWritten } = await atItsBound();
  await pass(GIVE_WAY_MS - 1);
  const reader = await backendOf(freeze.export);
  await pass(10 * GIVE_WAY_MS);
  expect(isWritten()).toBe(false);
  await reader.close();
  await pass(GIVE_WAY_MS - 1);
  expect(isWritten()).toBe(false);
  await pass(1);
  await write;
  await volume.stop();
});

test('a volume that stops lets waiting writers go, and writes nothing of theirs', async () => {
  const { volume, write } = await atItsBound();
  const outcome = write.catch((error: unknown) => String(error));
  await volume.stop();
  expect(await outcome).toMatch(/no more/);
  await expect(readAll(volume.asExport())).rejects.toThrow(/no more/);
});

test('a snapshot that is frozen again is the same view while that stands, also when both ask at once', async () => {
  const frozen: string[] = [];
  const onEvent = (event: VolumeEvent): void => void (event.kind === 'frozen' && frozen.push(event.snapshot));
  await using volume = await newVolume('disk', { onEvent }).open();
  const backend = await backendOf(volume.asExport());
  await backend.write([Buffer.alloc(EXTENT, 1)], 0, false);
  const [one, two] = await Promise.all([volume.freeze('s1'), volume.freeze('s1')]);
  await backend.write([Buffer.alloc(EXTENT, 2)], 0, false);
  const three = await volume.freeze('s1');
  for (const freeze of [one, two, three]) expect(await readAll(freeze.export, 0, EXTENT)).toEqual(Buffer.alloc(EXTENT, 1));
  expect(frozen).toEqual(['s1']);
  await one.close();
  expect(await readAll((await volume.freeze('s1')).export, 0, EXTENT)).toEqual(Buffer.alloc(EXTENT, 2));
});

test('a snapshot that was frozen twice: what changed until it and since it is never less than it was', async () => {
  await using volume = await newVolume().open();
  const backend = await backendOf(volume.asExport());
  await (await volume.freeze('s0')).close();
  await backend.write([Buffer.alloc(EXTENT, 1)], 3 * EXTENT, false);
  await (await volume.freeze('s1')).close();
  await backend.write([Buffer.alloc(EXTENT, 1)], 7 * EXTENT, false);
  const again = await volume.freeze('s1');
  await backend.write([Buffer.alloc(EXTENT, 1)], 9 * EXTENT, false);
  const later = await volume.freeze('s2');
  expect([...(again.changedSince('s0')?.runs() ?? [])]).toEqual([
    [3, 4],
    [7, 8],
  ]);
  expect([...(later.changedSince('s1')?.runs() ?? [])]).toEqual([
    [7, 8],
    [9, 10],
  ]);
});

test('volumes that are frozen together hold one moment of all of them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(1), fc.nat(140)), { minLength: 1, maxLength: 30 }), fc.nat(30), async (writes, freezeAt) => {
      await using a = await newVolume('a').open();
      await using b = await newVolume('b').open();
      const backends = [await backendOf(a.asExport()), await backendOf(b.asExport())];
      // One writer after another, each after the answer to the one before: a moment holds all up to one of them.
      let freezing: Promise<readonly Freeze[]> | null = null;
      for (const [i, [which, extent]] of writes.entries()) {
        if (i === freezeAt) freezing = ServedVolume.freezeTogether([a, b].map((volume) => ({ volume, snapshot: `s${volume.name}` })));
        await backends[which]?.write([Buffer.alloc(EXTENT, i + 1)], extent * EXTENT, false);
      }
      freezing ??= ServedVolume.freezeTogether([a, b].map((volume) => ({ volume, snapshot: `s${volume.name}` })));
      const freezes = await freezing;
      const seen = await Promise.all(freezes.map((freeze) => readAll(freeze.export)));
      const newest = Math.max(...seen.map((bytes) => bytes.reduce((a, c) => Math.max(a, c), 0)));
      const models = [Buffer.alloc(SIZE), Buffer.alloc(SIZE)];
      for (const [i, [which, extent]] of writes.entries())
        if (i < newest) models[which]?.fill(i + 1, extent * EXTENT, (extent + 1) * EXTENT);
      expect(newest).toBeGreaterThanOrEqual(Math.min(freezeAt, writes.length));
      expect(seen.map((bytes, i) => bytes.equals(models[i] ?? Buffer.alloc(0)))).toEqual([true, true]);
    }),
    { numRuns: 15 },
  );
});

test('a group is frozen whole or not at all, once for those who ask again, and never mixed with another moment', async () => {
  await using a = await newVolume('a').open();
  const { open: openB, state: stateOfB } = newVolume('b');
  await using b = await openB();
  const pairs = [a, b].map((volume) => ({ volume, snapshot: `s${volume.name}` }));
  const [one] = await ServedVolume.freezeTogether(pairs);
  const [again] = await ServedVolume.freezeTogether(pairs);
  expect(again).toBe(one);
  await one?.close();
  await expect(ServedVolume.freezeTogether(pairs)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
  for (const freeze of [await b.freeze('sb'), ...(await ServedVolume.freezeTogether([{ volume: a, snapshot: 'other' }]))])
    await freeze.close();
  await b.stop();
  const before = a.exports().length;
  await expect(ServedVolume.freezeTogether(pairs)).rejects.toThrow();
  expect(a.exports()).toHaveLength(before);
  // Nor is what a view would have kept there for nobody.
  expect(readdirSync(stateOfB)).toEqual(['b.tracking']);
});

test('copies of a view that cannot be had in their size leave nothing', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-served-'));
  folders.push(folder);
  await expect(VolumeFile.createTemporary(path.join(folder, 'copies'), NaN)).rejects.toThrow();
  expect(readdirSync(folder)).toEqual([]);
});
