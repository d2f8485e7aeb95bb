/** What the other processes do: users, collectors, sweepers, checkpointers and readers, all on the real code. */
import type { SnapshotId } from '../../src/domain/ids.ts';
import { writeCheckpoint } from '../../src/engine/repository/checkpoint.ts';
import { abortClaim } from '../../src/engine/repository/claims.ts';
import { collect } from '../../src/engine/repository/collector.ts';
import { readLocation } from '../../src/engine/repository/location.ts';
import { hideSnapshot, lapsePins, pinSnapshot, unhideSnapshot, unpin } from '../../src/engine/repository/pins.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { sweep, sweepEmptied } from '../../src/engine/repository/sweep.ts';
import { mapRoot, walkMap } from '../../src/engine/map/walk.ts';
import { isHoldfastError } from '../../src/domain/errors.ts';
import { extentOf } from '../engine/repository/ship.ts';
import { capture, nextJob } from './capturing.ts';
import { Violation } from './violation.ts';
import { contentFrom } from './volumes.ts';
import type { Worker } from './worker.ts';
import type { Request, TaskKind, World } from './world.ts';

/** A task, ready to run on a worker; what it is about is decided here, once, whatever its retries. */
export function drawTask(world: World, worker: Worker, kind: TaskKind): () => Promise<void> {
  switch (kind) {
    case 'capture': {
      const job = nextJob(world);
      return () => capture(world, worker, job);
    }
    case 'user':
      return user(world, worker);
    case 'collect': {
      const options = { owner: `gc@${world.random.between(1, 5)}`, full: world.random.chance(0.3), rewrite: world.random.chance(0.8) };
      return async () => {
        const result = await collect(worker.repository, options);
        for (const _ of result.reclaimed) world.count('snapshots reclaimed');
        if (result.packsRewritten > 0) world.count('rewrites');
      };
    }
    case 'sweep':
      return sweeper(world, worker);
    case 'checkpoint':
      return async () => {
        if (world.random.chance(0.6)) await worker.repository.sync();
        if ((await writeCheckpoint(worker.repository)) > 0) world.count('checkpoints');
      };
    case 'harm':
      return () => {
        const done = world.losses.harm(world.random, world.objects, world.oracle.table, world.oracle.valuesOf);
        if (done !== null) world.harmed(done);
        return Promise.resolve();
      };
    case 'read':
      return reader(world, worker);
  }
}

/** Sweeps from whatever view this process has: a sweep must be safe from a view of any age. */
function sweeper(world: World, { repository, process }: Worker): () => Promise<void> {
  const [fresh, quick, pause] = [world.random.chance(0.5), world.random.chance(0.3), world.random.below(200)];
  return async () => {
    if (fresh) await repository.sync();
    else if (pause > 100) await process.nap(pause);
    const objects = quick ? await sweepEmptied(repository) : (await sweep(repository)).objects;
    for (let i = 0; i < objects; i++) world.count('objects swept');
  };
}

function user(world: World, { repository, process }: Worker): () => Promise<void> {
  const { random, requests } = world;
  if (requests.length > 0 && random.chance(0.2)) {
    const request = random.pick(requests);
    return () => request.send(repository);
  }
  const pause = random.below(30);
  return async () => {
    await process.nap(pause);
    const request = decide(world, repository);
    if (!request) return;
    world.count(`user: ${request.what}`);
    requests.push(request);
    if (requests.length > 20) requests.shift();
    await request.send(repository);
    if (random.chance(0.2)) await request.send(repository);
  };
}

/** What a user wants, seeing what this process sees. */
function decide({ random, temper }: World, repository: Repository): Request | null {
  const ledger = repository.ledger();
  const what = random.weighted({ hide: 14, unhide: 5, purge: temper.purges, retire: 0.2, unpin: 1, lapse: 1, abort: 0.7 });
  if (what === 'unpin') {
    const pins = [...ledger.pins.keys()];
    if (pins.length === 0) return null;
    const pin = random.pick(pins);
    return { what, send: (on) => unpin(on, pin) };
  }
  if (what === 'lapse') return { what, send: async (on) => void (await lapsePins(on, on.environment.nowMs())) };
  if (what === 'abort') {
    const claims = [...ledger.claims.values()];
    if (claims.length === 0) return null;
    const { actor, epoch } = random.pick(claims);
    return { what, send: (on) => abortClaim(on, actor, epoch) };
  }
  if (ledger.order.size === 0) return null;
  const [lineage, ids] = random.pick([...ledger.order]);
  const newest = ids.at(-1);
  const id = random.pick([ids[0], newest, random.pick(ids), random.pick(ids)]);
  const snapshot = id === undefined ? undefined : ledger.snapshots.get(id);
  if (!snapshot) return null;
  const { version } = snapshot;
  switch (what) {
    case 'hide':
      return { what, send: (on) => hideSnapshot(on, snapshot.id, version, false) };
    case 'purge':
      return { what, send: (on) => hideSnapshot(on, snapshot.id, version, true) };
    case 'unhide':
      return { what, send: (on) => unhideSnapshot(on, snapshot.id, version) };
    case 'retire':
      return {
        what,
        send: async (on) => void (await on.append((at) => (at.retired.has(lineage) ? null : { kind: 'RETIRE', lineage }))),
      };
  }
}

/** Reads a snapshot back and compares every byte. It may end early only when the snapshot is gone, and nobody had it pinned. */
function reader(world: World, { repository, process }: Worker): () => Promise<void> {
  const { random } = world;
  const pinned = random.chance(0.8);
  const pin = `pin${world.serial()}`;
  return async () => {
    const live = [...repository.ledger().snapshots.keys()];
    if (live.length === 0) return;
    const id = random.pick(live);
    if (pinned) await pinSnapshot(repository, pin, id, repository.environment.nowMs() + 10 * random.between(50, 800), 'test');
    try {
      await readWhole(world, repository, id, () => (random.chance(0.05) ? process.nap(random.below(40)) : null));
      world.count('snapshots read back');
    } catch (error) {
      if (!isHoldfastError(error, 'SNAPSHOT_GONE')) throw error;
      const { snapshots, pins } = world.oracle.ledger();
      if (snapshots.has(id)) throw new Violation('a live snapshot is said to be gone');
      if (pins.has(pin)) throw new Violation('a pinned snapshot is gone');
    }
    if (pinned) await unpin(repository, pin);
  };
}

/** Walks a snapshot on the real code and compares it with what the volume held. */
export async function readWhole(
  world: World,
  repository: Repository,
  id: SnapshotId,
  pause: () => Promise<void> | null = () => null,
): Promise<void> {
  const snapshot = repository.ledger().snapshots.get(id);
  if (!snapshot) return;
  const expected = new Map(contentFrom(world.volumes.known(id)));
  for await (const value of walkMap(mapRoot(snapshot.root, snapshot.rootLocation), repository.readNode)) {
    if (value.level > 0) continue;
    await pause();
    const hint = value.location === null ? null : readLocation(value.location, 0);
    const plain = await repository.values.readExtent(value.fingerprint, hint);
    const wanted = expected.get(value.index) ?? 0;
    if (!plain.equals(extentOf(wanted))) throw new Violation(`extent ${value.index} of ${id} is read with other bytes`);
    expected.delete(value.index);
  }
  if (expected.size > 0) throw new Violation(`${expected.size} extents of ${id} are not read at all`);
}
