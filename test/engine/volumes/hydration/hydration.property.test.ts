/**
 * Instant restore against a model (docs/hydration.md, H1 to H5 and H7): clients read, write, zero and trim, views are frozen and read, the
 * background comes and goes, and the power fails at any operation of any file. Every block reads as the last write or as the
 * snapshot; after a crash as one of the writes since the last flush or as what it was before them, and then stays that.
 */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import type { Layer, Piece } from '../../../../src/engine/volumes/hydration/layered-bulk.ts';
import { NbdError, type Backend, type Export } from '../../../../src/engine/volumes/nbd/export.ts';
import { STATE } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { ServedVolume, type Freeze, type Origin } from '../../../../src/engine/volumes/served-volume.ts';
import type { SnapshotView } from '../../../../src/engine/volumes/snapshot-view.ts';
import { Crashed, DyingDisk, type Chance } from './dying-disk.ts';

/** Any seed and number of runs may be asked for: HYDRATION_RUNS=20000. */
const RUNS = Number(process.env['HYDRATION_RUNS'] ?? 600);

const BLOCK = 512;
const EXTENT = 4 * BLOCK;
/** More than a sector of the state file would be slow; its pairs are still written one after the other. */
const EXTENTS = 24;
const BLOCKS = EXTENTS * 4 - 3;
const SIZE = BLOCKS * BLOCK;

/** What lies below the writes of this life: one of these, and then always the one that was read. */
interface Base {
  values: ReadonlySet<number>;
}

interface Block {
  base: Base;
  /** Writes since, in order; the last `unanswered` of them may have been made or not. */
  later: { readonly value: number; answered: boolean }[];
}

class Model {
  readonly blocks: Block[];
  constructor(snapshot: readonly number[]) {
    this.blocks = snapshot.map((value) => ({ base: { values: new Set([value]) }, later: [] }));
  }

  crash(): void {
    for (const block of this.blocks) {
      block.base = { values: new Set([...block.base.values, ...block.later.map(({ value }) => value)]) };
      block.later = [];
    }
  }
}

/** One of these a block of a view, or of a read, may be. */
type Candidate = number | Base;

const candidatesOf = ({ base, later }: Block): Candidate[] => {
  const last = later.findLastIndex(({ answered }) => answered);
  return [...(last < 0 ? [base] : []), ...later.slice(Math.max(0, last)).map(({ value }) => value)];
};

function check(where: string, value: number, candidates: readonly Candidate[]): void {
  if (candidates.includes(value)) return;
  const base = candidates.find((one): one is Base => typeof one === 'object' && one.values.has(value));
  if (base === undefined)
    throw new Error(
      `${where} reads ${value}, not one of ${candidates.map((one) => (typeof one === 'object' ? `{${[...one.values].join()}}` : one)).join()}`,
    );
  if (candidates.length === 1) base.values = new Set([value]);
}

type Op =
  | {
      readonly kind: 'write' | 'trim' | 'zero';
      readonly at: number;
      readonly blocks: number;
      readonly fua: boolean;
      readonly together: boolean;
    }
  | { readonly kind: 'read' | 'look'; readonly at: number; readonly blocks: number; readonly together: boolean }
  | { readonly kind: 'flush'; readonly count: number; readonly together: boolean }
  | { readonly kind: 'hydrate'; readonly together: boolean }
  | { readonly kind: 'freeze' | 'close' | 'pause' | 'settle' };

const range = { at: fc.nat(BLOCKS - 1), blocks: fc.integer({ min: 1, max: 14 }), together: fc.boolean() };
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constantFrom('write' as const, 'write' as const, 'trim' as const, 'zero' as const),
      fua: fc.boolean(),
      ...range,
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('read' as const, 'look' as const), ...range }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('flush' as const), count: fc.integer({ min: 1, max: 3 }), together: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('hydrate' as const), together: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('freeze' as const, 'close' as const, 'pause' as const, 'settle' as const),
    }),
  },
);
interface Life {
  readonly ops: readonly Op[];
  /** Operations of the disk until it dies; Infinity: a clean stop. */
  readonly operations: number;
}
const life: fc.Arbitrary<Life> = fc.record({
  ops: fc.array(op, { maxLength: 30 }),
  operations: fc.oneof(fc.nat(80), fc.nat(300), fc.constant(Infinity)),
});

/** A view whose old bytes the store could not give when a writer came is broken, and says so. */
const isExpected = (disk: DyingDisk, store: Store, error: unknown): boolean =>
  disk.isDead ||
  error instanceof Crashed ||
  (error instanceof HoldfastError && (error.code === 'STORE_UNREACHABLE' || error.message.endsWith('lost for now'))) ||
  (error instanceof NbdError && error.message.includes('view is broken') && store.wasAway);

interface Store {
  wasAway: boolean;
}

/** The snapshot, in a store that is away now and then. */
function originOf(snapshot: Buffer, chance: Chance, store: Store): Origin {
  const isZero = (index: number): boolean => snapshot.subarray(index * EXTENT, (index + 1) * EXTENT).every((byte) => byte === 0);
  const wait = async (): Promise<void> => {
    for (let ticks = chance() % 6; ticks > 0; ticks--) await Promise.resolve();
    if (chance() % 6 === 0) await setImmediate();
    if (chance() % 60 !== 0) return;
    store.wasAway = true;
    throw new HoldfastError('STORE_UNREACHABLE', 'away');
  };
  const view: SnapshotView = {
    ...{ sizeBytes: SIZE, extentBytes: EXTENT, figures: { fetched: 0 } },
    async extent(index) {
      await wait();
      return isZero(index)
        ? null
        : Buffer.concat([snapshot.subarray(index * EXTENT, (index + 1) * EXTENT), Buffer.alloc(EXTENT)]).subarray(0, EXTENT);
    },
    async read() {
      throw new Error('nobody reads past the volume');
    },
    async *allocation(offset, length) {
      for (let at = offset; at < offset + length;) {
        const until = Math.min(offset + length, (Math.floor(at / EXTENT) + 1) * EXTENT);
        await wait();
        yield { length: until - at, flags: isZero(Math.floor(at / EXTENT)) ? STATE.HOLE | STATE.ZERO : 0 };
        at = until;
      }
    },
  };
  return {
    name: 'the origin',
    async open() {
      await wait();
      // The disk's own background plays the part of a real one.
      const openBulk = (): Promise<never> => Promise.reject(new Error('nobody opens it'));
      return { view, openBulk, [Symbol.asyncDispose]: async () => undefined };
    },
  };
}

/** A base, and what lies over it so that both are the snapshot. */
function layersOf(snapshot: Buffer, chance: Chance): { readonly base: Buffer; readonly pieces: readonly Piece[] } {
  const base = Buffer.from(snapshot);
  const pieces: Piece[] = [];
  for (let block = 0; block < BLOCKS; block++) {
    if (chance() % 3 !== 0) continue;
    const to = Math.min(BLOCKS, block + 1 + (chance() % 6));
    const [offset, length] = [block * BLOCK, (to - block) * BLOCK];
    base.fill(chance() % 200, offset, offset + length);
    const data = Buffer.from(snapshot.subarray(offset, offset + length));
    pieces.push({ offset, length, data: data.every((byte) => byte === 0) && chance() % 2 === 0 ? null : data });
    block = to - 1;
  }
  return { base, pieces };
}

/** Whose pieces come in any order, some of them from a store that is away now and then; what was taken is not given again. */
function layerOf(pieces: readonly Piece[], chance: Chance): Layer & { places(): readonly Piece[] } {
  const left = [...pieces].sort(() => (chance() % 2) - 0.5);
  return {
    places: () => pieces,
    async *pieces(isWanted) {
      for (const piece of [...left]) {
        for (let ticks = chance() % 4; ticks > 0; ticks--) await Promise.resolve();
        if (chance() % 40 === 0) throw new HoldfastError('STORE_UNREACHABLE', 'away');
        const { offset, length } = piece;
        const isLost = chance() % 16 === 0;
        if (isWanted(offset, length)) yield isLost ? { offset, length, lost: new HoldfastError('DAMAGED', 'lost for now') } : piece;
        if (!isLost) left.splice(left.indexOf(piece), 1);
      }
    },
  };
}

interface View {
  readonly freeze: Freeze;
  readonly candidates: readonly (readonly Candidate[])[];
}

/** A volume while its disk lives. */
class Session {
  readonly #volume: ServedVolume;
  readonly #backend: Backend;
  readonly #model: Model;
  readonly #disk: DyingDisk;
  readonly #store: Store;
  readonly #written: Set<number>;
  readonly #views: View[] = [];
  readonly #going = new Set<{ readonly from: number; readonly to: number; readonly isChange: boolean; readonly done: Promise<void> }>();
  #hydrating: { readonly stop: AbortController; readonly ended: Promise<unknown> } | null = null;
  #value: number;
  #failure: unknown = null;

  constructor(parts: {
    volume: ServedVolume;
    backend: Backend;
    model: Model;
    disk: DyingDisk;
    store: Store;
    written: Set<number>;
    value: number;
  }) {
    this.#volume = parts.volume;
    this.#backend = parts.backend;
    this.#model = parts.model;
    this.#disk = parts.disk;
    this.#store = parts.store;
    this.#written = parts.written;
    this.#value = parts.value;
  }

  /** Keeps the first mistake; what a dead disk or a store that is away brings about is none. */
  async #run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isExpected(this.#disk, this.#store, error)) this.#failure ??= error;
    }
  }

  /** Changes of one range at once have no order, and a read beside a change sees either. */
  async #start(
    from: number,
    to: number,
    { isChange, together }: { isChange: boolean; together: boolean },
    work: () => Promise<void>,
  ): Promise<void> {
    for (const one of [...this.#going]) if (one.from < to && from < one.to && (isChange || one.isChange)) await one.done;
    const done = this.#run(work);
    const one = { from, to, isChange, done };
    this.#going.add(one);
    void done.then(() => this.#going.delete(one));
    if (!together) await done;
  }

  checkFailure(): void {
    if (this.#failure !== null) throw new Error('the model was broken', { cause: this.#failure });
  }

  async settle(): Promise<void> {
    for (const { done } of [...this.#going]) await done;
  }

  async apply(one: Op): Promise<void> {
    switch (one.kind) {
      case 'write':
      case 'trim':
      case 'zero':
        return this.#change(one);
      case 'read':
        return this.#read(one.at, Math.min(one.blocks, BLOCKS - one.at), one.together);
      case 'look':
        for (const view of this.#views)
          await this.#start(0, 0, { isChange: false, together: one.together }, () =>
            this.#look(view, one.at, Math.min(one.blocks, BLOCKS - one.at)),
          );
        return;
      case 'flush':
        for (let n = 1; n < one.count; n++) await this.#flush(true);
        return this.#flush(one.together);
      case 'freeze':
        return this.#freeze();
      case 'close':
        await this.settle();
        return this.#run(async () => this.#views.shift()?.freeze.close());
      case 'hydrate': {
        const stop = new AbortController();
        this.#hydrating ??= { stop, ended: this.hydrate(stop.signal) };
        if (one.together) return;
        await this.#hydrating.ended;
        this.#hydrating = null;
        return;
      }
      case 'pause':
        return this.pause();
      case 'settle':
        return this.settle();
    }
  }

  #flush(together: boolean): Promise<void> {
    return this.#start(0, 0, { isChange: false, together }, async () => {
      const cuts = this.#model.blocks.map(({ later }) => later[later.findLastIndex(({ answered }) => answered)]);
      await this.#backend.flush();
      this.#model.blocks.forEach((block, i) => settleAt(block, cuts[i]));
    });
  }

  hydrate(signal: AbortSignal): Promise<void> {
    return this.#run(() => this.#volume.hydrate(signal).catch((error: unknown) => signal.throwIfAborted() ?? Promise.reject(error))).catch(
      () => undefined,
    );
  }

  async pause(): Promise<void> {
    this.#hydrating?.stop.abort(new Crashed());
    await this.#hydrating?.ended;
    this.#hydrating = null;
  }

  async #change({ kind, at, blocks, fua, together }: Extract<Op, { kind: 'write' | 'trim' | 'zero' }>): Promise<void> {
    const to = Math.min(BLOCKS, at + blocks);
    await this.#start(at, to, { isChange: true, together }, async () => {
      const value = kind === 'write' ? (this.#value = (this.#value % 250) + 1) : 0;
      const own = this.#model.blocks.slice(at, to).map((block) => {
        const write = { value, answered: false };
        block.later.push(write);
        return { block, write };
      });
      const [offset, length] = [at * BLOCK, (to - at) * BLOCK];
      const change = async (): Promise<void> => {
        if (kind === 'write') await this.#backend.write([Buffer.alloc(length, value)], offset, fua);
        else if (kind === 'trim') await this.#backend.trim(offset, length, fua);
        else await this.#backend.zero(offset, length, { fua, mayPunch: true, fast: false });
      };
      await change().catch((error: unknown) => {
        // Refused for the store's sake it was not made.
        if (!this.#disk.isDead) for (const { block, write } of own) block.later.splice(block.later.indexOf(write), 1);
        throw error;
      });
      for (let extent = Math.floor(at / 4); extent < to / 4; extent++) this.#written.add(extent);
      for (const { block, write } of own) {
        write.answered = true;
        if (fua) settleAt(block, write);
      }
    });
  }

  async #read(at: number, blocks: number, together: boolean): Promise<void> {
    await this.#start(at, at + blocks, { isChange: false, together }, async () => {
      const zeros = await zerosOf(this.#volume.asExport(), at, blocks);
      const bytes = await readOf(this.#backend, at, blocks);
      for (let i = 0; i < blocks; i++) {
        const value = blockOf(bytes, i);
        check(`block ${at + i}`, value, candidatesOf(this.#blockAt(at + i)));
        if (zeros[i] === true && value !== 0) throw new Error(`block ${at + i} reads ${value} and is told as zeros`);
      }
    });
  }

  async readAll(): Promise<void> {
    await this.settle();
    await this.#read(0, BLOCKS, false);
  }

  #blockAt(index: number): Block {
    const block = this.#model.blocks[index];
    if (block === undefined) throw new Error(`there is no block ${index}`);
    return block;
  }

  async #freeze(): Promise<void> {
    await this.#run(async () => {
      const asked = this.#model.blocks.map((block) => candidatesOf(block));
      const freeze = await this.#volume.freeze(`s${(this.#value = (this.#value % 250) + 1)}-${this.#views.length}`);
      // What was begun before it and answered after it is in it or not.
      const candidates = this.#model.blocks.map((block, i) => [
        ...new Set([...(asked[i] ?? []), ...candidatesOf(block), ...block.later.map(({ value }) => value)]),
      ]);
      this.#views.push({ freeze, candidates });
    });
  }

  /** What is said to be zeros is not read by a capture: it has to be. */
  async #look({ freeze, candidates }: View, at: number, blocks: number): Promise<void> {
    const backend = await freeze.export.open();
    try {
      const before = await zerosOf(freeze.export, at, blocks);
      const bytes = await readOf(backend, at, blocks);
      const after = await zerosOf(freeze.export, at, blocks);
      for (let i = 0; i < blocks; i++) {
        const value = blockOf(bytes, i);
        check(`block ${at + i} of a view`, value, candidates[at + i] ?? []);
        if ((before[i] === true || after[i] === true) && value !== 0)
          throw new Error(`block ${at + i} of a view reads ${value} and is told as zeros`);
      }
    } finally {
      await backend.close();
    }
  }

  async closeViews(): Promise<void> {
    await this.settle();
    for (const view of this.#views.splice(0)) {
      await this.#run(() => this.#look(view, 0, BLOCKS));
      await this.#run(() => view.freeze.close());
    }
  }

  /** T1, across the origin: whatever was written since is told. */
  checkTracking(): void {
    const context = this.#volume
      .asExport()
      .contexts()
      .find(({ name }) => name === 'holdfast:changed:the origin');
    if (context === undefined) return;
    const told = new Set<number>();
    let at = 0;
    for (const run of context.status(0, SIZE) as Iterable<{ length: number; flags: number }>) {
      for (let each = at; run.flags === 1 && each < at + run.length; each += EXTENT) told.add(Math.floor(each / EXTENT));
      at += run.length;
    }
    for (const extent of this.#written) if (!told.has(extent)) throw new Error(`extent ${extent} was written and is not told`);
  }
}

/** What was durable by then is what a crash leaves, or something newer. */
function settleAt(block: Block, write: Block['later'][number] | undefined): void {
  const place = write === undefined ? -1 : block.later.indexOf(write);
  if (write === undefined || place < 0) return;
  block.base = { values: new Set([write.value]) };
  block.later.splice(0, place + 1);
}

async function readOf(backend: Backend, at: number, blocks: number): Promise<Buffer> {
  const into = Buffer.alloc(blocks * BLOCK);
  if (!backend.readNow(into, at * BLOCK)) await backend.read(into, at * BLOCK);
  return into;
}

/** A block is written whole. */
function blockOf(bytes: Buffer, i: number): number {
  const own = bytes.subarray(i * BLOCK, (i + 1) * BLOCK);
  const [value = 0] = own;
  if (!own.every((byte) => byte === value)) throw new Error('a block reads as two writes at once');
  return value;
}

async function zerosOf(of: Export, at: number, blocks: number): Promise<boolean[]> {
  const zeros: boolean[] = [];
  const [context] = of.contexts();
  for await (const run of context?.status(at * BLOCK, blocks * BLOCK) ?? [])
    for (let n = 0; n < run.length; n += BLOCK) zeros.push((run.flags & STATE.ZERO) !== 0);
  return zeros;
}

test('every block reads as its last write or as the snapshot, whatever crashes and whenever', async () => {
  const seen = { crashes: 0, ended: 0 };
  const snapshots = fc.array(fc.option(fc.integer({ min: 1, max: 255 }), { nil: 0, freq: 2 }), { minLength: EXTENTS, maxLength: EXTENTS });
  const dice = fc.infiniteStream(fc.nat(1_000_000));
  await fc.assert(
    fc.asyncProperty(snapshots, fc.array(life, { minLength: 1, maxLength: 5 }), dice, async (content, lives, stream) => {
      const chance: Chance = () => stream.next().value as number;
      const values = Array.from({ length: BLOCKS }, (_, i) => content[Math.floor(i / 4)] ?? 0);
      const snapshot = Buffer.concat(values.map((value) => Buffer.alloc(BLOCK, value)));
      const disk = new DyingDisk(SIZE, chance);
      const store: Store = { wasAway: false };
      const layers = chance() % 2 === 0 ? layersOf(snapshot, chance) : null;
      const model = new Model(values);
      const written = new Set<number>();
      const options = { name: 'v', path: '', sizeBytes: SIZE, extentBytes: EXTENT, stateFolder: '', preserveBytesMax: SIZE };
      let now = 0;
      const clock = {
        nowMs: () => (now += 2000),
        after: (_: number, then: () => void) => (void Promise.resolve().then(then), () => undefined),
      };
      const open = (): Promise<ServedVolume> =>
        ServedVolume.open(
          { ...options, clock, origin: originOf(snapshot, chance, store) },
          layers === null ? disk.ground(snapshot, EXTENT) : disk.ground(layers.base, EXTENT, layerOf(layers.pieces, chance)),
        );
      for (const [i, { ops, operations }] of [...lives, { ops: [], operations: Infinity }].entries()) {
        disk.start(operations);
        try {
          const volume = await open();
          const session = new Session({ volume, model, disk, store, written, value: i * 40, backend: await volume.asExport().open() });
          for (const one of ops) {
            await session.apply(one);
            if (disk.isDead) break;
          }
          await session.closeViews();
          await session.pause();
          await session.settle();
          session.checkFailure();
          if (i === lives.length) {
            // To the end, however often the store is away; then it stands alone.
            while (volume.figures().hydration !== null) await session.hydrate(new AbortController().signal);
            await session.readAll();
            seen.ended++;
          }
          session.checkTracking();
          session.checkFailure();
          await volume.stop();
          if (disk.isDead) throw new Crashed();
        } catch (error) {
          if (!disk.isDead) throw error;
          // What is still under way fails, too, before the power comes back.
          for (let turns = 0; turns < 20; turns++) await setImmediate();
          seen.crashes++;
          disk.crash();
          model.crash();
        }
      }
      // Alone: its owner has noted it, and its store is no more.
      const alone = await ServedVolume.open(options, disk.ground(Buffer.alloc(SIZE), EXTENT));
      const session = new Session({ volume: alone, model, disk, store, written, value: 0, backend: await alone.asExport().open() });
      await session.readAll();
      session.checkFailure();
    }),
    { numRuns: RUNS },
  );
  expect(seen.ended).toBe(RUNS);
  expect(seen.crashes).toBeGreaterThan(RUNS / 3);
});
