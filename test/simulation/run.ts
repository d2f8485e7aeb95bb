/**
 * One run: a seed, from an empty store to an empty store.
 *
 * For `steps` steps workers come and go and do what the seed draws. Then everything stops, what was late arrives, what was
 * damaged is healed, and the end is checked: every live snapshot reads back, everything hidden is freed once collected, and when all is retired,
 * hidden, collected and swept, the store holds nothing but the log and checkpoints.
 */
import { audit } from '../../src/engine/repository/audit.ts';
import { writeCheckpoint } from '../../src/engine/repository/checkpoint.ts';
import { abortClaim } from '../../src/engine/repository/claims.ts';
import { collect } from '../../src/engine/repository/collector.ts';
import { createMemoryTable } from '../../src/engine/repository/memory-table.ts';
import { packNameOf, parseClaimObject } from '../../src/engine/repository/object-names.ts';
import { hideSnapshot, unpin } from '../../src/engine/repository/pins.ts';
import { openRepository, type Repository } from '../../src/engine/repository/repository.ts';
import { sweep } from '../../src/engine/repository/sweep.ts';
import { healAll } from './healing.ts';
import { createScheduler, type Scheduler } from './scheduler.ts';
import type { RunResult } from './seeds.ts';
import { describeState } from './state.ts';
import { drawTask, readWhole } from './tasks.ts';
import { Violation } from './violation.ts';
import { runTask, startWorker, type Worker } from './worker.ts';
import { createWorld, type World } from './world.ts';

/** Store changes between two cold folds. */
const COLD_EVERY = 40;
const WORKERS_MAX = 10;

export interface RunOptions {
  readonly seed: number;
  readonly steps: number;
  /** Busy and faulty in every way at once, instead of as the seed draws it. */
  readonly hot: boolean;
  /** Whether packs are deleted, cut and rot meanwhile. */
  readonly harmful: boolean;
  readonly trace: ((line: string) => void) | null;
}

export async function runSeed({ seed, steps, hot, harmful, trace }: RunOptions): Promise<RunResult> {
  const world = createWorld(seed, hot, harmful, trace);
  let workers: Worker[] = [];
  const scheduler = createScheduler({
    random: world.random,
    faults: world.temper.faults,
    onDeath: (dead) => void (workers = workers.filter((one) => one.process !== dead)),
    count: world.count,
    trace,
  });
  let violation: string | null = null;
  try {
    await live(
      world,
      scheduler,
      steps,
      () => workers,
      (next) => void (workers = next),
    );
    scheduler.stopFaults();
    await finish(world);
  } catch (error) {
    violation = error instanceof Violation ? error.message : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  return { seed, steps: scheduler.now(), records: world.oracle.ledger().n, violation, stats: world.stats };
}

async function live(
  world: World,
  scheduler: Scheduler,
  steps: number,
  workers: () => readonly Worker[],
  setWorkers: (next: Worker[]) => void,
): Promise<void> {
  const { random, temper, objects, oracle } = world;
  const failed: unknown[] = [];
  let coldAt = COLD_EVERY;

  const begin = (): void => {
    const kind = random.weighted(temper.tasks);
    const idle = workers().filter((one) => one.tasks === 0);
    const reuse = random.next();
    let worker: Worker | undefined;
    if (reuse < temper.together && workers().length > 0) worker = random.pick(workers());
    else if (reuse < temper.together + 0.4 && idle.length > 0) worker = random.pick(idle);
    else {
      if (workers().length >= WORKERS_MAX) {
        const [gone] = idle;
        if (!gone) return;
        scheduler.end(gone.process);
        setWorkers(workers().filter((one) => one !== gone));
      }
      worker = startWorker(world, scheduler, workers());
      setWorkers([...workers(), worker]);
    }
    const chosen = worker;
    const body = drawTask(world, chosen, kind);
    trace(chosen, kind);
    runTask(world, chosen, kind, async () => {
      if (!chosen.synced) await chosen.repository.sync();
      chosen.synced = true;
      await body();
    }).catch((error: unknown) => void failed.push(error));
  };
  const trace = (worker: Worker, kind: string): void => world.count(`begun: ${kind}${worker.tasks > 0 ? ' beside another' : ''}`);

  while (scheduler.now() < steps) {
    const busy = workers().reduce((sum, one) => sum + one.tasks, 0);
    if (busy < temper.tasksMax || random.chance(0.002)) begin();
    await scheduler.step();
    if (failed.length > 0) throw failed[0];
    if (objects.changes() < coldAt) continue;
    coldAt = objects.changes() + COLD_EVERY;
    await oracle.checkCold();
  }
}

async function finish(world: World): Promise<void> {
  const { objects, oracle, key } = world;
  await oracle.checkCold();
  const repository = openRepository({
    store: objects.instant,
    key,
    table: createMemoryTable(),
    environment: world.environment(
      'end',
      () => 0,
      async () => undefined,
    ),
  });
  await repository.sync();
  if (describeState(repository.ledger(), repository.table) !== describeState(oracle.ledger(), oracle.table))
    throw new Violation('a cold start differs from the running fold');
  if (world.harmful) await healAll(world, repository);
  for (const id of repository.ledger().snapshots.keys()) await readWhole(world, repository, id);
  const [problem] = await audit(repository);
  if (problem) throw new Violation(`the audit finds: ${JSON.stringify(problem)}`);
  for (const pin of [...repository.ledger().pins.keys()]) await unpin(repository, pin);
  for (const { actor, epoch } of [...repository.ledger().claims.values()]) await abortClaim(repository, actor, epoch);
  await hideAll(repository);
  await settle(world, repository);
  for (const [lineage, ids] of repository.ledger().order)
    if (ids.length > (repository.ledger().retired.has(lineage) ? 0 : 1)) throw new Violation('hidden snapshots are not freed');
  for (const lineage of [...repository.ledger().order.keys()]) await repository.append(() => ({ kind: 'RETIRE', lineage }));
  await settle(world, repository);
  const { rows, packs } = repository.table.size();
  if (repository.ledger().snapshots.size + rows + packs > 0) throw new Violation('something is held though every snapshot is gone');
  const [orphan] = objects.list('a/', {});
  if (orphan) throw new Violation(`an orphan after the last sweep: ${orphan.name}`);
  await oracle.checkCold();
}

async function hideAll(repository: Repository): Promise<void> {
  for (const { id, version, hidden } of [...repository.ledger().snapshots.values()])
    if (!hidden) await hideSnapshot(repository, id, version, false);
}

/** Collects until nothing moves any more, then writes a checkpoint and sweeps. */
async function settle({ objects, oracle }: World, repository: Repository): Promise<void> {
  for (let round = 0; ; round++) {
    const result = await collect(repository, { owner: 'end@1', full: true });
    if (result.reclaimed.length === 0 && result.packsRewritten === 0) break;
    if (round > 60) throw new Violation('collection does not come to rest');
  }
  await writeCheckpoint(repository);
  await sweep(repository);
  const stored = objects
    .list('a/', { limit: 100_000 })
    .map(({ name }) => name)
    .filter((name) => parseClaimObject(name)?.kind === 'pack');
  const inUse = [...oracle.table.packs()].map(({ id }) => packNameOf(id));
  if (stored.join() !== inUse.sort().join()) throw new Violation('packs in the store differ from packs in use');
  for (const pack of oracle.table.packs())
    if (pack.liveBlobs < pack.blobs && pack.liveBytes * 2 <= pack.bytes) throw new Violation('a mostly dead pack survives the rewrite');
}
