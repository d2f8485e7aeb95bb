/**
 * The bench of instant restore, to bench/results/hydration.json: how fast a volume hydrates beside a plain restore of the same
 * snapshot, which take turns; and when one of 1 TiB answers its first read, whose repository nobody has open.
 *
 * 2 GiB of rows, half-compressible; 1 TiB with 1 GiB of data spread over it. Local folders, encryption on, page cache warm.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryName, storeName, volumeName } from '../src/domain/ids.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import { newestVisible, subtreeCount, transferReader, valuesOf } from '../src/engine/repository/transfer-reader.ts';
import { openRestoreTarget } from '../src/engine/transfer/restore-target.ts';
import { restoreSubtree } from '../src/engine/transfer/restore.ts';
import { ServedVolume, type Origin } from '../src/engine/volumes/served-volume.ts';
import { snapshotContent } from '../src/engine/volumes/hydration/snapshot-origin.ts';
import { initialiseFileStore } from '../src/ground/stores/file-root.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { openBenchHome, settleDisk } from './installation.ts';
import { captureDirectly } from './large-repositories.ts';
import { rowsImage } from './pipeline-images.ts';

const EXTENT = 256 * 1024;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;
/** Data of the large volume: 4 MiB of every 4 GiB. */
const SPREAD = { everyBytes: 4 * GIB, dataBytes: 4 * MIB } as const;
const FIRST_TOUCHES = 200;
const STORE = storeName('one');

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const at = (numbers: readonly number[], share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))] ?? NaN;
const secondsSince = (begun: number): number => (performance.now() - begun) / 1000;
const round = (n: number): number => Math.round(n * 1000) / 1000;

async function addVolume(home: Home, name: string, image: string): Promise<void> {
  const volume = { name: volumeName(name), incarnation: 1, node: 'bench', path: image, extentBytes: EXTENT, stores: [STORE] };
  await home.catalog.append(() => ({ kind: 'VOLUME_ADD', volume: { ...volume, repository: repositoryName(name), retired: false } }));
}

function spreadImage(folder: string): string {
  const image = path.join(folder, 'spread.img');
  const fd = openSync(image, 'w');
  ftruncateSync(fd, TIB);
  for (let offset = SPREAD.everyBytes / 2; offset < TIB; offset += SPREAD.everyBytes)
    writeSync(fd, randomBytes(SPREAD.dataBytes), 0, SPREAD.dataBytes, offset);
  closeSync(fd);
  return image;
}

const readerOf = (home: Home, name: string) => home.reader(STORE, repositoryName(name));

const originOf = (home: Home, name: string, snapshot: string, threads: Threads): Origin => ({
  name: snapshot,
  async open() {
    const reader = await readerOf(home, name);
    const of = newestVisible(reader, volumeName(name));
    const content = snapshotContent({ reader, threads, snapshot: of, store: STORE });
    return { ...content, [Symbol.asyncDispose]: async () => undefined };
  },
});

/** Over a file that holds nothing yet. */
async function openVolume(folder: string, sizeBytes: number, origin: Origin): Promise<ServedVolume> {
  mkdirSync(folder);
  const file = path.join(folder, 'disk.img');
  const fd = openSync(file, 'w');
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
  return ServedVolume.open({
    name: 'disk',
    path: file,
    sizeBytes,
    extentBytes: EXTENT,
    stateFolder: folder,
    preserveBytesMax: GIB,
    origin,
  });
}

async function plainRestore(home: Home, name: string, target: string, threads: Threads): Promise<number> {
  const reader = await readerOf(home, name);
  const snapshot = newestVisible(reader, volumeName(name));
  const { sizeBytes, extentBytes } = snapshot;
  const begun = performance.now();
  await using opened = await openRestoreTarget(target, { sizeBytes, existing: 'refuse' });
  for (let subtree = 0; subtree < subtreeCount(sizeBytes, extentBytes); subtree++)
    await restoreSubtree({
      ...{ values: valuesOf(reader, snapshot, subtree), reader: transferReader(reader, STORE), target: opened },
      ...{ extentBytes, subtree, write: 'all' as const, threads },
    });
  await opened.sync();
  return secondsSince(begun);
}

async function hydration(folder: string, sizeBytes: number, origin: Origin): Promise<number> {
  const begun = performance.now();
  await using volume = await openVolume(folder, sizeBytes, origin);
  await volume.hydrate(new AbortController().signal);
  return secondsSince(begun);
}

async function speed(work: string, image: string, rounds: number, threads: Threads) {
  await using home = await openBenchHome(work, 'cache');
  await addVolume(home, 'rows', image);
  const snapshot = await captureDirectly({ home }, 'rows', STORE, threads);
  const restores: number[] = [];
  const hydrations: number[] = [];
  const [plain, volume] = [path.join(work, 'plain.img'), path.join(work, 'volume')];
  /** Each finds the memory that the other has left: the first to fill new memory of a virtual machine pays for it. */
  const drop = (): void => {
    for (const one of [plain, volume]) rmSync(one, { recursive: true, force: true });
    settleDisk();
  };
  for (let i = 0; i < rounds; i++) {
    const restored = async (): Promise<number> => restores.push(await plainRestore(home, 'rows', plain, threads));
    const hydrated = async (): Promise<number> =>
      hydrations.push(await hydration(volume, statSync(image).size, originOf(home, 'rows', snapshot, threads)));
    // In turns, for what the machine does besides changes meanwhile.
    for (const one of i % 2 === 0 ? [restored, hydrated] : [hydrated, restored]) {
      drop();
      await one();
    }
    process.stderr.write(`restore ${round(restores.at(-1) ?? 0)} s, hydration ${round(hydrations.at(-1) ?? 0)} s\n`);
  }
  drop();
  return {
    restoreSeconds: round(median(restores)),
    hydrationSeconds: round(median(hydrations)),
    speedShare: round(median(restores.map((seconds, i) => seconds / (hydrations[i] ?? NaN)))),
  };
}

async function firstReads(work: string, threads: Threads) {
  const image = spreadImage(work);
  const name = 'spread';
  const snapshot = await (async () => {
    await using home = await openBenchHome(work, 'cache');
    await addVolume(home, name, image);
    return captureDirectly({ home }, name, STORE, threads);
  })();
  rmSync(image);
  settleDisk();
  // As after a start: no repository open, no cache.
  const begun = performance.now();
  await using home = await openBenchHome(work, 'cold-cache');
  const homeSeconds = secondsSince(begun);
  const opening = performance.now();
  await using volume = await openVolume(path.join(work, 'volume'), TIB, originOf(home, name, snapshot, threads));
  const openSeconds = secondsSince(opening);
  const backend = await volume.asExport().open();
  const block = Buffer.alloc(4096);
  await backend.read(block, SPREAD.everyBytes / 2);
  const firstSeconds = secondsSince(opening);
  const touches: number[] = [];
  const pieces = TIB / SPREAD.everyBytes;
  for (let i = 0; i < FIRST_TOUCHES; i++) {
    const from = performance.now();
    const piece = (i * 101 + 1) % pieces;
    await backend.read(block, piece * SPREAD.everyBytes + SPREAD.everyBytes / 2 + ((i * 7) % 16) * EXTENT);
    touches.push(performance.now() - from);
  }
  const rest = performance.now();
  await volume.hydrate(new AbortController().signal);
  return {
    /** Of a process that has just started: its catalog. */
    homeSeconds: round(homeSeconds),
    /** From a file of zeros to the volume's being served. */
    openSeconds: round(openSeconds),
    /** From a file of zeros to the first answer: with the repository's log and the map on the way. */
    firstReadSeconds: round(firstSeconds),
    firstTouchP50Ms: round(at(touches, 0.5)),
    firstTouchP99Ms: round(at(touches, 0.99)),
    restSeconds: round(secondsSince(rest)),
    peakMib: Math.round(process.resourceUsage().maxRSS / 1024),
  };
}

export async function runHydrationBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { folder: { type: 'string', default: '/tmp/hf-bench' }, rounds: { type: 'string', default: '5' } },
  });
  mkdirSync(values.folder, { recursive: true });
  const image = rowsImage(values.folder);
  const work = path.join(values.folder, 'hydration');
  rmSync(work, { recursive: true, force: true });
  const root = path.join(work, 'stores', STORE);
  mkdirSync(root, { recursive: true });
  await initialiseFileStore(root);
  {
    await using home = await openBenchHome(work, 'cache');
    const store = { name: STORE, url: `file://${root}`, endpoint: null, region: null, credentials: null, bytesPerSecondMax: null };
    await home.catalog.append(() => ({ kind: 'STORE_ADD', store: { ...store, passphrase: 'env:HOLDFAST_PASSPHRASE', codec: 'zstd-1' } }));
  }
  await using threads = new Threads();
  const results = {
    machine: { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version },
    rounds: Number(values.rounds),
    speed: await speed(work, image, Number(values.rounds), threads),
    spread: await firstReads(work, threads),
  };
  const out = path.join(import.meta.dirname, 'results');
  mkdirSync(out, { recursive: true });
  writeFileSync(path.join(out, 'hydration.json'), `${JSON.stringify(results, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  rmSync(work, { recursive: true, force: true });
}
