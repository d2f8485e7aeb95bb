/**
 * How fast the pipeline alone is: ship to one and three folder stores, restore, beside the prototype of the same work.
 *
 *     npx node bench/pipeline.ts [--folder /tmp/hf-bench] [--rounds 3] [--threads 2] [--image ext4|rows] [--sync]
 *                                [--no-prototype]
 *
 * Page cache warm, medians, ratios: the machine is shared. CPU seconds tell what is the pipeline's own and what is waiting for
 * the disk; kernel seconds grow by what a virtual machine pays for memory that its host had taken back. Destinations here have no log, no map and no index; what those
 * cost is for bench/volumes. Without --sync neither the prototype nor the stores wait for the disk.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { SUBTREE_EXTENTS } from '../src/domain/limits.ts';
import type { Location } from '../src/engine/repository/location.ts';
import { encodePackId, packName, packNameOf } from '../src/engine/repository/object-names.ts';
import { packKeyOf } from '../src/engine/repository/pack.ts';
import type { Destination, PlacedValue, ShippedSubtree, ValueReader } from '../src/engine/transfer/contract.ts';
import { openFileSource } from '../src/engine/transfer/file-source.ts';
import { proveSubtree, restoreSubtree } from '../src/engine/transfer/restore.ts';
import { openRestoreTarget } from '../src/engine/transfer/restore-target.ts';
import { shipSubtree } from '../src/engine/transfer/ship-volume.ts';
import { verifyValues } from '../src/engine/transfer/verify.ts';
import { createFileStore } from '../src/ground/stores/file-store.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { ext4Image, rowsImage } from './pipeline-images.ts';
import { runPrototype } from './pipeline-prototype.ts';

const EXTENT = 256 * 1024;
const MIB = 1024 * 1024;

const { values: options } = parseArgs({
  options: {
    'no-prototype': { type: 'boolean', default: false },
    folder: { type: 'string', default: '/tmp/hf-bench' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(availableParallelism()) },
    image: { type: 'string' },
    sync: { type: 'boolean', default: false },
  },
});
const threadCount = Number(options.threads);

class BenchRepository implements Destination, ValueReader {
  readonly codec = 'zstd-1';
  readonly shipped: ShippedSubtree[] = [];
  readonly store: string;
  readonly #objects;
  readonly #key = { dataKey: randomBytes(32), repositoryId: randomBytes(16) };
  #packs = 0;

  constructor(root: string) {
    this.store = root;
    this.#objects = createFileStore({ root, create: true, durability: options.sync ? 'sync' : 'os' });
  }

  baseLeaf = (): Promise<null> => Promise.resolve(null);
  has = (): boolean => false;
  // eslint-disable-next-line require-yield
  async *adopted(): AsyncGenerator<never> {
    await Promise.resolve();
  }
  beginPack = (subtree: number) => {
    const object = { claim: 1, group: subtree, attempt: 1, index: this.#packs++ };
    return { id: encodePackId(object), name: packName(object), packKey: packKeyOf(this.#key, packName(object)) };
  };
  async putPack(pack: { readonly name: string }, bytes: Uint8Array): Promise<void> {
    await this.#objects.put(pack.name, bytes);
  }
  finishSubtree(outcome: ShippedSubtree) {
    this.shipped.push(outcome);
    return Promise.resolve({
      subtree: outcome.subtree,
      node: null,
      nodeLocation: null,
      part: null,
      changedExtents: 0,
      newExtents: 0,
      sentBytes: 0,
    });
  }
  packOf = (id: Buffer) => ({ name: packNameOf(id), packKey: packKeyOf(this.#key, packNameOf(id)) });
  read = (name: string, range: { readonly offset: number; readonly length: number }) => this.#objects.get(name, { range });
  locate = (): Promise<Location | null> => Promise.resolve(null);
  async *values(): AsyncGenerator<PlacedValue> {
    await Promise.resolve();
    for (const { changes, brought } of this.shipped)
      for (const { extent, fingerprint } of changes)
        yield { extent, fingerprint, location: brought.get(fingerprint.toString('hex')) ?? null };
  }
}

/** Seconds of the clock, and of all threads in user code and in the kernel. */
interface Cost {
  readonly wall: number;
  readonly user: number;
  readonly kernel: number;
}

const timed = async (run: () => Promise<unknown>): Promise<Cost> => {
  const [started, cpu] = [performance.now(), process.cpuUsage()];
  await run();
  const { user, system } = process.cpuUsage(cpu);
  return { wall: (performance.now() - started) / 1000, user: user / 1e6, kernel: system / 1e6 };
};
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;

async function ship(image: string, repositories: readonly BenchRepository[], threads: Threads): Promise<number> {
  await using source = await openFileSource(image);
  const subtrees = Math.ceil(source.sizeBytes / EXTENT / SUBTREE_EXTENTS);
  for (let subtree = 0; subtree < subtrees; subtree++)
    await shipSubtree({
      source,
      extentBytes: EXTENT,
      subtree,
      destinations: repositories.map((destination) => ({ destination, selection: { kind: 'all' } })),
      threads,
    });
  return source.readBytes;
}

async function round(image: string, folder: string, threads: Threads, into: Map<string, Cost[]>): Promise<void> {
  const note = (name: string, cost: Cost): void => {
    into.set(name, [...(into.get(name) ?? []), cost]);
  };
  const fresh = (name: string): string => {
    rmSync(path.join(folder, name), { recursive: true, force: true });
    mkdirSync(path.join(folder, name), { recursive: true });
    return path.join(folder, name);
  };
  if (!options['no-prototype']) note('prototype', await timed(() => runPrototype(image, path.join(folder, 'prototype'), threadCount)));
  const one = new BenchRepository(fresh('one'));
  note('one store', await timed(() => ship(image, [one], threads)));
  const three = ['a', 'b', 'c'].map((name) => new BenchRepository(fresh(name)));
  note('three stores', await timed(() => ship(image, three, threads)));
  const back = path.join(folder, 'back');
  rmSync(back, { force: true });
  const target = await openRestoreTarget(back, { sizeBytes: statSync(image).size, existing: 'refuse' });
  const common = { target, extentBytes: EXTENT, subtree: 0, threads };
  note('restore', await timed(() => restoreSubtree({ ...common, values: one.values(), reader: one, write: 'all' })));
  note('prove by reading again', await timed(() => proveSubtree({ ...common, values: one.values() })));
  note('verify all bytes', await timed(() => verifyValues({ values: one.values(), reader: one, extentBytes: EXTENT, threads })));
  await target[Symbol.asyncDispose]();
  for (const name of ['one', 'a', 'b', 'c', 'back']) rmSync(path.join(folder, name), { recursive: true, force: true });
}

async function main(): Promise<void> {
  mkdirSync(options.folder, { recursive: true });
  const images = [
    ...(options.image === 'rows' ? [] : [ext4Image(options.folder)]),
    ...(options.image === 'ext4' ? [] : [rowsImage(options.folder)]),
  ];
  await using threads = new Threads({ count: threadCount });
  for (const image of images) {
    const results = new Map<string, Cost[]>();
    for (let i = 0; i < Number(options.rounds); i++) await round(image, options.folder, threads, results);
    const of = (name: string, part: keyof Cost): number => median((results.get(name) ?? []).map((cost) => cost[part]));
    console.log(
      `${path.basename(image)}, ${threadCount} threads, ${options.sync ? 'synced' : 'not synced'}; CPU is user and kernel seconds`,
    );
    for (const name of results.keys()) {
      const wall = of(name, 'wall');
      const rate = statSync(image).size / MIB / wall;
      const ratios = `${(wall / of('prototype', 'wall')).toFixed(2)} of prototype  ${(wall / of('one store', 'wall')).toFixed(2)} of one store`;
      const cpu = `CPU ${of(name, 'user').toFixed(2)} + ${of(name, 'kernel').toFixed(2)}`;
      console.log(`  ${name.padEnd(23)} ${wall.toFixed(2).padStart(6)} s ${rate.toFixed(0).padStart(6)} MiB/s  ${ratios}  ${cpu}`);
    }
  }
  // Of this process: the prototype's threads count, too, unless it is left out.
  console.log(`peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
}

await main();
