/**
 * The world of one run: the store, its judge, the machines' caches, and what was asked of the volumes so far.
 *
 * Drawn once a seed: how much goes wrong, how many volumes there are, how alike their contents, how busy the deleters.
 * Runs differ in kind, not only in order: a calm run goes far, a wild one stays at the edges.
 */
import { lineageOf, newSnapshotId, volumeName, type Lineage, type SnapshotId } from '../../src/domain/ids.ts';
import type { Environment } from '../../src/engine/repository/environment.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import type { SubtreeReceipt } from '../../src/engine/transfer/contract.ts';
import { createLosses, type Losses } from './losses.ts';
import { createObjects, type Objects } from './objects.ts';
import { createOracle, type Oracle } from './oracle.ts';
import { createRandom, type Random } from './random.ts';
import type { LocalCache } from './cache.ts';
import type { Faults, Place, Process } from './scheduler.ts';
import { Violation } from './violation.ts';
import { createVolumes, type Volumes } from './volumes.ts';

/** A workflow's wish for one snapshot: many attempts, at most one snapshot. */
export interface CaptureJob {
  readonly lineage: Lineage;
  readonly snapshot: SnapshotId;
  readonly owner: string;
  readonly attempt: number;
}

/** Something a user asked for, which the network may deliver again. */
export interface Request {
  readonly what: string;
  readonly send: (repository: Repository) => Promise<void>;
}

export interface Temper {
  readonly faults: Faults;
  /** Weights of what is begun next. */
  readonly tasks: Readonly<Record<TaskKind, number>>;
  /** Tasks at a time. */
  readonly tasksMax: number;
  /** Share of tasks that begin beside another one in a busy process. */
  readonly together: number;
  /** Steps that a writer rests between shipping and committing, at the most. */
  readonly pauseMax: number;
  /** Weight of purges among what users ask for. */
  readonly purges: number;
  /** How often a volume comes to hold what some snapshot, of any volume, held. */
  readonly copies: number;
  /** Values that extents are drawn from. */
  readonly alphabet: number;
  /** Share of new processes that share a living machine's cache, that start from an old copy, or from nothing. */
  readonly sharedCaches: number;
  readonly oldCaches: number;
}

export const TASKS = ['capture', 'user', 'collect', 'sweep', 'checkpoint', 'read', 'harm'] as const;
export type TaskKind = (typeof TASKS)[number];

export interface World {
  readonly random: Random;
  readonly temper: Temper;
  readonly objects: Objects;
  /** The same as the processes meet them. */
  readonly place: Place;
  readonly oracle: Oracle;
  readonly volumes: Volumes;
  /** What damage has taken. */
  readonly losses: Losses;
  /** Whether anything is damaged in this run. */
  readonly harmful: boolean;
  readonly key: { readonly dataKey: Buffer; readonly repositoryId: Buffer };
  /** Lineages in use, one an index; a retired one makes room for its next incarnation. */
  readonly lineages: Lineage[];
  readonly jobs: Map<Lineage, CaptureJob>;
  /** The process that was last seen to capture a lineage. */
  readonly capturing: Map<string, Process>;
  readonly requests: Request[];
  /** Finished subtrees by epoch: what a workflow knows of its activities. */
  readonly receipts: Map<number, Map<number, SubtreeReceipt>>;
  readonly caches: LocalCache[];
  readonly stats: Map<string, number>;
  /** A number never given before. */
  serial(): number;
  newSnapshot(): SnapshotId;
  count(what: string): void;
  most(what: string, value: number): void;
  /** Counts and traces what was damaged. */
  harmed(what: string): void;
  environment(writer: string, nowMs: () => number, sleep: (ms: number) => Promise<void>): Environment;
}

/** Superseded while it was read; a cache that rotted. Anything else that an operator should know must not happen here. */
const HARMLESS_ALARMS = ['a checkpoint cannot be read', 'the local cache is damaged'] as const;

export function createWorld(seed: number, hot: boolean, harmful: boolean, trace: ((line: string) => void) | null): World {
  const random = createRandom(seed);
  const drawn = hot ? HOT : drawTemper(random);
  const temper: Temper = harmful ? { ...drawn, tasks: { ...drawn.tasks, harm: HARM } } : drawn;
  const losses = createLosses();
  const volumes = createVolumes(random, temper);
  const key = { dataKey: random.bytes(32), repositoryId: random.bytes(16) };
  const stats = new Map<string, number>();
  let serial = 0;
  const oracle: Oracle = createOracle(
    () => objects,
    key,
    (snapshot) => volumes.known(snapshot as SnapshotId),
    losses,
    trace,
  );
  const objects: Objects = createObjects(oracle);
  const count = (what: string): void => void stats.set(what, (stats.get(what) ?? 0) + 1);
  return {
    random,
    temper,
    objects,
    place: { objects, label: '', condition: () => 'here' },
    oracle,
    volumes,
    losses,
    harmful,
    key,
    lineages: Array.from({ length: random.between(1, 5) }, (_, i) => lineageOf(volumeName(`v${i}`), 1)),
    jobs: new Map(),
    capturing: new Map(),
    requests: [],
    receipts: new Map(),
    caches: [],
    stats,
    serial: () => ++serial,
    newSnapshot: () => newSnapshotId(++serial, random.next),
    count,
    harmed(what) {
      trace?.(`       ${what}`);
      count('packs harmed');
    },
    most: (what, value) => void stats.set(what, Math.max(value, stats.get(what) ?? 0)),
    environment: (writer, nowMs, sleep) => ({
      writer,
      nowMs,
      random: random.bytes,
      sleep,
      alarm(message, details) {
        const harmless = HARMLESS_ALARMS.find((one) => message.startsWith(one));
        if (losses.isHarmed(String(details['object']))) return count('alarm: a harmed pack');
        if (harmless !== undefined && details['code'] !== 'DAMAGED') return count(`alarm: ${harmless}`);
        throw new Violation(`an alarm: ${message} ${JSON.stringify(details)}`);
      },
    }),
  };
}

/** Weight of damage among what is begun, in runs that have any: each loss is to be met by somebody before the next one. */
const HARM = 3;

/** Everything at once: for what takes several rare things in a row to go wrong. */
const HOT: Temper = {
  faults: { fails: 0.01, losesAnswer: 0.015, comesLate: 0.005, comesTwice: 0.003, kills: 0.002, freezes: 0.02, stepsLost: 200 },
  tasks: { capture: 7, user: 12, collect: 10, sweep: 3, checkpoint: 3, read: 2, harm: 0 },
  tasksMax: 9,
  together: 0.5,
  pauseMax: 80,
  purges: 6,
  copies: 0.3,
  alphabet: 6,
  sharedCaches: 0.3,
  oldCaches: 0.5,
};

function drawTemper(random: Random): Temper {
  const wildness = random.pick([0.3, 1, 1, 2]);
  const stepsLost = random.pick([60, 200, 600]);
  const weight = (usual: number): number => usual * random.pick([0.4, 1, 1, 3]);
  return {
    faults: {
      fails: 0.01 * wildness,
      losesAnswer: 0.015 * wildness,
      comesLate: 0.005 * wildness,
      comesTwice: 0.003 * wildness,
      kills: 0.002 * wildness,
      freezes: 0.006 * wildness,
      stepsLost,
    },
    tasks: { capture: weight(7), user: weight(7), collect: weight(4), sweep: weight(1.5), checkpoint: weight(1), read: weight(2), harm: 0 },
    tasksMax: random.pick([3, 6, 9]),
    together: random.pick([0.1, 0.2, 0.5]),
    pauseMax: random.pick([20, 80, 300]),
    purges: random.pick([1, 1, 8]),
    copies: random.pick([0.06, 0.06, 0.3]),
    alphabet: random.pick([3, 6, 12, 40]),
    sharedCaches: random.pick([0, 0.3]),
    oldCaches: random.pick([0.3, 0.6]),
  };
}
