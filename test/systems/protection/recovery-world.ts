/**
 * A journal of two small disks in two regions, with bases in real repositories, all in memory but for what is recovered; and what the disks held
 * at each point. Writes overlap, follow each other, cover extents in part and whole, and trims do.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import type { Bases } from '../../../src/engine/journal/keeping/bases.ts';
import { foldRegion } from '../../../src/engine/journal/keeping/fold.ts';
import { createRepositoryBases } from '../../../src/engine/journal/keeping/repository-bases.ts';
import type { Reading } from '../../../src/engine/journal/reading/reading.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import type { Point } from '../../../src/engine/journal/recovery/plan.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { recoverTo, type Recovered, type RecoverOptions } from '../../../src/systems/protection/recover.ts';
import { SmallJournal } from '../../engine/journal/reading/small-journal.ts';
import { createMemoryStore, type MemoryStore } from '../../engine/memory-store.ts';
import { open } from '../../engine/repository/world.ts';
import { createRandom, type Random } from '../../simulation/random.ts';

export const EXTENT = 16 * 1024;
export const SIZES = [21 * EXTENT, 5 * EXTENT + 512];
export const REGIONS = ['a', 'b'] as const;
const BLOCK = 1024;

export interface Moment {
  readonly point: Point;
  readonly content: readonly Buffer[];
}

interface RecoveryWorldOptions {
  readonly seed: number;
  readonly folder: string;
  readonly threads: Threads;
  /** How a recovery sees the store of a region's batches, and that of its bases. */
  readonly wrap?: (region: string, store: ObjectStore, of: 'batches' | 'bases') => ObjectStore;
}

export class RecoveryWorld {
  readonly random: Random;
  readonly small: SmallJournal;
  readonly bases: ReadonlyMap<string, Bases>;
  readonly repositories: ReadonlyMap<string, { readonly store: MemoryStore; readonly repository: Repository }>;
  readonly moments: Moment[] = [];
  readonly #options: RecoveryWorldOptions;
  readonly #live = SIZES.map((size) => Buffer.alloc(size));
  #epoch = 0;
  #next = 1;
  #runs = 0;

  constructor(options: RecoveryWorldOptions) {
    const { seed, threads, folder, wrap = (_, store) => store } = options;
    this.#options = options;
    this.random = createRandom(seed);
    this.small = new SmallJournal(REGIONS, (region, store) => wrap(region, store, 'batches'));
    this.repositories = new Map(
      REGIONS.map((region) => {
        const store = createMemoryStore();
        return [region, { store, repository: open(wrap(region, store, 'bases')).repository }];
      }),
    );
    const volumes = SIZES.map((sizeBytes, volume) => ({ volume, sizeBytes }));
    const parts = { journal: 'j', volumes, extentBytes: EXTENT, codec: 'zstd-1' as const, threads, scratch: folder };
    this.bases = new Map(
      [...this.repositories].map(([region, { repository }]) => [region, createRepositoryBases({ region, repository, ...parts })]),
    );
  }

  async open(): Promise<void> {
    this.#epoch = await this.small.open('pair', REGIONS);
  }

  /** A batch of changes by chance that ends with a flush, in all regions but those that miss it; acknowledged by the next one. */
  async write(changes = this.random.between(1, 40), missedBy: readonly string[] = []): Promise<Moment> {
    const records: JournalRecord[] = [];
    const first = this.#next;
    while (records.length < changes) records.push(...this.#change());
    records.push({ kind: 'flush', seq: this.#next++ });
    const level = this.random.chance(0.5) ? {} : { level: 1 };
    await this.small.put({ records, in: REGIONS.filter((region) => !missedBy.includes(region)), acknowledged: first - 1, ...level });
    const moment = { point: { epoch: this.#epoch, seq: this.#next - 1 }, content: this.#live.map((volume) => Buffer.from(volume)) };
    this.moments.push(moment);
    return moment;
  }

  /** Says that all so far was acknowledged. */
  async acknowledge(): Promise<void> {
    await this.small.put({ records: [], in: REGIONS, acknowledged: this.#next - 1 });
  }

  #change(): JournalRecord[] {
    const { random } = this;
    const volume = random.below(SIZES.length);
    const size = SIZES[volume]!;
    const whole = random.chance(0.2);
    const offset = whole ? random.below(Math.floor(size / EXTENT)) * EXTENT : random.below(size - 1);
    const most = whole ? EXTENT * random.between(1, 4) : random.pick([16, 600, 5000]);
    const length = Math.min(most, size - offset);
    if (random.chance(0.3)) return [this.#apply({ kind: 'zero', seq: this.#next, volume, offset, length })];
    // What one write would be comes in blocks now and then, in any order, so that stretches of several places follow each other.
    const step = random.chance(0.5) ? BLOCK : length;
    const places = Array.from({ length: Math.ceil(length / step) }, (_, i) => offset + i * step).sort(() => random.next() - 0.5);
    return places.map((at) => {
      const bytes = Math.min(step, offset + length - at);
      const data = random.chance(0.5) ? random.bytes(bytes) : Buffer.alloc(bytes, random.below(256));
      return this.#apply({ kind: 'write', seq: this.#next, volume, offset: at, data });
    });
  }

  #apply(record: JournalRecord & { readonly kind: 'write' | 'zero' }): JournalRecord {
    this.#next++;
    const live = this.#live[record.volume]!;
    if (record.kind === 'write') live.set(record.data, record.offset);
    else live.fill(0, record.offset, record.offset + record.length);
    return record;
  }

  /** Makes a base of what a region has. */
  async fold(region: (typeof REGIONS)[number], by?: number): Promise<void> {
    const told = await foldRegion(this.reading(), this.bases.get(region)!, by === undefined ? {} : { by });
    if (told.kind === 'refused') throw new Error(told.why);
  }

  reading(some: Partial<Reading> = {}): Reading {
    return this.small.reading(some);
  }

  /** The paths of the next recovery. */
  paths(): readonly string[] {
    this.#runs++;
    return SIZES.map((_, volume) => path.join(this.#options.folder, `${this.#options.seed}-${this.#runs}-${volume}.img`));
  }

  async recover(
    point: Point,
    some: Partial<RecoverOptions> & { readonly prefer?: readonly string[] } = {},
    paths = this.paths(),
  ): Promise<Recovered> {
    const { prefer = [], ...options } = some;
    return recoverTo({
      ...{
        reading: this.reading({ prefer }),
        bases: this.bases,
        point,
        pin: `r${this.#runs}`,
        pinMs: 60_000,
        threads: this.#options.threads,
      },
      targets: new Map(paths.map((file, volume) => [volume, { path: file, sizeBytes: SIZES[volume]! }])),
      ...options,
    });
  }
}

/** Where files first differ from what they should hold; null: nowhere. */
export function firstDifference(paths: readonly string[], content: readonly Buffer[]): string | null {
  for (const [volume, file] of paths.entries()) {
    const [is, should] = [readFileSync(file), content[volume]!];
    if (is.equals(should)) continue;
    const at = is.findIndex((byte, i) => byte !== should[i]);
    return `volume ${volume} has ${is.length} bytes of ${should.length}, and differs at ${at}`;
  }
  return null;
}

type NewWorld = (of: Pick<RecoveryWorldOptions, 'seed' | 'wrap'>) => RecoveryWorld;

/** Worlds of one suite, whose folder and threads go with it. */
export function recoveryWorlds({ threads: count }: { readonly threads: number }): NewWorld {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-recover-'));
  let threads: Threads;
  beforeAll(() => {
    threads = new Threads({ count });
  });
  afterAll(async () => {
    await threads[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  return (of) => new RecoveryWorld({ ...of, folder, threads });
}

/** One bit of an object, in the byte that lies so far from its end. */
export function flip(store: MemoryStore, name: string, fromEnd: number): void {
  const stored = Buffer.from(store.objects.get(name)!);
  stored[stored.length - fromEnd] = stored[stored.length - fromEnd]! ^ 1;
  store.objects.set(name, stored);
}
