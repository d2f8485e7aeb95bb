/**
 * A replica killed at each named point under its writers' hands, started again on its folder, and killed at the next: what was told stays true, at
 * once after each start, and in the store behind when nothing waits any more. HOLDFAST_SEED runs one order again.
 */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { listAll, type ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { MARK_PREFIX } from '../../../../src/ground/stores/replica-wire.ts';
import { clientOf, eventually, makePlace, startReplica } from './a-replica.ts';
import { startDying } from './dying.ts';
import { History } from './history.ts';
import { POINTS } from './points.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** After every point was met once. */
const RANDOM_ROUNDS = 8;

/** From 0 up to 1, the same for a seed. */
function dice(from: number): () => number {
  let state = from;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Whether the call was answered; what is unclear is no failure of the test, anything else is. */
async function answered<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (isHoldfastError(error, 'STORE_UNREACHABLE')) return null;
    throw error;
  }
}

/** Three writers that race for names, and two that write names of their own again and again, until the replica is gone or they have done enough. */
async function write(store: ObjectStore, history: History, round: number, chance: () => number, calls: number): Promise<void> {
  const body = (): Buffer => randomBytes(1 + Math.floor(chance() * 20_000));
  let gone = false;
  const racer = async (): Promise<void> => {
    for (let i = 0; i < calls && !gone; i++) {
      const name = `races/${round % 3}/${Math.floor(chance() * 3) + Math.floor(i / 2) * 3 + 1000 * round}`;
      const bytes = body();
      const told = await answered(store.put(name, bytes, { ifAbsent: true }));
      history.noteCreate(name, { bytes, told: told ?? 'nothing' });
      gone ||= told === null;
      if (told !== 'created') continue;
      const there = await answered(store.get(name).then((got) => got?.equals(bytes) === true));
      expect([name, there]).not.toEqual([name, false]);
    }
  };
  const owner = async (who: number): Promise<void> => {
    for (let i = 0; i < calls && !gone; i++) {
      // The last two put a name and delete it: what is not there is not deleted in the store, and dice alone may delete nothing else.
      const isByDice = i < calls - 2;
      const name = `owned/${who}/${isByDice ? Math.floor(chance() * 3) : 0}`;
      const bytes = (isByDice ? chance() < 0.3 : i === calls - 1) ? null : body();
      const told = await answered<unknown>(bytes === null ? store.delete([name]) : store.put(name, bytes));
      history.noteWrite(name, { bytes, told: told === null ? 'nothing' : 'done' });
      gone ||= told === null;
    }
  };
  await Promise.all([racer(), racer(), racer(), owner(1), owner(2)]);
}

test(`killed at every point, it keeps what it told (HOLDFAST_SEED=${seed})`, async () => {
  const chance = dice(seed);
  await using place = await makePlace();
  // What is there before a replica stands before it counts, too.
  const before = randomBytes(100);
  await place.behind.put('races/early', before);
  const history = new History();
  const unmet: string[] = [];
  for (let round = 0; round < POINTS.length + RANDOM_ROUNDS; round++) {
    const point = POINTS[round] ?? POINTS[Math.floor(chance() * POINTS.length)] ?? 'after an entry is durable';
    const nth = round < POINTS.length ? 1 : 1 + Math.floor(chance() * 12);
    const dying = await startDying(place, { kill: { point, nth }, segmentBytes: 64 * 1024, storeMs: 2 });
    if (dying.url !== null) {
      await using client = clientOf(dying.url, null, 20_000);
      const told = await answered(client.put('races/early', randomBytes(10), { ifAbsent: true }));
      expect(told).not.toBe('created');
      // Unless it dies of being read.
      const faults = await answered(history.faults((name) => client.get(name)));
      expect([point, faults ?? []]).toEqual([point, []]);
      await write(client, history, round, chance, 12);
    }
    const died = await Promise.race([dying.died, sleep(round < POINTS.length ? 10_000 : 500, null)]);
    if (died === null && round < POINTS.length) unmet.push(point);
    await dying.end();
    const how = await dying.died;
    if (!how.startsWith('SIGKILL')) throw new Error(`the replica ended by itself at '${point}': ${how}`);
  }
  expect(unmet).toEqual([]);
  await using last = await startReplica(place.folder, place.behind);
  expect(await history.faults((name) => last.client.get(name))).toEqual([]);
  const listed = (await Array.fromAsync(listAll(last.client, ''))).map(({ name }) => name);
  await eventually(
    () => last.serving.status().waiting.entries,
    (waiting) => waiting === 0,
    'everything is moved',
  );
  expect(await history.faults((name) => place.behind.get(name))).toEqual([]);
  const behind = (await Array.fromAsync(listAll(place.behind, ''))).map(({ name }) => name).filter((name) => !name.startsWith(MARK_PREFIX));
  expect(behind).toEqual(listed);
  expect(await place.behind.get('races/early')).toEqual(before);
  expect(history.counts.answered).toBeGreaterThan(20);
}, 240_000);
