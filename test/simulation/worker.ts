/**
 * A worker: one process with one open repository, which does one task after another, or several at once, with whatever view
 * of the world it was left with. It may start from nothing, from an old cache, or from one that it shares with others.
 */
import { isHoldfastError, type ErrorCode, type HoldfastError } from '../../src/domain/errors.ts';
import { createMemoryTable } from '../../src/engine/repository/memory-table.ts';
import { openRepository, type Repository } from '../../src/engine/repository/repository.ts';
import { withRetry } from '../../src/ground/stores/retrying.ts';
import { createLocalCache, type LocalCache } from './cache.ts';
import type { Process, Scheduler } from './scheduler.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

export interface Worker {
  readonly process: Process;
  readonly repository: Repository;
  readonly cache: LocalCache | null;
  /** Tasks under way. */
  tasks: number;
  /** Whether it has read the log at all. */
  synced: boolean;
}

/** What may come of a task in a world like this; all else is a violation. */
const EXPECTED: ReadonlySet<ErrorCode> = new Set([
  'STORE_UNREACHABLE',
  'CONTENTION',
  'CLAIM_LOST',
  'PARENT_MOVED',
  'VISIBILITY_CHANGED',
  'VOLUME_RETIRED',
  'SNAPSHOT_NOT_FOUND',
  'SNAPSHOT_GONE',
  'SNAPSHOT_PINNED',
]);

/** What was damaged on purpose is missed by whoever needs it, until it is healed. */
const isOfHarm = ({ losses }: World, { code, details }: HoldfastError): boolean =>
  (code === 'DAMAGED' || code === 'OBJECT_MISSING') &&
  (losses.isHarmed(String(details['object'])) || losses.wasLost(String(details['fingerprint'])));

const OLD_CACHES = 6;

export function startWorker(world: World, scheduler: Scheduler, shareable: readonly Worker[]): Worker {
  const { random, temper, key } = world;
  const process = scheduler.spawn(`w${world.serial()}`);
  const cache = chooseCache(world, shareable);
  const retrying = random.chance(0.7);
  const sleep = (ms: number): Promise<void> => process.nap(Math.ceil(ms / 20));
  const reached = process.reach(world.place);
  const store = retrying ? withRetry(reached, { random: random.next, sleep, attempts: 3, baseDelayMs: 20, maxDelayMs: 100 }) : reached;
  const environment = world.environment(process.name, () => scheduler.now() * 10, sleep);
  const table = cache === null ? createMemoryTable() : cache.view();
  const repository = openRepository({ store, key, table, environment });
  world.count(temper.sharedCaches > 0 && cache !== null ? 'processes on a shared cache' : 'processes');
  return { process, cache, tasks: 0, synced: false, repository: { ...repository, append: believing(world, repository) } };
}

function chooseCache({ random, temper, caches }: World, shareable: readonly Worker[]): LocalCache | null {
  const dice = random.next();
  const shared = shareable.filter((one) => one.cache !== null);
  if (dice < temper.sharedCaches && shared.length > 0) return random.pick(shared).cache;
  if (dice < temper.sharedCaches + temper.oldCaches && caches.length > 0)
    return random.pick(caches).copy(random.chance(0.03) ? random.pick : null);
  return random.chance(0.3) ? null : createLocalCache();
}

/** Appends, and holds against the log what the process believes that it has put there. */
function believing({ oracle, count }: World, { append }: Repository): Repository['append'] {
  return async (plan) => {
    let asked: unknown = null;
    const seq = await append(async (ledger) => (asked = await plan(ledger)) as Awaited<ReturnType<typeof plan>>);
    if (seq === null) return null;
    const there = oracle.record(seq);
    const text = JSON.stringify(asked);
    if (!there?.some((entry) => JSON.stringify(entry) === text))
      throw new Violation(`a writer believes in an entry of record ${seq} that is not there`);
    if (there.length > 1) count('entries in shared records');
    return seq;
  };
}

/** Runs a task of a worker to its end, whatever that is. Rejects with a Violation only. */
export async function runTask(world: World, worker: Worker, kind: string, body: () => Promise<void>): Promise<void> {
  worker.tasks++;
  try {
    for (let tries = world.random.between(1, 3); ; tries--) {
      try {
        await body();
        return world.count(`${kind}: done`);
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        world.count(`${kind}: ${error.code}`);
        if (!EXPECTED.has(error.code) && !isOfHarm(world, error))
          throw new Violation(`${kind} ended with ${error.code}: ${error.message} ${JSON.stringify(error.details)}`);
        // An activity that failed for a passing reason is tried again by whoever ran it, often in the same process.
        if (!error.retryable || tries <= 1) return;
      }
      await worker.process.nap(world.random.below(20));
    }
  } finally {
    worker.tasks--;
    const copy = worker.tasks === 0 && world.random.chance(0.3) ? worker.cache?.copy(null) : null;
    if (copy) world.caches.push(copy);
    if (world.caches.length > OLD_CACHES) world.caches.shift();
  }
}
