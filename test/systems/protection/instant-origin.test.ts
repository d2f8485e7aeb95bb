/** A disk that is served from a point while it fills, when a batch that it needs cannot be had any more. */
import { closeSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { storeName } from '../../../src/domain/ids.ts';
import type { ProtectionRecord } from '../../../src/engine/catalog/protections.ts';
import { formBatch, lastOf } from '../../../src/engine/journal/batch.ts';
import { foldRegion } from '../../../src/engine/journal/keeping/fold.ts';
import { pinPoint } from '../../../src/engine/journal/keeping/pins.ts';
import { batchName } from '../../../src/engine/journal/object-names.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { ServedVolume } from '../../../src/engine/volumes/served-volume.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { basesIn, journalIn } from '../../../src/systems/protection/home-journal.ts';
import { createPointOrigins } from '../../../src/systems/protection/instant-origin.ts';
import { flip } from '../../flip.ts';
import { createInstallation, type Installation } from '../installation.ts';

const EXTENT = 16 * 1024;
const SIZE = 12 * EXTENT;
const REGIONS = ['a', 'b'];
const BATCHES = 5;

let installation: Installation;
let threads: Threads;
beforeAll(async () => {
  installation = await createInstallation();
  for (const store of ['log', ...REGIONS]) await installation.addStore(store);
  threads = new Threads({ count: 1 });
});
afterAll(async () => {
  await threads[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
});

/** Batches of a write each in two extents, which the next one overwrites in part, and a flush; all acknowledged. */
async function written(protection: ProtectionRecord) {
  const { journal: name, log, members } = protection;
  const journal = await journalIn(installation.home, { journal: name, log, members }, true);
  const opening = { previous: null, end: null, mode: 'pair' as const, owner: 'o', full: [], tailLost: false };
  const epoch = (await journal.log.append(() => ({ kind: 'OPEN' as const, ...opening, members: [...members] }))) ?? 0;
  const content = Buffer.alloc(SIZE);
  let [next, before]: [number, Uint8Array] = [1, Buffer.alloc(32)];
  for (let index = 0; index <= BATCHES; index++) {
    const data = Buffer.alloc(EXTENT, 0x10 + index);
    const offset = index * EXTENT + EXTENT / 2;
    const records: JournalRecord[] = [
      { kind: 'write', seq: next, volume: 0, offset, data },
      { kind: 'flush', seq: next + 1 },
    ];
    const some = index === BATCHES ? [] : records;
    if (some.length > 0) data.copy(content, offset);
    const notes = { epoch, index, first: next, before, acknowledged: next - 1, acknowledgedBatches: 0, labelUs: 0, fold: Buffer.alloc(0) };
    const { stored, after } = formBatch(journal.key, notes, some, { level: null, salt: installation.home.environment.random(32) });
    for (const { store } of journal.regions.values()) await store.put(batchName(epoch, index), stored, { ifAbsent: true });
    [next, before] = [lastOf({ first: next, count: some.length }) + 1, after];
  }
  return { journal, content, point: { epoch, seq: next - 1 } };
}

/** One bit of the body of a batch, or that bit back, in both regions. */
function flipBatch(journal: string, epoch: number, index: number): void {
  for (const region of REGIONS) flip(path.join(installation.storeFolder(region), 'journals', journal, batchName(epoch, index)), -1);
}

/** A volume that is served from the newest point of a journal of its own, which its plan was made for. */
async function serving(name: string) {
  const { home } = installation;
  const protection: ProtectionRecord = {
    ...{ journal: name, host: 'n1', extentBytes: EXTENT, mode: 'pair', log: storeName('log') },
    disks: [{ disk: 'd', sizeBytes: SIZE }],
    members: REGIONS.map((region) => ({ region: storeName(region), domain: `site-${region}` })),
  };
  const { journal, content, point } = await written(protection);
  await pinPoint(journal, { pin: 'p', point, untilMs: Date.now() + 600_000, why: 'test' });
  const from = { journal: name, ...point, volume: 0, log: protection.log, regions: [...protection.members], pin: 'p' };
  const origin = createPointOrigins(async () => ({ home, threads }))(from, { sizeBytes: SIZE, extentBytes: EXTENT });
  const file = path.join(installation.folder, `${name}.img`);
  const fd = openSync(file, 'w');
  ftruncateSync(fd, SIZE);
  closeSync(fd);
  const volume = await ServedVolume.open({
    ...{ name, path: file, sizeBytes: SIZE, extentBytes: EXTENT, preserveBytesMax: SIZE, origin },
    stateFolder: path.join(installation.folder, `${name}.state`),
  });
  const backend = await volume.asExport().open();
  // Nothing is brought ahead of the last extent.
  await backend.read(Buffer.alloc(512), SIZE - 512);
  return {
    ...{ volume, content, point, file },
    fold: async () => {
      const bases = await basesIn({ home, threads, scratch: installation.folder }, protection, storeName('b'), true);
      expect(await foldRegion(readingOf(journal), bases)).toMatchObject({ kind: 'folded' });
    },
    async read(offset: number): Promise<Buffer> {
      const into = Buffer.alloc(512);
      await backend.read(into, offset);
      return into;
    },
  };
}

const signal = new AbortController().signal;

test('batches that are nowhere as they were written are left for a base that holds what they held, by its reads and by what fills it', async () => {
  for (const first of ['a read', 'the filling']) {
    const name = first === 'a read' ? 'read' : 'fill';
    const { volume, content, point, file, fold, read } = await serving(name);
    await using _ = volume;
    await fold();
    for (const index of [2, 3]) flipBatch(name, point.epoch, index);
    if (first === 'a read') {
      // Two at once, and neither hears of it.
      const both = await Promise.all([read(2 * EXTENT), read(3 * EXTENT)]);
      for (const [i, index] of [2, 3].entries()) expect(both[i]?.equals(content.subarray(index * EXTENT, index * EXTENT + 512))).toBe(true);
    }
    await volume.hydrate(signal);
    expect(readFileSync(file).equals(content)).toBe(true);
  }
});

test('where no base holds what the batch held, the extents that it wrote to are lost, and they alone', async () => {
  const { volume, content, point, read } = await serving('none');
  await using _ = volume;
  flipBatch('none', point.epoch, 2);
  await expect(volume.hydrate(signal)).rejects.toMatchObject({ code: 'DAMAGED', details: { extents: [2, 3] } });
  await expect(read(2 * EXTENT)).rejects.toMatchObject({ code: 'DAMAGED', details: { epoch: point.epoch, index: 2 } });
  expect((await read(4 * EXTENT)).equals(content.subarray(4 * EXTENT, 4 * EXTENT + 512))).toBe(true);
});
