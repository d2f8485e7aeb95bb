/**
 * Owners that append, flush, lose members and are taken over, in any order, over stores that lose answers, refuse, and let puts land
 * late; old owners stay and go on believing. Whatever a flush has promised is what readers find, in both members or below the end.
 *
 * The seed decides what is done; how calls interleave is the machine's. HOLDFAST_SEED=n runs one.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { Owner } from '../../../../src/engine/journal/owning/owner.ts';
import { takeOver } from '../../../../src/engine/journal/takeover/take-over.ts';
import { seededFaults, seededRandom, withFaults } from '../../../../src/ground/stores/faulty.ts';
import { brokenPromises, readAll } from './reader.ts';
import { createWorld, MEMBERS, write, type Name, type World } from './world.ts';

const SEEDS =
  process.env['HOLDFAST_SEED'] === undefined ? Array.from({ length: 25 }, (_, i) => i + 1) : [Number(process.env['HOLDFAST_SEED'])];
const STEPS = 60;
const REGIONS: readonly Name[] = ['a', 'b', 'c', 'd'];

interface Writer {
  readonly owner: Owner;
  /** What it gave numbers to. */
  readonly wrote: Map<number, string>;
}

class Run {
  readonly told = new Map<number, string>();
  readonly counts = { flushed: 0, refused: 0, overtaken: 0, replaced: 0 };
  readonly #world: World;
  readonly #random: () => number;
  readonly #writers: Writer[] = [];
  readonly #pending = new Set<Promise<void>>();
  #serial = 0;

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#random = seededRandom(seed);
  }

  async step(): Promise<void> {
    const dice = this.#random();
    const writer = this.#pick(this.#writers.slice(this.#random() < 0.8 ? -1 : 0));
    if (writer === undefined) await this.#takeOver();
    else if (dice < 0.07) this.#track(this.#takeOver());
    else if (dice < 0.4) this.#append(writer);
    else if (dice < 0.65) this.#track(this.#flush(writer));
    else if (dice < 0.7) this.#toggle();
    else if (dice < 0.73) this.#track(this.#change(writer));
    else if (dice < 0.74) this.#track(writer.owner[Symbol.asyncDispose]());
    else await wait(Math.floor(this.#random() * 20));
  }

  /** Everything answers again; one more takes over, writes, and has its word kept. */
  async end(): Promise<void> {
    this.#world.away.clear();
    for (const last of [false, true]) {
      await this.#takeOver(last ? 20 : 1);
      const writer = this.#writers.at(-1);
      if (writer === undefined) continue;
      this.#append(writer);
      await this.#flush(writer);
    }
    for (const { owner } of this.#writers.slice(0, -1)) await owner[Symbol.asyncDispose]();
    await Promise.all(this.#pending);
  }

  async close(): Promise<void> {
    for (const { owner } of this.#writers) await owner[Symbol.asyncDispose]();
  }

  async #takeOver(tries = 1): Promise<void> {
    const seed = Math.floor(this.#random() * 1e9);
    const chances = { 'lost-answer': 0.06, late: 0.03, unavailable: 0.05, delay: 0.15 };
    const journal = await this.#world
      .open((store, of) => withFaults(store, seededFaults({ seed: seed + of.charCodeAt(0), chances, delayMsMax: 6 })), {
        sleep: (ms) => wait(Math.min(ms, 3)),
      })
      .catch(refusedOnly);
    if (journal === null) return tries > 1 ? await this.#takeOver(tries - 1) : undefined;
    const members = this.#shuffled(MEMBERS);
    const opened = await takeOver(journal, { owner: `w${++this.#serial}`, mode: 'pair', members, tailLost: false }).catch(refusedOnly);
    if (opened === null) return tries > 1 ? await this.#takeOver(tries - 1) : undefined;
    this.counts.overtaken++;
    const limits = { batchMs: 4, memberAttemptsMax: this.#random() < 0.5 ? 2 : 6, memberMsMax: 40 };
    const spares = this.#random() < 0.7 ? this.#shuffled(MEMBERS) : [];
    this.#writers.push({ owner: new Owner({ journal, opened, writeAhead: null, limits, spares }), wrote: new Map() });
  }

  #append({ owner, wrote }: Writer): void {
    if (owner.status().state === 'ended') return;
    const count = 1 + Math.floor(this.#random() * 3);
    const data = Array.from({ length: count }, () => `${++this.#serial}`);
    for (const [i, text] of data.entries()) wrote.set(owner.next + i, `write 0 0 ${text}`);
    this.#track(owner.append(data.map((text) => write(text))).then(() => undefined, fencedOnly));
  }

  async #flush({ owner, wrote }: Writer): Promise<void> {
    if (owner.status().state === 'ended') return;
    wrote.set(owner.next, 'flush');
    const epoch = owner.epoch;
    try {
      const through = await owner.flush();
      this.counts.flushed++;
      if (owner.epoch !== epoch) this.counts.replaced++;
      for (const [seq, content] of wrote) {
        if (seq > through) continue;
        const before = this.told.get(seq);
        if (before !== undefined && before !== content) throw new Error(`${seq} was promised as ${before}, and as ${content}`);
        this.told.set(seq, content);
      }
    } catch (error) {
      fencedOnly(error);
      this.counts.refused++;
    }
  }

  #toggle(): void {
    const name = this.#random() < 0.15 ? 'log' : (this.#pick(REGIONS) ?? 'a');
    if (!this.#world.away.delete(name) && this.#world.away.size < 2) this.#world.away.add(name);
  }

  async #change({ owner }: Writer): Promise<void> {
    await owner.changeMembers(this.#shuffled(MEMBERS).slice(0, 2)).then(() => undefined, fencedOnly);
  }

  #track(work: Promise<unknown>): void {
    const tracked = work.then(() => undefined);
    this.#pending.add(tracked);
    // What fails is told at the end.
    tracked.then(
      () => this.#pending.delete(tracked),
      () => undefined,
    );
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#random() * from.length)];
  }

  #shuffled<T>(from: readonly T[]): T[] {
    return from
      .map((one) => ({ one, at: this.#random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ one }) => one);
  }
}

function fencedOnly(error: unknown): void {
  if (!isHoldfastError(error, 'JOURNAL_FENCED')) throw error;
}

function refusedOnly(error: unknown): null {
  if (!isHoldfastError(error, 'JOURNAL_FENCED', 'STORE_UNREACHABLE', 'CONTENTION')) throw error;
  return null;
}

test('whatever a flush has promised is found', async () => {
  const total = { flushed: 0, refused: 0, overtaken: 0, replaced: 0 };
  for (const seed of SEEDS) {
    await using world = await createWorld('memory');
    const run = new Run(world, seed);
    try {
      for (let i = 0; i < STEPS; i++) await run.step();
      await run.end();
      expect([`seed ${seed}`, brokenPromises(await readAll(await world.open()), run.told)]).toEqual([`seed ${seed}`, []]);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    } finally {
      await run.close();
    }
    for (const what of ['flushed', 'refused', 'overtaken', 'replaced'] as const) total[what] += run.counts[what];
  }
  if (process.env['HOLDFAST_SEED'] === undefined) {
    expect(total.flushed).toBeGreaterThan(SEEDS.length * 2);
    expect(total.refused).toBeGreaterThan(5);
    expect(total.overtaken).toBeGreaterThan(SEEDS.length * 2);
    expect(total.replaced).toBeGreaterThan(5);
  }
}, 120_000);
