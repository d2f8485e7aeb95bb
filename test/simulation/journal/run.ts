/**
 * One run of the journal: a seed, from no journal to one that is whole again.
 *
 * For `steps` steps owners come and go and write, jobs run beside them, places go away and come back. Then every process dies, all that
 * was late arrives, and with nothing going wrong any more one owner has to serve and both its members have to come to hold everything.
 */
import { isHoldfastError, type ErrorCode } from '../../../src/domain/errors.ts';
import { createScheduler, type Process, type Scheduler } from '../scheduler.ts';
import type { RunResult } from '../seeds.ts';
import { Violation } from '../violation.ts';
import { rot } from './damage.ts';
import { goneIn, readHarmed } from './harmed.ts';
import { runJob } from './jobs.ts';
import { crash, type Machine } from './machines.ts';
import { serve } from './node.ts';
import { checkPoints } from './points.ts';
import { isNeededBy } from './reference.ts';
import { isUsable } from './standing.ts';
import { createWorld, type JobKind, type Mode, type World } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  readonly steps: number;
  readonly mode: Mode;
  readonly trace: ((line: string) => void) | null;
}

/** What may come of a process in a world like this; all else is a violation. */
const EXPECTED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'STORE_UNREACHABLE',
  'CONTENTION',
  'JOURNAL_FENCED',
  'RECORD_REFUSED',
  'TAIL_LOST',
  'WRITE_AHEAD_FAILED',
  'POINT_GONE',
  'OBJECT_MISSING',
]);

/** The same where objects rot. */
const OF_DAMAGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['DAMAGED', 'CHAIN_BROKEN', 'BATCH_FOREIGN']);

const OWNERS_MAX = 4;
const PROCESSES_MAX = 9;
/** Chance that a region with a hole in an open chain is the only one that answers for a while. */
const ALONE = 0.5;
const POINTS_EVERY = 40;
/** Steps of the quiet end at the most, and between two looks at how far it is. */
const QUIET_STEPS = 18_000;
const QUIET_LOOK = 20;
const QUIET_WRITES = 3;
const UNPLANNED_WRITES = 30;
/** Chance that a run ends with a reading of what is left after some of it was harmed. */
const READS_HARMED = 0.25;
/** Chance that a run ends with a failback. */
const FAILS_BACK = 0.5;

interface Running {
  readonly kind: JobKind | 'owner';
  readonly process: Process;
  readonly machine: Machine | null;
}

interface Run {
  readonly world: World;
  readonly scheduler: Scheduler;
  running: readonly Running[];
}

export async function runSeed({ seed, steps, mode, trace }: RunOptions): Promise<RunResult> {
  const world = createWorld({ seed, mode, now: () => scheduler.now(), trace });
  const scheduler: Scheduler = createScheduler({
    random: world.random,
    faults: world.temper.faults,
    onDeath: (dead) => ended(run, dead),
    count: world.count,
    trace,
  });
  const run: Run = { world, scheduler, running: [] };
  let violation: string | null = null;
  try {
    await live(run, steps);
    await comeToRest(run);
  } catch (error) {
    violation = error instanceof Violation ? error.message : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  return { seed, steps: scheduler.now(), records: world.oracle.state().n, violation, stats: world.stats };
}

function ended(run: Run, process: Process): void {
  const { world } = run;
  const gone = run.running.find((one) => one.process === process);
  run.running = run.running.filter((one) => one !== gone);
  if (gone?.machine?.process === process) crash(gone.machine, world.random);
}

function begin(run: Run, kind: Running['kind'], machine: Machine | null, body: (process: Process) => Promise<void>): void {
  const { world, scheduler } = run;
  const process = scheduler.spawn(machine === null ? `${kind}${world.serial()}` : `${machine.name}.${world.serial()}`);
  run.running = [...run.running, { kind, process, machine }];
  if (machine !== null) machine.process = process;
  world.count(`begun: ${kind}`);
  body(process)
    .then(
      () => undefined,
      (error: unknown) => {
        if (isHoldfastError(error) && (EXPECTED.has(error.code) || (world.rots !== null && OF_DAMAGE.has(error.code))))
          return world.count(`${kind}: ${error.code}`);
        world.failed ??= error instanceof Error ? error : new Error(String(error));
      },
    )
    .finally(() => {
      // One that was killed is never answered, and does not come here.
      scheduler.end(process);
      ended(run, process);
    });
}

function startOwner(run: Run): void {
  const { world } = run;
  // A file has one process; without files any number believe that they are the one.
  const free = world.machines.filter(({ process }) => world.mode === 'pair' || process === null);
  if (free.length === 0) return;
  const machine = world.random.pick(free);
  if (machine.disk !== null && !world.calm && world.random.chance(world.temper.losesFile)) {
    world.count('files lost');
    machine.disk = null;
  }
  begin(run, 'owner', machine, (process) => serve(world, process, machine));
}

const startJob = (run: Run, kind: JobKind): void => begin(run, kind, null, (process) => runJob(run.world, process, kind));

async function live(run: Run, steps: number): Promise<void> {
  const { scheduler } = run;
  startOwner(run);
  while (scheduler.now() < steps) {
    disturb(run);
    await step(run);
  }
}

async function step(run: Run): Promise<void> {
  const { scheduler, world } = run;
  await scheduler.step();
  if (world.failed !== null) throw world.failed;
  if (scheduler.now() % POINTS_EVERY === 0) checkPoints(world, 'some');
}

function disturb(run: Run): void {
  const { world, running } = run;
  const { random, temper, regions, log } = world;
  const owners = running.filter(({ kind }) => kind === 'owner').length;
  if (random.chance(temper.goesAway)) {
    const place = random.pick([...regions.values(), log]);
    if (place.condition === 'here') place.condition = 'away';
  }
  if (random.chance(temper.comesBack)) comeBack(world);
  if (random.chance(temper.rots) && rot(world) && owners < OWNERS_MAX && random.chance(ALONE)) {
    // The worst that can follow: whoever takes over hears of this region alone.
    for (const region of regions.values()) if (region.name !== world.rots && region.condition === 'here') region.condition = 'away';
    startOwner(run);
  }
  if (random.chance(temper.destroyed)) world.destroy(random.pick([...regions.keys()]));
  if ((random.chance(temper.takesOver) || (owners === 0 && random.chance(0.05))) && owners < OWNERS_MAX) startOwner(run);
  if (random.chance(temper.job) && running.length < PROCESSES_MAX) startJob(run, random.weighted(temper.jobs));
}

function comeBack({ regions, log, random }: World): void {
  const away = [...regions.values(), log].filter(({ condition }) => condition === 'away');
  if (away.length > 0) random.pick(away).condition = 'here';
}

async function comeToRest(run: Run): Promise<void> {
  const { world, scheduler } = run;
  for (const { process } of run.running) {
    scheduler.end(process);
    ended(run, process);
  }
  world.calm = true;
  world.writesLeft = QUIET_WRITES;
  world.behind = null;
  world.handOverWanted = false;
  for (const place of [...world.regions.values(), world.log]) if (place.condition === 'away') place.condition = 'here';
  scheduler.stopFaults();
  for (const { standing } of world.machines) if (standing !== null) standing.ended = true;
  await rest(run);
  if (failBack(run)) await rest(run);
  checkPoints(world, 'all');
  if (world.random.chance(READS_HARMED)) await readAfterHarm(run);
}

async function readAfterHarm(run: Run): Promise<void> {
  const { world, scheduler } = run;
  for (const { process } of run.running) {
    scheduler.end(process);
    ended(run, process);
  }
  begin(run, 'read', null, (process) => readHarmed(world, process, world.journalOf(process)));
  for (let i = 0; i < QUIET_STEPS && run.running.length > 0; i++) {
    await scheduler.step();
    if (world.failed !== null) throw world.failed;
  }
}

/** A machine that was overtaken gets the journal again, as planned; false: there is none, or this run does without. */
function failBack(run: Run): boolean {
  const { world } = run;
  const { mode, random } = world;
  if (!random.chance(FAILS_BACK)) return false;
  const overtaken = world.machines.filter(
    (machine) => machine.standing !== null && isUsable(machine.standing) && (mode === 'pair' || machine.process === null),
  );
  if (overtaken.length === 0) return false;
  const machine = random.pick(overtaken);
  world.failingBack = true;
  // Some are not planned: whoever owns it goes on writing, and has to lose it all the same.
  const isPlanned = random.chance(0.7);
  world.writesLeft = isPlanned ? QUIET_WRITES : UNPLANNED_WRITES;
  if (!isPlanned) machine.standing = null;
  begin(run, 'owner', machine, (process) => serve(world, process, machine));
  return true;
}

async function rest(run: Run): Promise<void> {
  const { world } = run;
  for (let i = 0; i < QUIET_STEPS; i++) {
    if (i % QUIET_LOOK === 0) {
      if (isAtRest(world)) break;
      if (!run.running.some(({ kind }) => kind === 'owner')) startOwner(run);
      if (!run.running.some(({ kind }) => kind === 'backfill')) startJob(run, 'backfill');
    }
    await step(run);
  }
  if (!isAtRest(world)) throw new Violation(`the journal does not come to rest: ${restlessness(world).join('; ')}`);
}

const isAtRest = (world: World): boolean => restlessness(world).length === 0;

/** What is not yet as it has to be in the end. */
function restlessness(world: World): string[] {
  const { oracle, writesLeft, mode, behind, failingBack } = world;
  const state = oracle.state();
  const current = state.current === null ? undefined : state.epochs.get(state.current);
  const found: string[] = [];
  if (writesLeft > 0 || current === undefined || failingBack) found.push('no owner serves');
  if (behind !== 0) found.push('not everything is where it belongs');
  if (mode === 'pair' && current?.members.length !== 2) found.push('there are not two members');
  for (const { region } of current?.members ?? [])
    for (const { epoch, end, full } of state.epochs.values())
      if (end !== null && end.index >= 0 && !full.includes(region) && isNeededBy(state, region, epoch, end.index))
        if (!waitsForFloor(world, region, epoch)) found.push(`${region} does not hold epoch ${epoch}`);
  return found;
}

/**
 * Whether all that a region lacks of an epoch lies below a base that it has: it needs that until the floor has risen, which it does not in
 * the quiet. Its own was harmed, and whoever had it, too, has collected it since below a base of its own.
 */
function waitsForFloor(world: World, region: string, epoch: number): boolean {
  if (world.rots !== region) return false;
  const state = world.oracle.state();
  const at = state.bases.get(region)?.at(-1)?.at;
  const lacks = goneIn(world).filter((batch) => batch.epoch === epoch && isNeededBy(state, region, epoch, batch.index));
  return at !== undefined && lacks.length > 0 && lacks.every(({ index }) => epoch < at.epoch || (epoch === at.epoch && index <= at.index));
}
