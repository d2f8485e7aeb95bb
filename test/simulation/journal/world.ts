/**
 * The world of one run of the journal: a log store, four regions, three machines, and what there is to know about them.
 *
 * Regions go away and come back; two may be destroyed, each only where the map says that nothing is held there alone: what the
 * protocol promises ends where both copies are lost. Drawn once a seed: how much goes wrong, how busy everybody is.
 */
import type { Environment } from '../../../src/engine/repository/environment.ts';
import type { Member } from '../../../src/engine/journal/entries.ts';
import { openJournalLog } from '../../../src/engine/journal/journal-log.ts';
import type { Journal, Region } from '../../../src/engine/journal/journal.ts';
import type { Bases } from '../../../src/engine/journal/keeping/bases.ts';
import { REPOSITORY_OBJECT } from '../../../src/engine/repository/object-names.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { withRetry } from '../../../src/ground/stores/retrying.ts';
import { createObjects, type Objects, type ObjectsObserver } from '../objects.ts';
import { createRandom, type Random } from '../random.ts';
import type { Faults, Place, Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import type { Drained } from './handover.ts';
import { createHistories, VOLUMES_MAX, type Histories } from './histories.ts';
import type { Machine } from './machines.ts';
import { createOracle, type Oracle } from './oracle.ts';
import { createBases } from './snapshots.ts';

export type Mode = 'local' | 'pair';

export const REGIONS = ['r0', 'r1', 'r2', 'r3'] as const;
const MACHINES = ['n0', 'n1', 'n2'] as const;
/** Regions that a run may lose for good. */
const DESTROYED_MAX = 2;

export interface Temper {
  readonly faults: Faults;
  /** Chances a step: a place goes away, comes back, is destroyed if it may be; another owner is started; a job is begun. */
  readonly goesAway: number;
  readonly comesBack: number;
  readonly destroyed: number;
  readonly takesOver: number;
  readonly job: number;
  /** Weights of jobs. */
  readonly jobs: Readonly<Record<JobKind, number>>;
  /** Records that the owners of a run write, at the most. */
  readonly writes: number;
  /** Volumes of the group. */
  readonly volumes: number;
  /** Chance that a restart finds no write-ahead file. */
  readonly losesFile: number;
  /** When an owner goes on without a member. */
  readonly patience: { readonly memberAttemptsMax: number; readonly memberMsMax: number };
  /** Chance a step that an object rots or vanishes; where that is, no region is destroyed. */
  readonly rots: number;
  /** Chance an operation that order is lost, in mode `local`. */
  readonly losesOrder: number;
  /** Chances a look of an owner: it hands over, as planned; it goes on with other members. */
  readonly handsOver: number;
  readonly changesMembers: number;
}

export const JOBS = ['keep', 'backfill', 'fold', 'collect', 'read', 'restore', 'rehydrate'] as const;
export type JobKind = (typeof JOBS)[number];

export interface SimulatedRegion {
  readonly name: string;
  readonly objects: Objects;
  readonly place: Place;
  condition: 'here' | 'away' | 'gone';
  /** The epoch that was current when it was destroyed. */
  goneIn: number | null;
  /** What objects were that have rotted or vanished, by name; and the names of all that ever did. */
  readonly harmed: Map<string, Buffer>;
  readonly wasHarmed: Set<string>;
}

export interface World {
  readonly mode: Mode;
  readonly random: Random;
  readonly temper: Temper;
  readonly histories: Histories;
  readonly oracle: Oracle;
  readonly log: SimulatedRegion;
  readonly regions: ReadonlyMap<string, SimulatedRegion>;
  readonly machines: readonly Machine[];
  readonly stats: Map<string, number>;
  readonly trace: ((line: string) => void) | null;
  /** Records that may still be written. */
  writesLeft: number;
  /** Nothing goes wrong any more. */
  calm: boolean;
  /** The first thing that may not be, where nobody can throw it. */
  failed: Error | null;
  /** What the node that serves has written and does not yet have where it belongs; null: none has told. */
  behind: number | null;
  /** The region of which objects rot. */
  rots: string | null;
  /** At the end of a run: a machine is to get the journal again. */
  failingBack: boolean;
  /** Somebody waits for the owner to hand over. */
  handOverWanted: boolean;
  /** The last owner that has handed over. */
  drained: Drained | null;
  /** A number never given before. */
  serial(): number;
  count(what: string): void;
  /** The journal as a process has it open. */
  journalOf(process: Process): Journal;
  basesOf(process: Process, region: string): Bases;
  /** Regions that somebody has declared lost. */
  lost(): ReadonlySet<string>;
  /** All regions that are not lost, in an order of chance. */
  candidates(): readonly Member[];
  /** Destroys a region, if the map allows it. */
  destroy(name: string): void;
}

/** What an operator is told when stores do not answer. Anything else must not happen here. */
const HARMLESS_ALARMS = ['a journal cannot be opened again yet'] as const;

const domainOf = (region: string): string => `domain-${region}`;

export interface WorldOptions {
  readonly seed: number;
  readonly mode: Mode;
  /** Steps made so far. */
  readonly now: () => number;
  readonly trace: ((line: string) => void) | null;
}

export function createWorld({ seed, mode, now, trace }: WorldOptions): World {
  const random = createRandom(seed);
  const temper = drawTemper(random);
  const key = { dataKey: random.bytes(32), repositoryId: random.bytes(16) };
  const histories = createHistories();
  const stats = new Map<string, number>();
  const count = (what: string): void => void stats.set(what, (stats.get(what) ?? 0) + 1);
  const regions = new Map<string, SimulatedRegion>();
  const oracle = createOracle({
    key,
    histories,
    regions: () => regions,
    count,
    trace,
  });
  const delay = (most: number) => () => random.below(most + 1);
  for (const name of REGIONS) regions.set(name, regionOf(name, oracle.region(name), delay(random.pick([0, 0, 4, 40]))));
  const log = regionOf('log', oracle.log, delay(0));
  let serial = 0;

  const environmentOf = (process: Process): Environment => ({
    writer: process.name,
    nowMs: () => now() * MS_A_STEP,
    random: random.bytes,
    sleep: (ms) => process.nap(Math.ceil(ms / MS_A_STEP)),
    alarm(message, details) {
      const isOfHarm = typeof details['object'] === 'string' && regions.get(world.rots ?? '')?.wasHarmed.has(details['object']) === true;
      if (isOfHarm || HARMLESS_ALARMS.some((one) => message.startsWith(one))) return count(`alarm: ${message}`);
      world.failed ??= new Violation(`an alarm: ${message} ${JSON.stringify(details)}`);
    },
  });

  const world: World = {
    ...{ mode, random, temper, histories, oracle, log, regions, stats, trace, count },
    machines: MACHINES.map((name) => ({ name, disk: null, process: null, dirty: null, standing: null, promised: new Map() })),
    writesLeft: temper.writes,
    calm: false,
    failed: null,
    behind: null,
    rots: null,
    failingBack: false,
    handOverWanted: false,
    drained: null,
    serial: () => ++serial,
    journalOf(process) {
      const environment = environmentOf(process);
      const retrying = random.chance(0.7);
      const reach = (place: Place): ObjectStore => (retrying ? patient(process.reach(place), environment, random) : process.reach(place));
      return {
        name: 'journal',
        id: key.repositoryId,
        key,
        environment,
        log: openJournalLog({ store: reach(log.place), key, environment }),
        regions: new Map(
          [...regions.values()].map(({ name, place }): [string, Region] => [name, { name, domain: domainOf(name), store: reach(place) }]),
        ),
      };
    },
    basesOf: (process, name) => {
      const region = regions.get(name);
      if (region === undefined) throw new Error(`no region is called ${name}`);
      return createBases({
        region: name,
        store: patient(process.reach(region.place), environmentOf(process), random),
        random,
        serial: () => ++serial,
        volumes: VOLUMES_MAX,
      });
    },
    lost: () => new Set([...regions.values()].filter(({ condition }) => condition === 'gone').map(({ name }) => name)),
    candidates: () =>
      shuffled(random, [...regions.values()])
        .filter(({ condition }) => condition !== 'gone')
        .map(({ name }) => ({ region: name, domain: domainOf(name) })),
    destroy(name) {
      const region = regions.get(name);
      if (region === undefined || region.condition === 'gone' || world.lost().size >= DESTROYED_MAX || !mayDestroy(world, name)) return;
      region.condition = 'gone';
      region.goneIn = oracle.state().current;
      for (const object of [...region.objects.byName.keys()]) region.objects.harm(object, null);
      count('regions destroyed');
      trace?.(`       ${name} is destroyed`);
      oracle.destroyed(name);
    },
  };
  return world;
}

const patient = (store: ObjectStore, { sleep }: Environment, random: Random): ObjectStore =>
  withRetry(store, { random: random.next, sleep, attempts: 3, baseDelayMs: 20, maxDelayMs: 100 });

function regionOf(name: string, observer: ObjectsObserver, delay: () => number): SimulatedRegion {
  const harmed = new Map<string, Buffer>();
  const objects = createObjects({
    put(object, bytes) {
      harmed.delete(object);
      observer.put(object, bytes);
    },
    deleted(object) {
      harmed.delete(object);
      observer.deleted(object);
    },
  });
  // Prepared as createJournal does, or it could be no member.
  objects.harm(REPOSITORY_OBJECT, Buffer.from('{}'));
  const region: SimulatedRegion = {
    name,
    objects,
    condition: 'here',
    goneIn: null,
    harmed,
    wasHarmed: new Set(),
    place: { objects, label: `${name}:`, condition: () => region.condition, delay },
  };
  return region;
}

/** Milliseconds that pass in a step, as sleepers count them. */
const MS_A_STEP = 20;

export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const rest = [...items];
  const out: T[] = [];
  while (rest.length > 0) out.push(...rest.splice(random.below(rest.length), 1));
  return out;
}

/**
 * Whether the map says that nothing is held in this region alone: of what is left, some region has all it needs, itself or from
 * the others, and the current epoch keeps a member. Of mode `local` a member may hold the end alone.
 */
function mayDestroy({ oracle, mode, regions }: World, name: string): boolean {
  const state = oracle.state();
  const current = state.current === null ? undefined : state.epochs.get(state.current);
  const left = [...regions.values()].filter((one) => one.condition !== 'gone' && one.name !== name).map((one) => one.name);
  const isMember = (region: string): boolean => current?.members.some((member) => member.region === region) === true;
  if (left.length < 2 || current === undefined || !left.some(isMember) || (mode === 'local' && isMember(name))) return false;
  const keptIn = (region: string) => state.bases.get(region)?.findLast(({ to }) => to <= state.floor);
  const hasAllFrom = (region: string): boolean => {
    const kept = keptIn(region);
    return [...state.epochs.values()].every((epoch) => {
      if (kept !== undefined && epoch.epoch < kept.at.epoch) return true;
      return left.some((other) => {
        // A member of a pair has all that was acknowledged, and what was not is held twice before it is below an end: one may go, and none
        // that may have held it has gone yet.
        const isFirst = [...regions.values()].every(({ goneIn }) => goneIn === null || goneIn < epoch.epoch);
        const wasMember = mode === 'pair' && isFirst && epoch.members.some((member) => member.region === other);
        const has = epoch.end === null ? isMember(other) : wasMember || epoch.full.includes(other);
        const theirs = keptIn(other);
        return (
          has &&
          (theirs === undefined ||
            (kept !== undefined &&
              (theirs.at.epoch < kept.at.epoch || (theirs.at.epoch === kept.at.epoch && theirs.at.index <= kept.at.index))))
        );
      });
    });
  };
  return left.some(hasAllFrom);
}

function drawTemper(random: Random): Temper {
  const wildness = random.pick([0.2, 1, 1, 2]);
  const rots = random.pick([0, 0, 0, 0.004, 0.02]);
  const weight = (usual: number): number => usual * random.pick([0.3, 1, 1, 3]);
  return {
    faults: {
      fails: 0.01 * wildness,
      losesAnswer: 0.02 * wildness,
      comesLate: 0.02 * wildness,
      comesTwice: 0.005 * wildness,
      kills: 0.0015 * wildness,
      freezes: 0.004 * wildness,
      stepsLost: random.pick([60, 200, 600]),
    },
    goesAway: random.pick([0.001, 0.003, 0.01]) * wildness,
    comesBack: random.pick([0.01, 0.03]),
    destroyed: rots > 0 ? 0 : random.pick([0, 0.001, 0.004]),
    rots,
    takesOver: random.pick([0.0005, 0.003, 0.01]),
    job: random.pick([0.03, 0.06, 0.12]),
    jobs: {
      keep: weight(5),
      backfill: weight(3),
      fold: weight(3),
      collect: weight(3),
      read: weight(1),
      restore: weight(2),
      rehydrate: weight(2),
    },
    writes: random.pick([40, 90, 200]),
    volumes: random.between(1, VOLUMES_MAX + 1),
    losesFile: random.pick([0, 0.1, 0.5]),
    patience: random.pick([
      { memberAttemptsMax: 3, memberMsMax: 1000 },
      { memberAttemptsMax: 6, memberMsMax: 3000 },
      { memberAttemptsMax: 1000, memberMsMax: 20_000 },
    ]),
    losesOrder: random.pick([0, 0.01, 0.03]),
    handsOver: random.pick([0, 0, 0.01]),
    changesMembers: random.pick([0, 0, 0.02]),
  };
}
