/**
 * Every kind of object of a table archive, cut, flipped, swapped and gone: a past state is the right one or none, what is said names what is
 * wrong, and what does not need the object goes on.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { claimRole, openTableArchive } from '../../../../src/engine/tables/archive/archive.ts';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { mergeSegments, planMerge } from '../../../../src/engine/tables/archive/merging.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../../../../src/engine/tables/past-state/snapshot.ts';
import { createMemoryStore, type MemoryStore } from '../../memory-store.ts';
import { environment, KEY } from '../../repository/world.ts';
import { openPlain, plain } from '../plain-archive.ts';

const T = 1_700_000_000_000;
const us = (ms: number): number => (T + ms) * 1000;
const CHECKPOINT_EVERY = 4;
const BATCHES = 8;
/** Before the merged segment's end, between it and the snapshots, after them. */
const TIMES = [1, 4, 7];

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

interface Whole {
  readonly objects: ReadonlyMap<string, Buffer>;
  /** Past state by time: its hash. */
  readonly hashes: ReadonlyMap<number, string>;
}

/** Two partitions, a merged segment, snapshots in the middle, checkpoints. */
async function whole(): Promise<Whole> {
  const store = createMemoryStore();
  const world = await openPlain(['t/0', 't/1'], store);
  const keeper = await claimRole(world.archive, 'snapshots');
  const checkpointing = openTableArchive({ store, key: KEY, environment, checkpointRecords: CHECKPOINT_EVERY });
  for (let i = 0; i < BATCHES; i++) {
    await world.put(duck, `t/${i % 2}`, [plain(i >> 1, T + i, i % 3, { v: i })]);
    if (i === 3)
      await mergeSegments(
        world.archive,
        duck,
        keeper,
        planMerge(world.archive.known(), { width: 4, tierBytes: 1 << 20, bytesMax: 1 << 24 })!,
      );
    if (i === 5) for (const id of ['t/0', 't/1']) await makeSnapshot(world.archive, duck, keeper, id);
    await checkpointing.sync();
    await checkpointing.checkpoint();
  }
  const parts = [...world.archive.known().partitions.values()].map(({ id, next }) => ({ partition: id, next, throughUs: us(20) }));
  await world.archive.append(() => ({ kind: 'HEARTBEAT', epoch: world.epoch, parts }));
  const hashes = new Map<number, string>();
  for (const ms of TIMES) hashes.set(ms, await past(store, ms));
  return { objects: new Map(store.objects), hashes };
}

/** The hash of a past state of an archive opened anew; or the code of what is said instead. */
async function past(store: MemoryStore, ms: number): Promise<string> {
  try {
    const archive = openTableArchive({ store, key: KEY, environment });
    await archive.sync();
    await using fresh = await Duck.open({ memoryBytes: 256e6, threads: 1 });
    const built = await buildPastState(archive, fresh, { kind: 'time', us: us(ms) });
    return built.kind === 'built' ? built.proof.hash : built.kind;
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
}

const kindOf = (name: string): string => name.split('/')[0] ?? '';

const HARM: Readonly<Record<string, (bytes: Buffer, others: readonly Buffer[]) => Buffer | null>> = {
  cut: (bytes) => bytes.subarray(0, bytes.length - 7),
  flipped: (bytes) => {
    const harmed = Buffer.from(bytes);
    harmed[bytes.length >>> 1] = (harmed[bytes.length >>> 1] ?? 0) ^ 1;
    return harmed;
  },
  empty: () => Buffer.alloc(0),
  swapped: (bytes, others) => others.find((other) => !other.equals(bytes)) ?? Buffer.alloc(0),
  gone: () => null,
};

/** What may be said instead of the past state, by the kind of object. A checkpoint is passed over: the log says the same. */
const SAID: Readonly<Record<string, readonly string[]>> = {
  log: ['DAMAGED', 'LOG_DIVERGED', 'LOG_GAP', 'OBJECT_MISSING', 'outside'],
  segment: ['DAMAGED', 'OBJECT_MISSING'],
  snapshot: ['DAMAGED', 'OBJECT_MISSING'],
  checkpoint: [],
  'checkpoint-part': [],
};

test.each(Object.keys(HARM))('%s: the right past state or none, for each object', async (how) => {
  const { objects, hashes } = await whole();
  expect([...new Set([...objects.keys()].map(kindOf))].sort()).toEqual(Object.keys(SAID).sort());
  const seen = new Map<string, Set<string>>();
  for (const [name, bytes] of objects) {
    const kind = kindOf(name);
    const store = createMemoryStore();
    for (const [other, content] of objects) store.objects.set(other, content);
    const others = [...objects].flatMap(([other, content]) => (kindOf(other) === kind ? [content] : []));
    const harmed = HARM[how]?.(bytes, others) ?? null;
    if (harmed === null) store.objects.delete(name);
    else store.objects.set(name, harmed);
    for (const ms of TIMES) {
      const outcome = await past(store, ms);
      const right = outcome === hashes.get(ms);
      if (!right && !SAID[kind]?.includes(outcome)) throw new Error(`${name} ${how}, at ${ms}: ${outcome}, not ${hashes.get(ms)}`);
      seen.set(kind, (seen.get(kind) ?? new Set()).add(right ? 'right' : 'none'));
    }
  }
  // What needs no segment or snapshot that is harmed goes on; what needs it does not.
  for (const kind of ['segment', 'snapshot']) expect([kind, ...(seen.get(kind) ?? [])].sort()).toEqual([kind, 'none', 'right'].sort());
  for (const kind of ['checkpoint', 'checkpoint-part']) expect([...(seen.get(kind) ?? [])]).toEqual(['right']);
});

test('a damaged segment stops neither archiving nor snapshots of other partitions; a merge over it changes nothing', async () => {
  const store = createMemoryStore();
  const { archive, put } = await openPlain(['t/0', 't/1'], store);
  const keeper = await claimRole(archive, 'snapshots');
  for (let i = 0; i < 4; i++) await put(duck, `t/${i % 2}`, [plain(i >> 1, T + i, i, { v: i })]);
  const [pack = ''] =
    archive
      .known()
      .partitions.get('t/0')
      ?.parts[0]?.file?.packs.map(({ name }) => name) ?? [];
  store.objects.set(pack, Buffer.from('other bytes'));
  await put(duck, 't/0', [plain(2, T + 9, 9, { v: 9 })]);
  await expect(makeSnapshot(archive, duck, keeper, 't/0')).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(await makeSnapshot(archive, duck, keeper, 't/1')).toMatchObject({ offset: 2, rows: 2 });
  const before = archive.known();
  const plan = planMerge(before, { width: 4, tierBytes: 1 << 20, bytesMax: 1 << 24 })!;
  await expect(mergeSegments(archive, duck, keeper, plan)).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(archive.known().partitions).toEqual(before.partitions);
  expect([...store.objects.keys()].filter((name) => name.startsWith('segment/'))).toHaveLength(5);
});
