/**
 * Past states against a database that remembers: whatever it does, however it is archived, at whatever moment it is asked for,
 * a past state is what the table was, and its proof is the same from any base.
 *
 * HOLDFAST_SEED=n repeats one case, HOLDFAST_RUNS=n runs that many, from HOLDFAST_FROM=n on. A failure names its seed.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { claimRole } from '../../../src/engine/tables/archive/archive.ts';
import type { SnapshotEntry } from '../../../src/engine/tables/archive/entries.ts';
import { cellColumn } from '../../../src/engine/tables/archive/rows.ts';
import { Duck } from '../../../src/engine/tables/archive/duck.ts';
import { mergeSegments, planMerge, type MergeLimits } from '../../../src/engine/tables/archive/merging.ts';
import { pointSnapshot } from '../../../src/engine/tables/archive/pointers.ts';
import { applyRetention, planRetention } from '../../../src/engine/tables/archive/retention.ts';
import { buildPastState, type PastOutcome } from '../../../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../../../src/engine/tables/past-state/snapshot.ts';
import { windowOf } from '../../../src/engine/tables/past-state/window.ts';
import { seededRandom } from '../../../src/ground/stores/faulty.ts';
import { positionOf } from '../../../src/engine/tables/events/position.ts';
import { createMemoryStore } from '../memory-store.ts';
import { archiveSome, cautiousHeartbeat, heartbeat, idOf, nextBatch, openArchiver, type Archiver } from './archiver.ts';
import { archiveBatch } from '../../../src/engine/tables/archive/writer.ts';
import { referenceHash } from './reference-proof.ts';
import { createSource, type ModelTable, type Random, type Source } from './source-model.ts';

const seeds =
  process.env['HOLDFAST_SEED'] === undefined
    ? Array.from({ length: Number(process.env['HOLDFAST_RUNS'] ?? 25) }, (_, i) => i + Number(process.env['HOLDFAST_FROM'] ?? 1))
    : [Number(process.env['HOLDFAST_SEED'])];

let duck: Duck;
beforeAll(async () => {
  duck = await Duck.open({ memoryBytes: 512e6, threads: 1 });
});
afterAll(() => duck[Symbol.asyncDispose]());

async function builtTable(built: Extract<PastOutcome, { kind: 'built' }>): Promise<ModelTable> {
  const cells = built.columns.map(({ number }) => cellColumn(number));
  const rows = await duck.rows(`SELECT ${['_key', ...cells].join(', ')} FROM past`);
  return new Map(
    rows.map(([key, ...texts]) => [
      String(key),
      new Map(texts.flatMap((text, i) => (text === null ? [] : [[built.columns[i]!.name, String(text)] as const]))),
    ]),
  );
}

const plainTable = (table: ModelTable) => Object.fromEntries([...table].map(([key, row]) => [key, Object.fromEntries(row)]));

/**
 * `sinceUs`: where retention let the window begin. What it took may be missed before that, and where the connector sends again from
 * before it; but then the answer is that it cannot be had.
 */
async function checkAt(archiver: Archiver, source: Source, timeUs: number, sinceUs: number): Promise<void> {
  const expected = source.tableAt(timeUs);
  const built = await buildPastState(archiver.archive, duck, { kind: 'time', us: timeUs });
  if (built.kind !== 'built') {
    if (timeUs < sinceUs || sentAgainFromBefore(archiver)) return;
    throw new Error(`${timeUs} is outside: ${JSON.stringify(built)}`);
  }
  expect(plainTable(await builtTable(built))).toEqual(plainTable(expected));
  expect(built.proof).toMatchObject({ rows: expected.size, hash: referenceHash(expected), unresolved: 0, contradicted: 0 });
  const scratch = await buildPastState(archiver.archive, duck, { kind: 'time', us: timeUs }, { withoutBases: true });
  if (sinceUs === 0 || scratch.kind === 'built')
    expect(scratch).toMatchObject({ kind: 'built', proof: { hash: built.proof.hash, cut: built.proof.cut } });
  if (built.proof.cut === null) return;
  const again = await buildPastState(archiver.archive, duck, { kind: 'cut', cut: BigInt(`0x${built.proof.cut}`) });
  expect(again).toMatchObject({ kind: 'built', proof: { hash: built.proof.hash } });
}

/** Just before and just after a transaction, by its number and by the places of its events: whole, or not to be had. */
async function checkTransaction(archiver: Archiver, source: Source, random: Random, all: boolean): Promise<void> {
  const at = 1 + Math.floor(random() * (source.commits.length - 1));
  const commit = source.commits[at];
  const before = source.commits[at - 1];
  const place = commit?.places[Math.floor(random() * commit.places.length)];
  if (commit === undefined || before === undefined || place === undefined) return;
  const id = String(commit.transaction);
  const position = positionOf(BigInt(place[0]), BigInt(place[1]))!;
  const cases = [
    [{ kind: 'transaction', id, edge: 'before' }, before.after],
    [{ kind: 'transaction', id, edge: 'after' }, commit.after],
    [{ kind: 'position', position }, before.after],
  ] as const;
  for (const [target, expected] of cases) {
    const built = await buildPastState(archiver.archive, duck, target);
    if (built.kind === 'built')
      expect({ target, table: plainTable(await builtTable(built)) }).toEqual({ target, table: plainTable(expected) });
    // When all is archived and nothing was dropped, only a commit of truncates alone has no name, and only the first ones are too early.
    else if (all && commit.records.some(({ key }) => key !== null))
      expect({ target, kind: built.kind, early: commit.stampUs <= (windowOf(archiver.archive.known()).earliestUs ?? Infinity) }).toEqual({
        target,
        kind: 'outside',
        early: true,
      });
  }
}

/** Whether events came again from before what the oldest base of a partition remembers, and what was before it is gone. */
function sentAgainFromBefore({ archive }: Archiver): boolean {
  const { partitions, moved } = archive.known();
  const reach = (from: string | null, base: SnapshotEntry): boolean => from !== null && from < base.floor;
  return [...partitions.values()].some(
    ({ parts, snapshots: [base] }) =>
      (parts[0]?.from ?? 0) > 0 &&
      base !== undefined &&
      (reach(moved?.sentAgainFrom ?? null, base) || parts.some(({ lateMin }) => reach(lateMin, base))),
  );
}

async function snapshotSome(archiver: Archiver, epoch: number, random: Random): Promise<void> {
  const partition = idOf(Math.floor(random() * archiver.archive.known().partitions.size));
  try {
    if (random() < 0.2) await pointSnapshot(archiver.archive, epoch, partition);
    else await makeSnapshot(archiver.archive, duck, epoch, partition);
  } catch (error) {
    if (!isHoldfastError(error, 'RECORD_REFUSED') || !sentAgainFromBefore(archiver)) throw error;
  }
}

/** Somewhere in the window, often just at a commit. */
function someTime(archiver: Archiver, source: Source, random: Random): number | null {
  const { earliestUs, latestUs } = windowOf(archiver.archive.known());
  if (earliestUs === null || latestUs === null || earliestUs > latestUs) return null;
  const commit = source.commits[Math.floor(random() * source.commits.length)]?.stampUs ?? latestUs;
  const time = random() < 0.2 ? latestUs : commit + Math.floor(random() * 3) - 1;
  return Math.min(latestUs, Math.max(earliestUs, time));
}

/** Merges until nothing is worth it. */
async function mergeAll({ archive }: Archiver, epoch: number): Promise<void> {
  for (let plan = planMerge(archive.known(), SMALL); plan !== null; plan = planMerge(archive.known(), SMALL))
    await mergeSegments(archive, duck, epoch, plan);
}
/** As far as the model's clock steps back. */
const CLOCK_STEPS_US = 6000;
const SMALL: MergeLimits = { width: 3, tierBytes: 1024, bytesMax: 1 << 20 };

async function live(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const source = createSource(random, { keys: 4 + Math.floor(random() * 20), partitions: 1 + Math.floor(random() * 4) });
  const store = createMemoryStore();
  let archiver = await openArchiver(store, source);
  let sinceUs = 0;
  const snapshots = await claimRole(archiver.archive, 'snapshots');
  for (let step = 0; step < 60; step++) {
    for (let commits = Math.floor(random() * 5); commits > 0; commits--) source.commit();
    const what = random();
    if (what < 0.1) source.resend();
    else if (what < 0.16) source.incrementalSnapshot();
    else if (what < 0.19) source.addPartition();
    else if (what < 0.2) {
      source.spreadAnew();
      await archiver.archive.append(() => ({ kind: 'PARTITIONS', add: [] }));
    } else if (what < 0.48) await archiveSome(archiver, duck, source, random);
    else if (what < 0.6) await snapshotSome(archiver, snapshots, random);
    else if (what < 0.7) {
      // A new archiver takes over; the old one's batch in flight is refused.
      const late = { old: archiver, batch: nextBatch(archiver, source, random) };
      archiver = await openArchiver(store, source);
      if (late.batch.parts.length > 0)
        await expect(archiveBatch(late.old.archive, duck, late.old.epoch, late.batch)).rejects.toMatchObject({ code: 'CLAIM_LOST' });
    } else if (what < 0.75) await mergeAll(archiver, snapshots);
    else if (what < 0.77) {
      const time = someTime(archiver, source, random);
      // A window never begins earlier than it did.
      sinceUs = Math.max(sinceUs, time ?? 0);
      await applyRetention(archiver.archive, snapshots, planRetention(archiver.archive.known(), sinceUs, CLOCK_STEPS_US));
    } else if (what < 0.85) {
      // Often in the middle of what was sent again.
      if (random() < 0.3) source.resend();
      if (random() < 0.5) await archiveSome(archiver, duck, source, random);
      await cautiousHeartbeat(archiver, source);
      const time = someTime(archiver, source, random);
      if (time !== null) await checkAt(archiver, source, time, sinceUs);
      if (source.commits.length > 1) await checkTransaction(archiver, source, random, false);
    }
    if (archiver.archive.known().partitions.size < source.topic.length) archiver = await openArchiver(store, source);
  }
  await archiveSome(archiver, duck, source, random, true);
  await heartbeat(archiver, source);
  for (let times = 0; times < 5; times++) {
    const time = someTime(archiver, source, random);
    expect(time).not.toBeNull();
    if (time !== null) await checkAt(archiver, source, time, sinceUs);
    await checkTransaction(archiver, source, random, sinceUs === 0);
  }
}

test.each(seeds)('seed %i: a past state is what the table was', async (seed) => {
  await live(seed);
});
