/**
 * An archiver over a store that loses answers, lands puts late and is away at times: it dies at each error and begins anew.
 *
 * It merges and writes checkpoints as it goes. Whatever happened, each offset is archived exactly once (T1), the past state at the end is what the table is, and a sweep leaves
 * just what the log names.
 * HOLDFAST_SEED=n repeats one case.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { Duck } from '../../../../src/engine/tables/archive/duck.ts';
import { claimRole, openTableArchive } from '../../../../src/engine/tables/archive/archive.ts';
import { mergeSegments, planMerge } from '../../../../src/engine/tables/archive/merging.ts';
import { packsOf, sweep } from '../../../../src/engine/tables/archive/sweep.ts';
import { buildPastState } from '../../../../src/engine/tables/past-state/past-state.ts';
import { loadEvents } from '../../../../src/engine/tables/past-state/loading.ts';
import { planPastState } from '../../../../src/engine/tables/past-state/plan.ts';
import { makeSnapshot } from '../../../../src/engine/tables/past-state/snapshot.ts';
import { seededFaults, seededRandom, withFaults } from '../../../../src/ground/stores/faulty.ts';
import { createMemoryStore, type MemoryStore } from '../../memory-store.ts';
import { environment, KEY } from '../../repository/world.ts';
import { archiveSome, heartbeat, idOf, openArchiver, type Archiver } from '../archiver.ts';
import { referenceHash } from '../reference-proof.ts';
import { createSource, type Random, type Source } from '../source-model.ts';

const seeds =
  process.env['HOLDFAST_SEED'] === undefined ? Array.from({ length: 12 }, (_, i) => i + 1) : [Number(process.env['HOLDFAST_SEED'])];

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

/** One life of an archiver: until an error ends it, or everything is archived. */
async function live(open: () => Promise<Archiver>, source: Source, random: Random): Promise<'died' | 'done'> {
  try {
    const archiver = await open();
    const snapshots = await claimRole(archiver.archive, 'snapshots');
    for (;;) {
      await archiveSome(archiver, duck, source, random);
      await archiver.archive.checkpoint();
      const merge = planMerge(archiver.archive.known(), { width: 3, tierBytes: 1 << 20, bytesMax: 1 << 24 });
      if (merge !== null) await mergeSegments(archiver.archive, duck, snapshots, merge);
      const { partitions } = archiver.archive.known();
      if (random() < 0.3) await makeSnapshot(archiver.archive, duck, snapshots, idOf(Math.floor(random() * source.topic.length)));
      if (source.topic.every((records, partition) => partitions.get(idOf(partition))?.next === records.length)) return 'done';
    }
  } catch (error) {
    if (isHoldfastError(error, 'STORE_UNREACHABLE')) return 'died';
    throw error;
  }
}

/** Every offset with a row, by partition, over all segments. */
async function archivedOffsets({ archive }: Archiver): Promise<Map<number, number[]>> {
  const plan = planPastState(archive.known(), { kind: 'cut', cut: 1n << 127n }, { withoutBases: true });
  if (plan === null) throw new Error('no plan');
  await loadEvents(archive, duck, plan.partitions);
  const offsets = new Map<number, number[]>();
  for (const [partition, offset] of await duck.rows('SELECT _partition, _offset FROM segments ORDER BY _partition, _offset'))
    offsets.set(Number(partition), [...(offsets.get(Number(partition)) ?? []), Number(offset)]);
  return offsets;
}

/** From its newest checkpoint and from the first record: one state. */
async function expectSameFold(store: MemoryStore): Promise<void> {
  const bare = createMemoryStore();
  for (const [name, bytes] of store.objects) if (!name.startsWith('checkpoint')) bare.objects.set(name, bytes);
  const fold = (from: MemoryStore) => openTableArchive({ store: from, key: KEY, environment }).sync();
  expect([...store.objects.keys()].some((name) => name.startsWith('checkpoint/'))).toBe(true);
  expect(await fold(store)).toEqual(await fold(bare));
}

test.each(seeds)('seed %i: each offset once, and nothing else', async (seed) => {
  const random = seededRandom(seed);
  const source = createSource(random, { keys: 12, partitions: 3 });
  for (let i = 0; i < 80; i++) {
    source.commit();
    if (random() < 0.05) source.resend();
  }
  const memory = createMemoryStore();
  // Gets fail seldom: a new life reads the whole log, which grows with the lives.
  const puts = seededFaults({ seed, chances: { 'lost-answer': 0.06, unavailable: 0.05, late: 0.06 }, operations: ['put'] });
  const gets = seededFaults({ seed: seed + 1, chances: { unavailable: 0.001 }, operations: ['get'] });
  const faulty = withFaults(memory, (call) => (call.operation === 'put' ? puts(call) : gets(call)));
  let lives = 0;
  while ((await live(() => openArchiver(faulty, source), source, random)) === 'died') expect(++lives).toBeLessThan(2000);
  await faulty.settled();
  expect(Object.keys(faulty.injected())).not.toEqual([]);

  const archiver = await openArchiver(memory, source);
  await expectSameFold(memory);
  await claimRole(archiver.archive, 'snapshots');
  await sweep(archiver.archive);
  const packs = [...memory.objects.keys()].filter((name) => /^(segment|snapshot)\//.test(name));
  expect(packs.sort()).toEqual([...packsOf(archiver.archive.known()).keys()].sort());
  const offsets = await archivedOffsets(archiver);
  for (const partition of archiver.archive.known().partitions.values()) {
    expect(partition.next).toBe(source.topic[partition.number]?.length);
    const skipped = partition.parts.reduce((sum, part) => sum + part.skipped + part.truncates.length, 0);
    const rows = offsets.get(partition.number) ?? [];
    expect(new Set(rows).size).toBe(rows.length);
    expect(rows.length + skipped).toBe(partition.next);
    expect(partition.parts.flatMap((part) => part.gaps)).toEqual([]);
  }
  await heartbeat(archiver, source);
  const built = await buildPastState(archiver.archive, duck, { kind: 'time', us: source.latestUs() });
  expect(built).toMatchObject({ kind: 'built', proof: { hash: referenceHash(source.tableAt(source.latestUs())) } });
});
