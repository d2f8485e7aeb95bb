/**
 * The zombie matrix (/docs/journal.md, section 8): a writer that is stopped before or after every single call of an append, of its own
 * failing over and of a take-over, while somebody else takes the journal over and goes on; then it wakes. It is refused, and
 * whatever it has told, or tells then, is true.
 */
import { expect, test } from '@jest/globals';
import { setTimeout as wait } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '../../../../src/domain/errors.ts';
import { Owner } from '../../../../src/engine/journal/owning/owner.ts';
import { takeOver } from '../../../../src/engine/journal/takeover/take-over.ts';
import { interceptStore } from '../../../../src/ground/stores/intercept.ts';
import { Gate, type Side } from '../owning/gate.ts';
import { brokenPromises, readAll } from '../owning/reader.ts';
import { createWorld, member, MEMBERS, ownPair, QUICK, write, type Around, type Name, type World } from '../owning/world.ts';

type Told = Map<number, string>;

/** Of the other process: the regions that it reaches. */
const reaching =
  (regions: readonly string[]): Around =>
  (store, of) =>
    interceptStore(store, async (_call, run) => {
      if (of !== 'log' && !regions.includes(of)) throw new HoldfastError('STORE_UNREACHABLE', `${of} is not reached`);
      return await run();
    });

/** What somebody else does meanwhile. */
async function overtake(world: World, told: Told, regions: readonly string[]): Promise<Owner> {
  const owner = await ownPair(await world.open(reaching(regions)), 'other');
  const seq = await owner.append([write('of the other')]);
  told.set(seq, 'write 0 0 of the other').set(await owner.flush(), 'flush');
  return owner;
}

interface Zombie {
  /** What it is stopped in: appends, flushes, and tells. */
  act(): Promise<void>;
  /** Once it is an owner. */
  owner(): Owner | null;
}

interface Scene {
  /** What happens before the step that is watched. */
  readonly before: (world: World, gate: Gate, told: Told) => Promise<Zombie>;
  readonly regions: readonly string[];
}

/** Stops the zombie at its n-th call; false when it does not make so many. */
async function stopped(scene: Scene, n: number, side: Side): Promise<boolean> {
  await using world = await createWorld();
  const gate = new Gate();
  const told: Told = new Map();
  const zombie = await scene.before(world, gate, told);
  gate.stopAt(gate.calls.length + n, side);
  const ended = Promise.allSettled([zombie.act()]);
  await Promise.race([gate.reached, ended]);
  const wasStopped = gate.isStopped;
  const context = `call ${n}, ${side}: ${JSON.stringify(gate.calls.at(-1))}, the other reaches ${scene.regions.join(' ')}`;
  try {
    if (!wasStopped) gate.release();
    else await wake(world, { scene, gate, told, ended, zombie, context });
  } finally {
    await zombie.owner()?.[Symbol.asyncDispose]();
  }
  return wasStopped;
}

interface Waking {
  readonly scene: Scene;
  readonly gate: Gate;
  readonly told: Told;
  readonly ended: Promise<readonly PromiseSettledResult<void>[]>;
  readonly zombie: Zombie;
  readonly context: string;
}

async function wake(world: World, { scene, gate, told, ended, zombie, context }: Waking): Promise<void> {
  await using other = await overtake(world, told, scene.regions);
  gate.release();
  const refusals = (await ended).flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  // Only one that had not looked yet took the journal over from the other; it is none that was overtaken.
  const last = await Promise.allSettled([
    flushed(other, told),
    ...[zombie.owner()].flatMap((one) => (one === null ? [] : [flushed(one, told)])),
  ]);
  for (const one of last) if (one.status === 'rejected') refusals.push(one.reason);
  for (const one of refusals) if (!isHoldfastError(one, 'JOURNAL_FENCED')) throw new Error(context, { cause: one });
  const live = last.filter(({ status }) => status === 'fulfilled').length;
  expect([context, live, brokenPromises(await readAll(await world.open()), told)]).toEqual([context, 1, []]);
}

const flushed = async (owner: Owner, told: Told): Promise<void> => void told.set(await owner.flush(), 'flush');

/** Stopped everywhere; where the other reaches less, which takes its time, only with the answers. */
async function matrix(scene: Scene): Promise<number> {
  let cases = 0;
  for (const side of scene.regions.length < 4 ? (['after'] as const) : (['before', 'after'] as const))
    for (let n = 1; await stopped(scene, n, side); n++) cases++;
  return cases;
}

const REACHED = [
  ['both', ['a', 'b', 'c', 'd']],
  ['the one', ['a', 'c', 'd']],
  ['the other', ['b', 'c', 'd']],
] as const;

/** Appends, flushes, and tells what it may claim by that. */
const appending = async (owner: Owner, told: Told): Promise<void> => {
  const seq = await owner.append([write('of the zombie')]);
  const flush = await owner.flush();
  told.set(seq, 'write 0 0 of the zombie').set(flush, 'flush');
};

test.each(REACHED)('stopped in an append, the other reaches %s', async (_, regions) => {
  const cases = await matrix({
    regions,
    async before(world, gate, told) {
      const owner = await ownPair(await world.open((store, of) => gate.around(store, of)), 'zombie');
      await flushed(owner, told);
      return { act: () => appending(owner, told), owner: () => owner };
    },
  });
  expect(cases).toBeGreaterThanOrEqual(2);
});

test.each([REACHED[0], REACHED[1]])('stopped in its own failing over, the other reaches %s', async (_, regions) => {
  const cases = await matrix({
    regions,
    async before(world, gate, told) {
      const dead = await world.open((store, of) => (of === 'b' ? interceptStore(store, isDead) : gate.around(store, of)));
      const opened = await takeOver(await world.open(), { owner: 'zombie', mode: 'pair', members: MEMBERS, tailLost: false });
      await dead.log.sync();
      const owner = new Owner({ journal: dead, opened, writeAhead: null, limits: QUICK, spares: [member('c'), member('d')] });
      return { act: () => appending(owner, told), owner: () => owner };
    },
  });
  expect(cases).toBeGreaterThanOrEqual(6);
});

const batchesIn = async (world: World, region: Name): Promise<number> =>
  (await world.stores.get(region)?.list('journals/j/e/'))?.length ?? 0;

const isDead = (): Promise<never> => Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'dead'));

test.each(REACHED)(
  'stopped in a take-over, the other reaches %s',
  async (_, regions) => {
    const cases = await matrix({
      regions,
      async before(world, gate, told) {
        const journal = await world.open();
        const gone = await ownPair(journal, 'gone');
        await flushed(gone, told);
        // A tail that region a alone holds.
        world.away.add('b');
        gone.flush().catch(() => undefined);
        while ((await batchesIn(world, 'a')) <= (await batchesIn(world, 'b'))) await wait(2);
        await gone[Symbol.asyncDispose]();
        world.away.delete('b');
        const waking = await world.open((store, of) => gate.around(store, of));
        let owner: Owner | null = null;
        const act = async (): Promise<void> => {
          owner = await ownPair(waking, 'zombie');
          await appending(owner, told);
        };
        return { act, owner: () => owner };
      },
    });
    expect(cases).toBeGreaterThanOrEqual(12);
  },
  120_000,
);
