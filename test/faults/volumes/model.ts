/**
 * What a disk may hold: of each sector what was acknowledged last, and the changes under way.
 *
 * Changes of one sector come one after another, so they have an order, and each has a beginning and an end on the clock of the
 * run. A reading of the disk between two moments may give of a sector whatever was its value at some moment between them; a
 * frozen view must be of one moment of all sectors, of several disks if they were frozen together: no earlier than any change that
 * is in it began, no later than any change that is not in it was acknowledged.
 *
 * When the server is killed, a change that was not answered is there or not, sector by sector; all that was answered is. Of a disk that
 * is still restored from a snapshot, an extent whose mark no flush made durable may be wholly the snapshot's again (docs/hydration.md).
 * What is in doubt is settled by reading it, before it is changed again.
 */
import { NO_VALUE } from './stamp.ts';
import { Violation } from './violation.ts';

/** Moments of a run, by their order; also the serials of changes. */
export class Clock {
  #now = 1;

  tick(): number {
    return ++this.#now;
  }
}

export interface Change {
  readonly serial: number;
  /** What it puts into each of its sectors: its serial, or 0 for zeros. */
  readonly value: number;
  readonly from: number;
  readonly to: number;
  /** When it was acknowledged; Infinity: not yet, or never. */
  ended: number;
}

/** Of sectors [from, to): what they held at its beginning, and what happened until its end. */
export interface Observation {
  readonly disk: string;
  readonly from: number;
  readonly to: number;
  readonly begun: number;
  readonly values: Uint32Array;
  readonly changes: Change[];
  /** Nothing is known of these: they were in doubt. */
  readonly inDoubt: ReadonlySet<number>;
  ended: number;
  /** The server was killed meanwhile. */
  spoiled: boolean;
}

/** Moments at which all that was found may have been there. */
export interface Interval {
  readonly from: number;
  readonly fromWhy: string;
  readonly to: number;
  readonly toWhy: string;
}

export type ReadSectors = (from: number, to: number) => Promise<Uint32Array>;

interface Hydration {
  readonly base: Uint32Array;
  readonly extentSectors: number;
  /** Extents whose mark is durable: what is written to them stays. */
  readonly durable: Uint8Array;
  /** Others that were written to, and when that was first acknowledged. */
  readonly owing: Map<number, number>;
}

export class DiskModel {
  readonly name: string;
  readonly number: number;
  readonly sectors: number;
  readonly #clock: Clock;
  readonly #values: Uint32Array;
  readonly #changing: Uint8Array;
  readonly #pending = new Set<Change>();
  readonly #open = new Set<Observation>();
  /** Sectors in doubt, with what they may hold. */
  readonly #doubts = new Map<number, number[]>();
  /** Extents that may be the snapshot's again. */
  readonly #doubtful = new Set<number>();
  #hydration: Hydration | null = null;

  constructor(of: { readonly name: string; readonly number: number; readonly sectors: number; readonly clock: Clock }) {
    this.name = of.name;
    this.number = of.number;
    this.sectors = of.sectors;
    this.#clock = of.clock;
    this.#values = new Uint32Array(of.sectors);
    this.#changing = new Uint8Array(of.sectors);
  }

  /** It begins as this content, which comes behind it. */
  restoredFrom(base: Uint32Array, extentSectors: number): void {
    this.#values.set(base);
    const extents = Math.ceil(this.sectors / extentSectors);
    this.#hydration = { base, extentSectors, durable: new Uint8Array(extents), owing: new Map() };
  }

  standsAlone(): void {
    this.#hydration = null;
  }

  get isSettled(): boolean {
    return this.#doubts.size === 0 && this.#doubtful.size === 0;
  }

  /** Null: some of these sectors are being changed, or in doubt. */
  begin(from: number, to: number, kind: 'write' | 'zero'): Change | null {
    for (let sector = from; sector < to; sector++) if (this.#changing[sector] !== 0) return null;
    const serial = this.#clock.tick();
    const change: Change = { serial, value: kind === 'zero' ? 0 : serial, from, to, ended: Infinity };
    this.#changing.fill(1, from, to);
    this.#pending.add(change);
    for (const one of this.#open) if (one.from < to && from < one.to) one.changes.push(change);
    return change;
  }

  acknowledge(change: Change): void {
    change.ended = this.#clock.tick();
    this.#pending.delete(change);
    this.#changing.fill(0, change.from, change.to);
    this.#values.fill(change.value, change.from, change.to);
    for (const extent of this.#extentsOf(change)) {
      const { durable, owing } = this.#hydration ?? {};
      if (durable?.[extent] === 0 && owing?.has(extent) === false) owing.set(extent, change.ended);
    }
  }

  *#extentsOf({ from, to }: Change): Generator<number> {
    if (this.#hydration === null) return;
    const { extentSectors } = this.#hydration;
    for (let extent = Math.floor(from / extentSectors); extent * extentSectors < to; extent++) yield extent;
  }

  /** A flush that began then was answered, or a change that was to be durable with its answer. */
  flushed(begun: number): void {
    for (const [extent, since] of this.#hydration?.owing ?? []) if (since <= begun) this.#markDurable(extent);
  }

  acknowledgeDurably(change: Change): void {
    this.acknowledge(change);
    this.flushed(change.serial);
    for (const extent of this.#extentsOf(change)) this.#markDurable(extent);
  }

  #markDurable(extent: number): void {
    if (this.#hydration === null) return;
    this.#hydration.durable[extent] = 1;
    this.#hydration.owing.delete(extent);
  }

  /** An error was its answer: it may have been made in part. */
  failed(change: Change): void {
    this.#pending.delete(change);
    this.#doubt(change);
  }

  #doubt({ from, to, value }: Change): void {
    for (let sector = from; sector < to; sector++) {
      const may = this.#doubts.get(sector) ?? [this.#values[sector] ?? 0];
      this.#doubts.set(sector, [...new Set([...may, value])]);
    }
  }

  /** The server is gone, and no answer comes any more. */
  serverEnded(how: 'stopped' | 'killed'): void {
    for (const one of this.#open) one.spoiled = true;
    for (const change of this.#pending) this.#doubt(change);
    this.#pending.clear();
    const { owing, durable, extentSectors } = this.#hydration ?? {
      owing: new Map<number, number>(),
      durable: new Uint8Array(0),
      extentSectors: 1,
    };
    for (const extent of owing.keys())
      if (how === 'stopped') durable[extent] = 1;
      else {
        this.#doubtful.add(extent);
        this.#changing.fill(1, extent * extentSectors, Math.min(this.sectors, (extent + 1) * extentSectors));
      }
    owing.clear();
  }

  /** Reads what is in doubt. Throws a Violation where it is what it cannot be. */
  async settle(read: ReadSectors): Promise<void> {
    for (const extent of [...this.#doubtful]) await this.#settleExtent(extent, read);
    for (const [from, to] of runsOf([...this.#doubts.keys()])) {
      const found = await read(from, to);
      for (let sector = from; sector < to; sector++) {
        const value = found[sector - from] ?? NO_VALUE;
        const may = this.#doubts.get(sector) ?? [];
        if (!may.includes(value)) throw this.#wrong(sector, value, `${may.join(' or ')}, after the server had gone during a change`);
        this.#settleSector(sector, value);
      }
    }
  }

  #settleSector(sector: number, value: number): void {
    this.#values[sector] = value;
    this.#doubts.delete(sector);
    this.#changing[sector] = 0;
  }

  async #settleExtent(extent: number, read: ReadSectors): Promise<void> {
    if (this.#hydration === null) throw new Violation(`${this.name} stands alone with extents in doubt`);
    const { base, extentSectors } = this.#hydration;
    const from = extent * extentSectors;
    const to = Math.min(this.sectors, from + extentSectors);
    const found = await read(from, to);
    const places = [...found.keys()];
    const stayed = places.find((i) => !this.#mayStay(from + i).includes(found[i] ?? NO_VALUE));
    const isBase = places.find((i) => found[i] !== base[from + i]);
    if (stayed !== undefined && isBase !== undefined)
      throw this.#wrong(
        from + stayed,
        found[stayed] ?? NO_VALUE,
        `${this.#mayStay(from + stayed).join(' or ')}, or else extent ${extent} all as in its snapshot (it is not at sector ${from + isBase})`,
      );
    // Where both would be the same, which it is is not known.
    if (isBase !== undefined) this.#markDurable(extent);
    for (const i of places) this.#settleSector(from + i, found[i] ?? NO_VALUE);
    this.#doubtful.delete(extent);
  }

  #mayStay(sector: number): readonly number[] {
    return this.#doubts.get(sector) ?? [this.#values[sector] ?? 0];
  }

  #wrong(sector: number, found: number, allowed: string): Violation {
    return new Violation(`disk ${this.name}, sector ${sector}: found ${nameOf(found)}, allowed ${allowed}`);
  }

  observe(from = 0, to = this.sectors): Observation {
    const inDoubt = new Set<number>();
    for (const extent of this.#doubtful) {
      const { extentSectors = 1 } = this.#hydration ?? {};
      for (let sector = extent * extentSectors; sector < (extent + 1) * extentSectors; sector++) inDoubt.add(sector);
    }
    for (const sector of this.#doubts.keys()) inDoubt.add(sector);
    const observation: Observation = {
      ...{ disk: this.name, from, to, begun: this.#clock.tick(), values: this.#values.slice(from, to), inDoubt },
      ...{ changes: [...this.#pending].filter((one) => one.from < to && from < one.to), ended: Infinity, spoiled: false },
    };
    this.#open.add(observation);
    return observation;
  }

  close(observation: Observation): void {
    observation.ended = this.#clock.tick();
    this.#open.delete(observation);
  }

  /** For who compares a disk that nobody changes. */
  get values(): Readonly<Uint32Array> {
    return this.#values;
  }
}

const nameOf = (value: number): string =>
  value === NO_VALUE ? 'what is no whole value of this sector' : value === 0 ? 'zeros' : `change ${value}`;

function* runsOf(sectors: readonly number[]): Generator<readonly [from: number, to: number]> {
  const sorted = sectors.toSorted((a, b) => a - b);
  for (let i = 0; i < sorted.length;) {
    let count = 1;
    while (sorted[i + count] === (sorted[i] ?? 0) + count && count < 4096) count++;
    yield [sorted[i] ?? 0, (sorted[i] ?? 0) + count];
    i += count;
  }
}

/**
 * Holds what was found against an observation that has ended. Throws a Violation; else answers when all of it may have been there.
 * `live`: who reads a sector while it is changed may get some of either, as from any disk; a moment that is frozen has whole ones.
 */
export function judge(observation: Observation, found: Uint32Array, what: string, of: 'live' | 'frozen'): Interval {
  const { disk, from, values, inDoubt, begun, ended } = observation;
  const bySector = new Map<number, Change[]>();
  for (const change of observation.changes.toSorted((a, b) => a.serial - b.serial))
    for (let sector = Math.max(from, change.from); sector < Math.min(observation.to, change.to); sector++)
      bySector.set(sector, [...(bySector.get(sector) ?? []), change]);
  let interval: Interval = { from: begun, fromWhy: 'it was asked for', to: ended, toWhy: 'it was answered' };
  if (found.length !== values.length) throw new Violation(`${what}: ${found.length} sectors, expected ${values.length}`);
  for (let i = 0; i < found.length; i++) {
    const sector = from + i;
    const changes = bySector.get(sector);
    const value = found[i] ?? NO_VALUE;
    if ((changes === undefined && value === values[i]) || inDoubt.has(sector)) continue;
    if (of === 'live' && value === NO_VALUE && changes !== undefined) continue;
    const span = spanOf(value, values[i] ?? 0, changes ?? [], begun, ended);
    if (span === null) {
      const history = (changes ?? []).map(
        (one) => `${nameOf(one.value)} (change ${one.serial}, begun ${one.serial}, answered ${one.ended})`,
      );
      throw new Violation(
        `${what}: disk ${disk}, sector ${sector}: found ${nameOf(value)}, allowed what it was at some moment from ${begun} to ${ended}: ` +
          [`${nameOf(values[i] ?? 0)} at first`, ...history].join(', then '),
      );
    }
    if (span[0] > interval.from)
      interval = { ...interval, from: span[0], fromWhy: `sector ${sector} of ${disk} holds ${nameOf(value)}, begun then` };
    if (span[1] < interval.to)
      interval = {
        ...interval,
        to: span[1],
        toWhy: `sector ${sector} of ${disk} holds ${nameOf(value)}, which had been overwritten by then`,
      };
  }
  return interval;
}

/** Moments within [begun, ended] at which a sector may have had a value, the first and the last of them; null: none. */
function spanOf(value: number, first: number, changes: readonly Change[], begun: number, ended: number): readonly [number, number] | null {
  let span: readonly [number, number] | null = null;
  const states = [{ value: first, serial: begun }, ...changes];
  for (const [i, state] of states.entries()) {
    if (state.value !== value) continue;
    const from = Math.max(begun, state.serial);
    const to = Math.min(ended, ...changes.slice(i).map((later) => later.ended));
    if (from <= to) span = span === null ? [from, to] : [Math.min(span[0], from), Math.max(span[1], to)];
  }
  return span;
}

/** A frozen moment is one: there is a time at which all of it, of all its disks, may have been there. */
export function demandOneMoment(intervals: readonly Interval[], what: string): void {
  const latest = intervals.reduce((a, b) => (b.from > a.from ? b : a));
  const earliest = intervals.reduce((a, b) => (b.to < a.to ? b : a));
  if (latest.from > earliest.to)
    throw new Violation(
      `${what} is of no one moment: not before ${latest.from} (${latest.fromWhy}), and not after ${earliest.to} (${earliest.toWhy})`,
    );
}
