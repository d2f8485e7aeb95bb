/**
 * Changed-extent tracking of one served volume: which extents changed since which snapshot (docs/tracking.md).
 *
 * T1: never less than what changed, whatever crashed. A write goes to the volume only after `touch` has said so, and that is
 * after the regions it touches are in the tracking file, synced, under a header that names their generation.
 * T2: exact after a clean stop. T3: at most one sync more for a region's first touch in a generation.
 */
import { ExtentSet } from './extent-set.ts';
import type { RandomFile } from './random-file.ts';
import {
  extentsOf,
  GENERATIONS_MAX,
  REGION_EXTENTS,
  regionsOf,
  TrackingFile,
  type GenerationHeader,
  type Header,
  type TrackedVolume,
} from './tracking-file.ts';

/** Memory for the extents of all generations. */
const MEMORY_BYTES = 64 * 1024 * 1024;

export interface Tracker {
  /**
   * Asks to write extents [from, to). Null: write now, in this turn of the event loop; it is noted. A promise: ask again when
   * it resolves. So a write and a freeze have an order, and the note is of the right generation.
   */
  touch(from: number, to: number): Promise<void> | null;
  /** Ends the generation, at once; what is touched from now on changed since `snapshot`. Resolves when that is durable. */
  freeze(snapshot: string): Promise<void>;
  /** What changed since the freeze of a snapshot, until that of a later one or (null) until now; null: not known. */
  changedSince(snapshot: string, until: string | null): ExtentSet | null;
  /** Snapshots that it can answer for, by their first freeze, oldest first. */
  snapshots(): readonly string[];
  /** A clean stop. The volume has been synced, nothing is touched any more; `stamp` says what its file looks like. */
  stop(stamp: string | null): Promise<void>;
}

interface Generation {
  readonly number: number;
  readonly slot: number;
  readonly since: string | null;
  readonly extents: ExtentSet;
  readonly regions: ExtentSet;
}

const generationsMaxOf = (volume: TrackedVolume): number =>
  Math.max(2, Math.min(GENERATIONS_MAX, Math.floor((MEMORY_BYTES * 8) / extentsOf(volume))));

export interface TrackerOptions {
  readonly generationsMax?: number;
  /** The snapshot that a volume is, which begins with this tracker. */
  readonly madeOf?: string | null;
}

/** `stamp`: what the volume's file looks like now. */
export async function openTracker(
  raw: RandomFile,
  volume: TrackedVolume,
  stamp: string | null,
  { generationsMax = generationsMaxOf(volume), madeOf = null }: TrackerOptions = {},
): Promise<Tracker> {
  const file = new TrackingFile(raw, volume);
  const header = await file.readHeader();
  const known = header !== null && !(header.clean && header.stamp !== stamp) ? header : null;
  const generations = known === null ? [newGeneration(volume, { number: 1 + newestNumber(header), slot: 0, since: madeOf })] : [];
  for (const one of known?.generations ?? []) generations.push(await readGeneration(file, volume, one, known?.clean === true));
  const tracker = new FileTracker(file, volume, generations, { sequence: header?.sequence ?? 0, generationsMax });
  await tracker.begin();
  return tracker;
}

const newestNumber = (header: Header | null): number => Math.max(0, ...(header?.generations ?? []).map(({ number }) => number));

const newGeneration = (volume: TrackedVolume, of: Pick<Generation, 'number' | 'slot' | 'since'>): Generation => ({
  ...of,
  extents: new ExtentSet(extentsOf(volume)),
  regions: new ExtentSet(regionsOf(volume)),
});

async function readGeneration(file: TrackingFile, volume: TrackedVolume, of: GenerationHeader, clean: boolean): Promise<Generation> {
  const regions = await file.readRegions(of);
  const image = clean ? await file.readImage(of) : null;
  const { number, slot, since } = of;
  if (image !== null) return { number, slot, since, regions, extents: image };
  const extents = new ExtentSet(extentsOf(volume));
  for (const [from, to] of regions.runs()) extents.addRange(from * REGION_EXTENTS, Math.min(to * REGION_EXTENTS, extents.count));
  return { number, slot, since, regions, extents };
}

const headerOf = ({ number, slot, since }: Generation, image: number | null = null): GenerationHeader => ({ number, slot, since, image });

class FileTracker implements Tracker {
  readonly #file: TrackingFile;
  readonly #volume: TrackedVolume;
  readonly #generations: Generation[];
  readonly #generationsMax: number;
  #sequence: number;
  /** Regions of the newest generation whose bits are durable, under a header that names it. */
  #durable: ExtentSet;
  /** Regions of the newest generation whose bits wait to be written. */
  readonly #pending = new Set<number>();
  #freezes = 0;
  #freezesDurable = 0;
  #running: Promise<void> | null = null;
  /** What is in the file is not known any more: no region is touched for the first time after that. */
  #failure: Error | null = null;

  constructor(
    file: TrackingFile,
    volume: TrackedVolume,
    generations: Generation[],
    of: { readonly sequence: number; readonly generationsMax: number },
  ) {
    this.#file = file;
    this.#volume = volume;
    this.#generations = generations;
    this.#sequence = of.sequence;
    this.#generationsMax = of.generationsMax;
    this.#durable = new ExtentSet(regionsOf(volume));
  }

  /** Makes durable what serving begins with: not clean, and the newest generation's sectors whole. */
  async begin(): Promise<void> {
    await this.#writeHeader({ clean: false, stamp: null, generations: this.#generations.map((one) => headerOf(one)) });
    const newest = this.#newest();
    await this.#file.writeRegions(headerOf(newest), newest.regions, [...Array(newest.regions.count).keys()]);
    await this.#file.sync();
    this.#durable.addAll(newest.regions);
  }

  touch(from: number, to: number): Promise<void> | null {
    const newest = this.#newest();
    for (let region = Math.floor(from / REGION_EXTENTS); region * REGION_EXTENTS < to; region++) {
      if (this.#durable.has(region)) continue;
      newest.regions.add(region);
      this.#pending.add(region);
    }
    if (this.#pending.size > 0 && !this.#isDurable(from, to)) return this.#next();
    newest.extents.addRange(from, to);
    return null;
  }

  #isDurable(from: number, to: number): boolean {
    return this.#durable.hasRange(Math.floor(from / REGION_EXTENTS), Math.ceil(to / REGION_EXTENTS));
  }

  async freeze(snapshot: string): Promise<void> {
    // The oldest snapshot is answered for no more. Its slot is written again only under a header that does not name it.
    if (this.#generations.length >= this.#generationsMax) this.#generations.shift();
    const used = new Set(this.#generations.map(({ slot }) => slot));
    const slot = [...Array(GENERATIONS_MAX).keys()].find((one) => !used.has(one));
    if (slot === undefined) throw new Error('there are fewer generations than slots');
    this.#generations.push(newGeneration(this.#volume, { number: this.#newest().number + 1, slot, since: snapshot }));
    this.#durable = new ExtentSet(regionsOf(this.#volume));
    this.#pending.clear();
    const wanted = ++this.#freezes;
    while (this.#freezesDurable < wanted) await this.#next();
  }

  changedSince(snapshot: string, until: string | null): ExtentSet | null {
    // A capture that was tried again has frozen its snapshot twice: never less than what changed means since the first, until the last.
    const from = this.#generations.findIndex(({ since }) => since === snapshot);
    const to = until === null ? this.#generations.length : this.#generations.findLastIndex(({ since }) => since === until);
    if (from < 0 || to < 0) return null;
    const union = new ExtentSet(extentsOf(this.#volume));
    for (const { extents } of this.#generations.slice(from, to)) union.addAll(extents);
    return union;
  }

  snapshots(): readonly string[] {
    return [...new Set(this.#generations.flatMap(({ since }) => since ?? []))];
  }

  async stop(stamp: string | null): Promise<void> {
    while (this.#pending.size > 0 || this.#freezesDurable < this.#freezes || this.#running !== null) await this.#next();
    const generations: GenerationHeader[] = [];
    for (const one of this.#generations) generations.push(headerOf(one, await this.#file.writeImage(one.slot, one.extents)));
    await this.#file.sync();
    await this.#writeHeader({ clean: true, stamp, generations });
  }

  #newest(): Generation {
    const newest = this.#generations.at(-1);
    if (newest === undefined) throw new Error('a tracker has a generation');
    return newest;
  }

  /** Resolves after one more step of the writer has ended. */
  #next(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    this.#running ??= this.#step()
      .catch((error: unknown) => {
        this.#failure = new Error('the tracking file cannot be written', { cause: error });
        throw this.#failure;
      })
      .finally(() => (this.#running = null));
    return this.#running;
  }

  /** One thing that is due, made durable: the header of a freeze, or bits. Never both: bits follow their header. */
  async #step(): Promise<void> {
    // What comes in this turn goes with it.
    await Promise.resolve();
    if (this.#freezesDurable < this.#freezes) return this.#writeFreeze();
    const newest = this.#newest();
    const bits = [...this.#pending];
    if (bits.length === 0) return;
    this.#pending.clear();
    const durable = this.#durable;
    await this.#file.writeRegions(headerOf(newest), newest.regions, bits);
    await this.#file.sync();
    // After a freeze meanwhile this is the set of a generation that has ended, and nobody reads it.
    for (const region of bits) durable.add(region);
  }

  /** As of its beginning: what a freeze does meanwhile is the next step's. */
  async #writeFreeze(): Promise<void> {
    const freezes = this.#freezes;
    const generations = this.#generations.map((one) => headerOf(one));
    await this.#writeHeader({ clean: false, stamp: null, generations });
    this.#freezesDurable = freezes;
  }

  #writeHeader(of: Pick<Header, 'clean' | 'stamp' | 'generations'>): Promise<void> {
    const { volume, sizeBytes, extentBytes } = this.#volume;
    return this.#file.writeHeader({ format: 1, volume, sizeBytes, extentBytes, sequence: ++this.#sequence, ...of });
  }
}
