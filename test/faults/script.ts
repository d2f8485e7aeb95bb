/**
 * A run as data: a world, and steps of operations with the kills that meet them. A function of the seed and nothing else.
 *
 * Snapshots are captured, copied, hidden, deleted, shown again, reclaimed and restored as users would in any order; contents
 * come from a small pool, so that values die, come back and repeat. One step in four runs two processes at once, or one
 * operation twice, as an attempt that was taken for dead and its successor.
 */
import { newSnapshotId, storeName, type SnapshotId, type StoreName } from '../../src/domain/ids.ts';
import { seededRandom } from '../../src/ground/stores/faulty.ts';
import type { ImageWrite } from '../systems/image.ts';
import { ANY_NAMES, POINTS, type Kill, type Point } from './points.ts';

export type Operation =
  | { readonly kind: 'capture'; readonly snapshot: SnapshotId; readonly stores: readonly StoreName[] }
  | { readonly kind: 'copy'; readonly snapshot: SnapshotId; readonly from: StoreName; readonly to: readonly StoreName[] }
  | { readonly kind: 'hide' | 'delete' | 'purge' | 'undelete' | 'restore'; readonly snapshot: SnapshotId; readonly store: StoreName }
  | { readonly kind: 'reclaim' | 'collect' | 'checkpoint' | 'passphrase'; readonly store: StoreName };

export interface Task {
  /** Owner of claims and pins: the same for all attempts. */
  readonly id: string;
  readonly operation: Operation;
  /** One for each attempt, as long as there are any. */
  readonly kills: readonly Kill[];
  /** Run by two processes at once, as attempts of one owner. */
  readonly doubled: boolean;
  /** On a machine of its own, whose cache is empty or old. */
  readonly machine: string;
}

export interface Step {
  readonly sizeBytes: number;
  /** Changes of the image before the step. */
  readonly writes: readonly ImageWrite[];
  /** Run at once. */
  readonly tasks: readonly Task[];
}

export interface Script {
  readonly seed: number;
  readonly extentBytes: number;
  readonly stores: readonly { readonly name: StoreName; readonly kind: 'file' | 's3' }[];
  readonly threads: number;
  /** Repositories are made by the operators, not before. */
  readonly bare: boolean;
  readonly steps: readonly Step[];
}

export interface ScriptOptions {
  readonly seed: number;
  /** Only kills at this point. */
  readonly point?: string;
  /** Where stores are: folders, the S3 server, or a share of each. */
  readonly store?: 'file' | 's3';
}

const KIB = 1024;
const MIB = 1024 * KIB;

interface Dice {
  below(n: number): number;
  chance(p: number): boolean;
  pick<T>(items: readonly T[]): T;
}

const diceOf = (seed: number): Dice & { readonly random: () => number } => {
  const random = seededRandom(seed);
  const below = (n: number): number => Math.floor(random() * n);
  return {
    random,
    below,
    chance: (p) => random() < p,
    pick: (items) => {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
  };
};

/** What the script believes to be there; the run checks what is. */
interface Believed {
  readonly snapshot: SnapshotId;
  readonly places: Map<StoreName, 'visible' | 'hidden' | 'gone'>;
}

export function writeScript({ seed, point, store }: ScriptOptions): Script {
  const dice = diceOf(seed);
  const extentBytes = dice.pick([16, 16, 32, 64]) * KIB;
  const names = ['a', 'b', 'c'].slice(0, 2 + dice.below(2)).map(storeName);
  const s3 = store === undefined ? dice.chance(0.2) : store === 's3';
  const stores = names.map((name, i) => ({
    name,
    kind: s3 && (store === 's3' || i === names.length - 1) ? ('s3' as const) : ('file' as const),
  }));
  const world = { dice, point: point ?? null, names, hasServer: s3 && stores.some((one) => one.kind === 's3'), extentBytes, seed };
  const imaging = createImaging(world);
  const known: Believed[] = [];
  const steps: Step[] = [];
  const count = 6 + dice.below(5);
  for (let i = 0; i < count; i++) {
    const writes = i === 0 || dice.chance(0.5) ? imaging.change() : [];
    const first = taskOf(world, `t${i}`, i === 0 ? captureOf(world, known, i) : chooseOperation(world, known, i));
    const tasks = [first];
    if (i > 0 && !first.doubled && first.operation.kind !== 'passphrase' && dice.chance(0.25)) {
      const second = taskOf(world, `u${i}`, chooseOperation(world, known, i + 100, first.operation));
      if (second.operation.kind !== 'passphrase') tasks.push({ ...second, doubled: false });
    }
    steps.push({ sizeBytes: imaging.sizeBytes(), writes, tasks });
  }
  return { seed, extentBytes, stores, threads: 1 + dice.below(2), bare: dice.chance(0.1), steps };
}

interface World {
  readonly dice: ReturnType<typeof diceOf>;
  readonly point: string | null;
  readonly names: readonly StoreName[];
  readonly hasServer: boolean;
  readonly extentBytes: number;
  readonly seed: number;
}

/** The image: mostly a few MiB, sometimes sparse with a second subtree; it grows, and content comes from a pool. */
function createImaging({ dice, extentBytes }: World) {
  const sparse = dice.chance(0.1);
  let extents = sparse ? 65_536 + 40 + dice.below(200) : Math.ceil(((2 + dice.below(6)) * MIB) / extentBytes);
  let tailBytes = dice.chance(0.3) ? 1 + dice.below(extentBytes) : 0;
  let begun = false;
  const place = (): number => (sparse && dice.chance(0.5) ? 65_536 + dice.below(40) : dice.below(Math.min(extents, 300)));
  return {
    sizeBytes: () => extents * extentBytes + tailBytes,
    change(): ImageWrite[] {
      if (begun && dice.chance(0.1)) {
        extents += 1 + dice.below(40);
        tailBytes = 0;
      }
      const writes = Array.from({ length: begun ? 1 + dice.below(30) : 60 + dice.below(120) }, () => ({
        extent: place(),
        content: dice.chance(0.1) ? 0 : 1 + dice.below(dice.chance(0.5) ? 60 : 100_000),
      }));
      begun = true;
      return writes;
    },
  };
}

function captureOf({ dice, names, seed }: World, known: Believed[], i: number): Operation {
  const stores = dice.chance(0.7) ? names : names.filter(() => dice.chance(0.6));
  const chosen = stores.length > 0 ? stores : [dice.pick(names)];
  const snapshot = newSnapshotId(1_700_000_000_000 + (seed % 1_000_000) * 1000 + i, dice.random);
  known.push({ snapshot, places: new Map(chosen.map((name) => [name, 'visible'])) });
  return { kind: 'capture', snapshot, stores: chosen };
}

/** `beside`: an operation that runs at the same time; what it makes or changes is left alone, so that the outcome is one thing. */
function chooseOperation(world: World, known: Believed[], i: number, beside: Operation | null = null): Operation {
  const { dice, names } = world;
  const busy = beside !== null && 'snapshot' in beside && beside.kind !== 'restore' ? beside.snapshot : null;
  const free = known.filter(({ snapshot }) => snapshot !== busy);
  const held = (state: 'visible' | 'hidden') =>
    free.flatMap((one) => [...one.places].flatMap(([store, is]) => (is === state ? [{ one, store }] : [])));
  const roll = dice.below(100);
  if (roll < 30) return captureOf(world, known, i);
  if (roll < 40) {
    const from = held('visible').filter(({ one }) => one.places.size < names.length);
    if (from.length === 0) return captureOf(world, known, i);
    const { one, store } = dice.pick(from);
    const to = names.filter((name) => !one.places.has(name));
    for (const name of to) one.places.set(name, 'visible');
    return { kind: 'copy', snapshot: one.snapshot, from: store, to };
  }
  if (roll < 62) {
    const visible = held('visible');
    if (visible.length === 0) return captureOf(world, known, i);
    const { one, store } = dice.pick(visible);
    const kind = dice.pick(['hide', 'hide', 'delete', 'delete', 'purge'] as const);
    one.places.set(store, 'hidden');
    return { kind, snapshot: one.snapshot, store };
  }
  if (roll < 70) {
    const hidden = held('hidden');
    if (hidden.length === 0) return { kind: 'collect', store: dice.pick(names) };
    const { one, store } = dice.pick(hidden);
    one.places.set(store, 'visible');
    return { kind: 'undelete', snapshot: one.snapshot, store };
  }
  if (roll < 80) {
    const visible = held('visible');
    if (visible.length === 0) return captureOf(world, known, i);
    const { one, store } = dice.pick(visible);
    return { kind: 'restore', snapshot: one.snapshot, store };
  }
  return { kind: dice.pick(['reclaim', 'collect', 'checkpoint', 'checkpoint', 'passphrase'] as const), store: dice.pick(names) };
}

/** What an operation may meet: a kill elsewhere would never come. */
const MEETS: Readonly<Record<Operation['kind'], (point: Point) => boolean>> = {
  capture: ({ name }) => !/delete (key|checkpoint)|get pack|list key|list checkpoint/.test(name),
  copy: ({ name }) => !/delete (key|checkpoint)|list key|list checkpoint/.test(name),
  hide: ({ name }) => /log/.test(name),
  delete: ({ name }) => /log|change|delete pack|put pack|get pack/.test(name),
  purge: ({ name }) => /log|change|delete pack|put pack|get pack/.test(name),
  undelete: ({ name }) => /log/.test(name),
  restore: ({ name }) => /put log|get/.test(name),
  reclaim: ({ name }) => /log|change|delete pack|put pack|get pack/.test(name),
  collect: ({ name }) => /log|change|pack|checkpoint/.test(name) && !/mirror|key/.test(name),
  checkpoint: ({ name }) => /log|change|pack|checkpoint/.test(name) && !/mirror|key/.test(name),
  passphrase: ({ name }) => /key slot/.test(name),
};

function taskOf({ dice, point, hasServer }: World, id: string, operation: Operation): Task {
  const candidates = POINTS.filter((one) => MEETS[operation.kind](one) && (point === null || one.name === point));
  const kills: Kill[] = [];
  const wanted = candidates.length === 0 ? 0 : point !== null ? 1 : dice.pick([0, 1, 1, 2, 3]);
  for (let i = 0; i < wanted; i++) {
    const any = point === null && dice.chance(0.5);
    kills.push({
      point: any ? dice.pick(ANY_NAMES) : dice.pick(candidates).name,
      nth: any ? 1 + dice.below(dice.pick([8, 20, 50])) : dice.pick([1, 1, 1, 1, 2, 2, 3]),
      afterMs: dice.below(6),
      victim: dice.chance(hasServer ? 0.15 : 0.05) ? 'server' : 'process',
    });
  }
  return { id, operation, kills, doubled: dice.chance(0.08), machine: dice.chance(0.15) ? 'second' : 'first' };
}
