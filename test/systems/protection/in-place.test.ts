/**
 * A group recovered in place: as changes like any others, while nobody else has its disks, whatever ends in between; undone in the same way.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { foldRegion } from '../../../src/engine/journal/keeping/fold.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import { recoverInPlace, type InPlaceOptions } from '../../../src/systems/protection/in-place.ts';
import type { DiskServer } from '../../../src/systems/serving/disk-server.ts';
import { flip } from '../../flip.ts';
import { createRandom } from '../../simulation/random.ts';
import { useDisk } from '../../engine/volumes/nbd/disk-user.ts';
import { EXTENT, openWorld, SIZE, type ProtectionWorld } from './protection-world.ts';

const DISKS = ['one', 'two'];

let folder: string;
let world: ProtectionWorld;
let server: DiskServer;
let recoveries = 0;
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-in-place-'));
  world = openWorld(folder);
  server = await world.start();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

const uriOf = (disk: string): string => `nbd+unix:///${disk}?socket=${path.join(folder, 'disks', 'nbd.sock')}`;
const now = (): Buffer[] => DISKS.map((disk) => readFileSync(path.join(folder, `${disk}.img`)));
/** Not by Jest, to which each byte is a property. */
const are = (these: readonly Buffer[]): boolean[] => now().map((bytes, i) => bytes.equals(these[i]!));

async function scribble(seed: number, disks: readonly string[] = DISKS): Promise<void> {
  const random = createRandom(seed);
  for (const disk of disks) {
    using user = await useDisk(uriOf(disk));
    for (let n = 0; n < 40; n++) {
      const offset = 512 * random.below(SIZE / 512 - 16);
      const length = 512 * random.between(1, 17);
      await user.write(offset, random.chance(0.2) ? Buffer.alloc(length) : random.bytes(length));
    }
    await user.flush();
    await user.leave();
  }
}

async function recover(seq: number, some: Partial<InPlaceOptions> = {}) {
  const reading = readingOf(await world.journal());
  const { epochs } = await reading.journal.log.sync();
  const epoch = [...epochs.values()].findLast(({ start }) => start <= seq)?.epoch ?? 0;
  const bases = await world.bases(DISKS.map(() => SIZE));
  return recoverInPlace({
    ...{ reading, bases, point: { epoch, seq }, disks: world.host.disks, force: false, pin: `in-place.${++recoveries}`, pinMs: 60_000 },
    onBegun: async () => undefined,
    ...some,
  });
}

const fails = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'it was not refused',
    (error: unknown) => error,
  );

async function begin(): Promise<{ readonly seq: number; readonly wanted: Buffer[] }> {
  for (const disk of DISKS) await world.attach(disk);
  await world.host.disks.protect(world.group(DISKS));
  await world.until('PROTECTED', 'CATCHING_UP');
  await scribble(1);
  await world.takeBase();
  await scribble(2);
  const { seq } = await world.host.disks.point('j', []);
  return { seq, wanted: now() };
}

/** Clients that have gone are counted a moment longer. */
async function untilIdle(): Promise<void> {
  for (const deadline = Date.now() + 30_000; (await world.host.disks.list()).some(({ connections }) => connections > 0);) {
    if (Date.now() > deadline) throw new Error(`clients stay: ${JSON.stringify(await world.host.disks.list())}`);
    await sleep(20);
  }
}

test('the disks are those of the point, and recovering to the point before it brings back what they were', async () => {
  const { seq, wanted } = await begin();
  await scribble(3, ['one']);
  await untilIdle();
  const later = now();
  const { before, writtenBytes, after } = await recover(seq);
  expect(are(wanted)).toEqual([true, true]);
  expect(writtenBytes).toBeGreaterThan(0);
  expect(writtenBytes).toBeLessThan(20 * EXTENT);
  expect(after.seq).toBeGreaterThan(before.seq);
  // A point like any other, while it is recovered and after it.
  const { paths } = await world.recover(before.seq, [SIZE, SIZE]);
  expect(paths.map((file, i) => readFileSync(file).equals(later[i]!))).toEqual([true, true]);
  await recover(before.seq);
  expect(are(later)).toEqual([true, true]);
  // To the point that they are at already: nothing is written.
  expect((await recover(before.seq)).writtenBytes).toBe(0);
  expect([...(await (await world.journal()).log.sync()).pins.keys()]).toEqual([]);
}, 240_000);

test('clients keep it from beginning, unless forced; then they are cut off, and nobody comes until it is through', async () => {
  const { seq, wanted } = await begin();
  await scribble(3);
  using user = await useDisk(uriOf('two'));
  await user.read(0, 512);
  expect(await fails(recover(seq))).toMatchObject({ code: 'DISK_IN_USE' });
  await user.write(0, Buffer.from('still there'));
  let met: unknown[] = [];
  await recover(seq, {
    force: true,
    onBegun: async () => {
      met = [await fails(useDisk(uriOf('one'))), await fails(user.read(0, 512)), await fails(world.host.disks.point('j', []))];
      met.push(await fails(world.host.disks.handOver('j')));
    },
  });
  expect(met).toEqual([
    expect.any(Error),
    expect.any(Error),
    expect.objectContaining({ code: 'DISK_IN_USE' }),
    expect.objectContaining({ code: 'DISK_IN_USE' }),
  ]);
  expect(are(wanted)).toEqual([true, true]);
  await (await useDisk(uriOf('one'))).leave();
}, 240_000);

test("interrupted, by its own end and by the server's: its disks are nobody's until it is asked for again, which finishes or undoes it", async () => {
  const { seq, wanted } = await begin();
  await scribble(3);
  for (const how of ['finished', 'undone'] as const) {
    await untilIdle();
    const later = now();
    let before = 0;
    const onBegun: InPlaceOptions['onBegun'] = async (said) => void (before = said.seq);
    const onProgress: InPlaceOptions['onProgress'] = ({ writtenBytes }) => {
      if (writtenBytes > 3 * 4096) throw new Error('this is the end of it');
    };
    expect(await fails(recover(seq, { onBegun, onProgress }))).toMatchObject({ message: 'this is the end of it' });
    expect(are(wanted)).not.toEqual([true, true]);
    expect(await fails(useDisk(uriOf('one')))).toBeInstanceOf(Error);
    await server[Symbol.asyncDispose]();
    server = await world.start();
    await world.until('PROTECTED', 'CATCHING_UP');
    expect(await fails(useDisk(uriOf('one')))).toBeInstanceOf(Error);
    expect((await world.host.disks.list()).map(({ recovering }) => recovering?.seq)).toEqual([seq, seq]);
    // The way back is what they held before the first try.
    const again = await recover(how === 'finished' ? seq : before);
    expect(again.before.seq).toBe(before);
    expect(are(how === 'finished' ? wanted : later)).toEqual([true, true]);
    if (how === 'finished') await recover(before);
    expect(are(later)).toEqual([true, true]);
  }
}, 300_000);

/** Batches with data that the regions hold by now. */
function bodies(): string[] {
  const files = ['a', 'b'].flatMap((region) => {
    const root = path.join(folder, 'stores', region, 'journals/j/e');
    const entries = readdirSync(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  });
  return files.filter((file) => readFileSync(file).readUInt32BE(44) > 0);
}

/** One bit of each body, or of each head, or that bit back. */
function flipAll(files: readonly string[], part: 'body' | 'head' = 'body'): void {
  for (const file of files) flip(file, part === 'head' ? 80 : -1);
}

test('what the regions hold no more as it was written comes from a base that holds it, in whichever region; where there is none it is named', async () => {
  const { seq, wanted } = await begin();
  await world.untilListed(seq);
  const harmed = bodies();
  flipAll(harmed);
  await scribble(3);
  await untilIdle();
  const reading = readingOf(await world.journal(), { prefer: ['a'], onDamage: () => undefined });
  expect(await fails(recover(seq, { reading }))).toMatchObject({ code: 'DAMAGED', details: { epoch: 1, index: expect.any(Number) } });
  await untilIdle();
  flipAll(harmed);
  const region = (await world.bases(DISKS.map(() => SIZE))).get('b')!;
  expect(await foldRegion(reading, region, { by: seq })).toMatchObject({ kind: 'folded', base: { to: seq } });
  flipAll(harmed);
  await recover(seq, { reading });
  expect(are(wanted)).toEqual([true, true]);
}, 240_000);

test('where nobody can read any more what was written since, and a base holds it, all of the disks is compared', async () => {
  const { seq, wanted } = await begin();
  await world.untilListed(seq);
  const before = bodies();
  await scribble(3);
  await world.takeBase();
  await untilIdle();
  const later = now();
  const since = bodies().filter((file) => !before.includes(file));
  flipAll(since, 'head');
  const reading = readingOf(await world.journal(), { onDamage: () => undefined });
  const recovered = await recover(seq, { reading });
  expect(recovered.comparedBytes).toBe(DISKS.length * SIZE);
  expect(are(wanted)).toEqual([true, true]);
  await recover(recovered.before.seq, { reading });
  expect(are(later)).toEqual([true, true]);
}, 240_000);

test('what cannot be had is refused before anybody is kept off; what fails before anything is written lets them in again', async () => {
  const { seq } = await begin();
  expect(await fails(recover(999_999))).toMatchObject({ code: 'POINT_GONE' });
  const away = (): Promise<never> => Promise.reject(new Error('the catalog is away'));
  expect(await fails(recover(seq, { onBegun: away }))).toMatchObject({ message: 'the catalog is away' });
  await (await useDisk(uriOf('one'))).leave();
  // Half-way is what whoever ends the protection says that it may be.
  const half = recover(1, {
    onProgress: ({ writtenBytes }) => {
      if (writtenBytes > 0) throw new Error('this is the end of it');
    },
  });
  expect(await fails(half)).toBeInstanceOf(Error);
  expect(await fails(useDisk(uriOf('one')))).toBeInstanceOf(Error);
  await world.host.disks.unprotect('j');
  await (await useDisk(uriOf('one'))).leave();
}, 240_000);
