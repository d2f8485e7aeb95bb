/**
 * Points, recoveries and collection over a journal that lives by chance: what is listed is what can be recovered, each point
 * byte for byte, whatever was folded, copied, dropped or damaged meanwhile. HOLDFAST_SEED is the whole test case.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import { listPoints, type RecoveryPoint } from '../../../../src/engine/journal/reading/points.ts';
import { pointAt } from '../../../../src/engine/journal/reading/point-at.ts';
import { seededFaults, withFaults } from '../../../../src/ground/stores/faulty.ts';
import { createFileStore } from '../../../../src/ground/stores/file-store.ts';
import { digestOf, RandomJournal, REGIONS } from './random-journal.ts';

const RUNS = 25;
const STEPS = 120;
const one = process.env['HOLDFAST_SEED'];
const seeds = one === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(one)];
const counts: Record<string, number> = {};

async function listed(world: RandomJournal): Promise<readonly RecoveryPoint[]> {
  const all: RecoveryPoint[] = [];
  for (let after: number | null = 0; after !== null;) {
    const page: Awaited<ReturnType<typeof listPoints>> = await listPoints(world.reading(), { after, limit: world.random.between(1, 60) });
    all.push(...page.points);
    after = page.next;
  }
  return all;
}

const isRefusal = (error: unknown): boolean =>
  isHoldfastError(error, 'POINT_GONE', 'OBJECT_MISSING', 'DAMAGED', 'BATCH_FOREIGN', 'CHAIN_BROKEN');

/** Words about what is wrong, with the seed; none when nothing is. */
async function faults(world: RandomJournal, seed: number): Promise<string[]> {
  const found: string[] = [];
  const [told, expected] = [await listed(world), await world.expected()];
  const say = (points: readonly { readonly seq: number; readonly epoch: number }[]): string =>
    points.map(({ seq, epoch }) => `${epoch}:${seq}`).join(' ');
  // A list is made of heads: of a batch whose data alone is damaged its points are listed, and a recovery says so.
  const harmed = world.harmed.size > 0;
  const byHeads = harmed ? await world.expected('head') : expected;
  if (say(told) !== say(byHeads)) found.push(`listed ${say(told)}\ninstead ${say(byHeads)}`);
  counts['points'] = (counts['points'] ?? 0) + told.length;
  for (const point of told.filter(() => world.random.chance(0.1))) {
    const prefer = world.random.chance(0.5) ? [world.random.pick(REGIONS)] : [];
    const content = await world.recovered(point, { prefer }).catch((error: unknown) => {
      if (harmed && !expected.some(({ seq }) => seq === point.seq) && isRefusal(error)) return null;
      throw error;
    });
    if (content === null) continue;
    counts['recovered'] = (counts['recovered'] ?? 0) + 1;
    if (digestOf(content) !== digestOf(world.truth.get(point.seq))) found.push(`point ${point.epoch}:${point.seq} is not what it was`);
  }
  const timeUs = world.random.below(world.nowUs + 1000);
  const at = await pointAt(world.reading(), timeUs);
  const wanted = told.findLast(({ labelUs }) => labelUs <= timeUs);
  if (at?.point.seq !== wanted?.seq) found.push(`the point of ${timeUs} is told as ${at?.point.seq}, and is ${wanted?.seq}`);
  return found.map((fault) => `HOLDFAST_SEED=${seed}, step ${world.views.length}: ${fault}`);
}

test(`what is listed is what can be recovered, byte for byte, in ${RUNS} journals that live by chance`, async () => {
  for (const seed of seeds) {
    const world = new RandomJournal(seed);
    await world.open();
    for (let step = 0; step < STEPS; step++) {
      try {
        await world.step();
      } catch (error) {
        throw new Error(`HOLDFAST_SEED=${seed}, step ${step}`, { cause: error });
      }
      if (step % 10 === 9) expect(await faults(world, seed)).toEqual([]);
    }
    for (const [what, count] of Object.entries(world.counts)) counts[what] = (counts[what] ?? 0) + count;
    expect(world.damage).toEqual([]);
  }
  if (one === undefined)
    for (const what of [
      'recovered',
      'FLOOR',
      'deleted batches',
      'deleted snapshots',
      'HELD',
      'bases copied',
      'fold folded',
      'fuzzy recorded',
    ])
      expect([what, (counts[what] ?? 0) > 0]).toEqual([what, true]);
}, 120_000);

test('over stores in files, and over stores that are away every now and then or lose their answers', async () => {
  for (const seed of seeds.slice(0, 10)) {
    const root = mkdtempSync(path.join(tmpdir(), 'journal-'));
    const plan = seededFaults({ seed, chances: { unavailable: 0.02, 'lost-answer': 0.02 } });
    let isAway = true;
    const files = (name: string) => createFileStore({ root: path.join(root, name), durability: 'os', create: true });
    const world = new RandomJournal(seed, files, (store) => withFaults(store, (call) => (isAway ? plan(call) : undefined)));
    await world.run(60);
    isAway = false;
    expect(await faults(world, seed)).toEqual([]);
    counts['unreachable'] = (counts['unreachable'] ?? 0) + (world.counts['unreachable'] ?? 0);
    rmSync(root, { recursive: true });
  }
  if (one === undefined) expect(counts['unreachable']).toBeGreaterThan(5);
}, 120_000);

test('of what is damaged the other copy is used and the damage is told; what is in no region is named, and never returned as good', async () => {
  let [holes, damage] = [0, 0];
  for (const seed of seeds) {
    const world = new RandomJournal(seed);
    await world.run(60);
    for (let round = 0; round < 4; round++) {
      for (const { epoch, index } of world.history())
        if (world.random.chance(0.06)) await world.harm(world.random.pick(REGIONS), epoch, index);
      expect(await faults(world, seed)).toEqual([]);
      const { holes: named } = await listPoints(world.reading());
      holes += named.length;
      for (const { seq, epoch } of (await world.expected()).slice(0, 1)) await world.recovered({ epoch, seq }, { prefer: ['a'] });
      for (const [seq] of world.truth) await neverWrong(world, seed, seq);
    }
    damage += world.damage.length;
  }
  if (one === undefined) expect([holes > 10, damage > 100]).toEqual([true, true]);
}, 120_000);

/** Any number at all, listed or not: what it was, or an error. */
async function neverWrong(world: RandomJournal, seed: number, seq: number): Promise<void> {
  const epoch = [...world.state.epochs.values()].findLast(({ start }) => start <= seq);
  if (epoch === undefined || world.random.chance(0.9)) return;
  const content = await world.recovered({ epoch: epoch.epoch, seq }).catch((error: unknown) => {
    if (isRefusal(error)) return null;
    throw error;
  });
  const what = content === null ? 'refused' : digestOf(content);
  const right = content === null ? 'refused' : digestOf(world.truth.get(seq));
  expect(`HOLDFAST_SEED=${seed}, number ${seq}: ${what}`).toBe(`HOLDFAST_SEED=${seed}, number ${seq}: ${right}`);
}
