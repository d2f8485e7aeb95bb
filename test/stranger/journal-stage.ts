/**
 * A journal as the product makes it, in folders: three epochs (pair, zstd; pair, raw; local, with a write-ahead file), each taken over
 * from the one before, two regions, bases in both. And the history of what was written, which knows nothing of the journal's code.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { createJournal, openJournal, type JournalPlaces } from '../../src/engine/journal/creating.ts';
import type { Journal } from '../../src/engine/journal/journal.ts';
import type { Bases } from '../../src/engine/journal/keeping/bases.ts';
import { foldRegion } from '../../src/engine/journal/keeping/fold.ts';
import { createRepositoryBases } from '../../src/engine/journal/keeping/repository-bases.ts';
import { openLocal } from '../../src/engine/journal/owning/own-file.ts';
import { Owner, type JournalOp } from '../../src/engine/journal/owning/owner.ts';
import { readingOf } from '../../src/engine/journal/reading/reading.ts';
import type { Opened } from '../../src/engine/journal/takeover/opened.ts';
import { takeOver } from '../../src/engine/journal/takeover/take-over.ts';
import { ensureRepository } from '../../src/engine/repository/format.ts';
import { createMemoryTable } from '../../src/engine/repository/memory-table.ts';
import { openRepository } from '../../src/engine/repository/repository.ts';
import { createFileStore } from '../../src/ground/stores/file-store.ts';
import type { ObjectStore } from '../../src/ground/stores/object-store.ts';
import { within } from '../../src/ground/stores/within.ts';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { createRandom } from '../simulation/random.ts';
import { environment } from '../systems/protection/protection-world.ts';

export const JOURNAL = 'j';
export const PASSPHRASE = 'Das Tagebuch \u00f6ffnen';
export const REGIONS = ['a', 'b'] as const;
export type RegionName = (typeof REGIONS)[number];
const EXTENT = 16 * 1024;
export const SIZES = [21 * EXTENT, 5 * EXTENT + 512];
const MEMBERS = REGIONS.map((region) => ({ region, domain: `site-${region}` }));
const SCRYPT_N = 2 ** 10;

const storeAt = (folder: string, name: string): ObjectStore =>
  createFileStore({ root: path.join(folder, name), create: true, durability: 'os' });

const placesIn = (folder: string): JournalPlaces => ({
  ...{ name: JOURNAL, passphrase: PASSPHRASE, environment, scryptN: SCRYPT_N, log: storeAt(folder, 'log') },
  regions: MEMBERS.map(({ region, domain }) => ({ name: region, domain, store: storeAt(folder, region) })),
});

/** The product's view of the journal in a folder. */
export const openIn = (folder: string): Promise<Journal> => openJournal(placesIn(folder));

/** The product's bases of the regions. */
export async function basesIn(folder: string, threads: Threads): Promise<ReadonlyMap<RegionName, Bases>> {
  const scratch = path.join(folder, 'scratch');
  mkdirSync(scratch, { recursive: true });
  const volumes = SIZES.map((sizeBytes, volume) => ({ volume, sizeBytes }));
  const bases = new Map<RegionName, Bases>();
  for (const region of REGIONS) {
    const name = `journal.${JOURNAL}`;
    const store = within(storeAt(folder, region), `repositories/${name}/`);
    const { key } = await ensureRepository(store, name, PASSPHRASE, 0, { random: environment.random, scryptN: SCRYPT_N });
    const repository = openRepository({ store, key, table: createMemoryTable(), environment });
    const parts = { journal: JOURNAL, volumes, extentBytes: EXTENT, codec: 'zstd-1' as const, threads, scratch };
    bases.set(region, createRepositoryBases({ region, repository, ...parts }));
  }
  return bases;
}

export class JournalStage {
  readonly folder: string;
  /** Record `i` has number `i + 1`. */
  readonly #history: JournalOp[] = [];
  readonly #threads: Threads;
  readonly #random = createRandom(7);

  constructor(folder: string, threads: Threads) {
    this.folder = folder;
    this.#threads = threads;
  }

  /** What a volume held after a record. */
  contentAt(seq: number, volume: number): Buffer {
    const bytes = Buffer.alloc(SIZES[volume] ?? 0);
    for (const op of this.#history.slice(0, seq)) {
      if (op.kind === 'write' && op.volume === volume) bytes.set(op.data, op.offset);
      if (op.kind === 'zero' && op.volume === volume) bytes.fill(0, op.offset, op.offset + op.length);
    }
    return bytes;
  }

  numbersOf(kind: JournalOp['kind']): number[] {
    return this.#history.flatMap((op, i) => (op.kind === kind ? [i + 1] : []));
  }

  async make(): Promise<void> {
    const journal = await createJournal(placesIn(this.folder));
    const first = await this.#ownPair(journal, 'first', 1);
    await this.#work(first, 5);
    // The newest is not flushed: it survives, or it does not.
    await this.#appended(first, this.#ops(6));
    const second = await this.#ownPair(await openIn(this.folder), 'second', null);
    await first[Symbol.asyncDispose]();
    await this.#work(second, 4);
    await this.#fold('a');
    await this.#work(second, 3);
    await second[Symbol.asyncDispose]();
    await this.#local();
  }

  async #ownPair(journal: Journal, owner: string, level: number | null): Promise<Owner> {
    const opened = await takeOver(journal, { owner, mode: 'pair', members: MEMBERS, tailLost: false });
    this.#goOnAt(opened);
    return new Owner({ journal, opened, writeAhead: null, level, limits: { batchMs: 15 } });
  }

  /** What nobody has of the records before is no part of history. */
  #goOnAt({ start }: Opened): void {
    if (start - 1 > this.#history.length) throw new Error(`epochs join at ${start}, and ${this.#history.length} records were made`);
    this.#history.length = start - 1;
  }

  async #local(): Promise<void> {
    const folder = path.join(this.folder, 'wal');
    mkdirSync(folder);
    const journal = await openIn(this.folder);
    const start = { journal, folder, owner: 'third', members: MEMBERS, from: 'anyone', tailLost: false } as const;
    const { opened, writeAhead } = await openLocal(start);
    this.#goOnAt(opened);
    await using _file = writeAhead;
    await using owner = new Owner({ journal, opened, writeAhead, level: 3, limits: { batchMs: 15 } });
    await this.#work(owner, 4);
    await this.#fold('b');
    await this.#work(owner, 2);
    await this.#appended(owner, [{ kind: 'gap' }]);
    await this.#work(owner, 2);
  }

  /** Flushes after changes by chance; then all of it is in both regions, and said to be. */
  async #work(owner: Owner, flushes: number): Promise<void> {
    for (let i = 0; i < flushes; i++) {
      await this.#appended(owner, this.#ops(this.#random.between(1, 12)));
      this.#history.push({ kind: 'flush' });
      await owner.flush();
      // Some flushes share a batch in mode local, some do not.
      if (this.#random.chance(0.7)) await owner.drain();
    }
    await owner.drain();
  }

  async #appended(owner: Owner, ops: readonly JournalOp[]): Promise<void> {
    this.#history.push(...ops);
    await owner.append(ops);
  }

  #ops(count: number): JournalOp[] {
    return Array.from({ length: count }, () => {
      const volume = this.#random.below(SIZES.length);
      const size = SIZES[volume] ?? 0;
      const offset = this.#random.below(size - 1);
      const length = Math.min(this.#random.pick([16, 600, 5000, 40_000]), size - offset);
      if (this.#random.chance(0.3)) return { kind: 'zero', volume, offset, length };
      const data = this.#random.chance(0.5) ? this.#random.bytes(length) : Buffer.alloc(length, 1 + this.#random.below(255));
      return { kind: 'write', volume, offset, data };
    });
  }

  async #fold(region: RegionName): Promise<void> {
    const bases = (await basesIn(this.folder, this.#threads)).get(region);
    if (bases === undefined) throw new Error(`no bases in ${region}`);
    const told = await foldRegion(readingOf(await openIn(this.folder)), bases);
    if (told.kind !== 'folded') throw new Error(`${region} was not folded: ${JSON.stringify(told)}`);
  }
}
