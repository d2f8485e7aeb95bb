/**
 * *Missing* ends: a deleter that waits for each commit and kills something that it relies on, for as long as it likes.
 *
 * A holder is a lineage with one snapshot; the writer's values and nodes are known to the repository because holders hold
 * them. Killing a holder is a purge and a collection, the deletions that the product makes.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lineageOf, volumeName, type Lineage, type SnapshotId } from '../../../src/domain/ids.ts';
import { GROUP_TOP, MAP_FANOUT, MISSING_ROUNDS_MAX, SUBTREE_EXTENTS } from '../../../src/domain/limits.ts';
import { audit } from '../../../src/engine/repository/audit.ts';
import { collect } from '../../../src/engine/repository/collector.ts';
import { readDirectory } from '../../../src/engine/repository/destination.ts';
import { parseClaimObject } from '../../../src/engine/repository/object-names.ts';
import { hideSnapshot } from '../../../src/engine/repository/pins.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { mapRoot, walkMap } from '../../../src/engine/map/walk.ts';
import { listAll, type ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { createMemoryStore } from '../memory-store.ts';
import { capture, fingerprintOfValue, type Content } from './ship.ts';
import { LINEAGE, nextId, open } from './world.ts';

const holderOf = (i: number): Lineage => lineageOf(volumeName(`holder${i}`), 1);

interface Contest {
  readonly repository: Repository;
  readonly alarms: readonly string[];
  readonly holders: readonly SnapshotId[];
}

/** A repository in which each holder holds one of these contents, and the writer's lineage its parent's. */
async function contest(parent: Content | null, held: readonly Content[], store: ObjectStore = createMemoryStore()): Promise<Contest> {
  const { repository, alarms } = open(store);
  if (parent !== null) await capture(repository, { lineage: LINEAGE, snapshot: nextId(), content: parent });
  const holders: SnapshotId[] = [];
  for (const [i, content] of held.entries()) {
    const snapshot = nextId();
    await capture(repository, { lineage: holderOf(i), snapshot, content });
    holders.push(snapshot);
  }
  return { repository, alarms, holders };
}

async function kill(repository: Repository, id: SnapshotId): Promise<void> {
  const snapshot = repository.ledger().snapshots.get(id);
  if (!snapshot) return;
  await hideSnapshot(repository, id, snapshot.version, true);
  await collect(repository, { owner: 'deleter', full: true });
}

/** Captures while holders die, the first `kills` of them in turn, so many before each commit. Answers the number of commits. */
async function captureAgainst({ repository, holders }: Contest, content: Content, kills: readonly number[]): Promise<number> {
  const snapshot = nextId();
  const doomed = [...holders];
  let commits = 0;
  const outcome = await capture(repository, {
    ...{ lineage: LINEAGE, snapshot, content },
    async beforeCommit() {
      for (const id of doomed.splice(0, kills[commits] ?? 1)) await kill(repository, id);
      commits++;
    },
  });
  expect(outcome.kind).toBe('committed');
  expect(await extentsOf(repository, snapshot)).toEqual(
    new Map([...content].filter(([, value]) => value > 0).map(([extent, value]) => [extent, fingerprintOfValue(value).toString('hex')])),
  );
  return commits;
}

async function extentsOf(repository: Repository, id: SnapshotId): Promise<ReadonlyMap<number, string>> {
  const snapshot = repository.ledger().snapshots.get(id);
  const found = new Map<number, string>();
  for await (const { level, index, fingerprint } of walkMap(
    mapRoot(snapshot?.root ?? null, snapshot?.rootLocation ?? null),
    repository.readNode,
  )) {
    if (level > 0) continue;
    expect((await repository.values.readExtent(fingerprint, null)).length).toBeGreaterThan(0);
    found.set(index, fingerprint.toString('hex'));
  }
  return found;
}

const POSITIONS = [0, 1, MAP_FANOUT, SUBTREE_EXTENTS, SUBTREE_EXTENTS + 1, 2 * SUBTREE_EXTENTS + 7, 3 * SUBTREE_EXTENTS];
const content = fc
  .array(fc.tuple(fc.constantFrom(...POSITIONS), fc.integer({ min: 1, max: 9 })), { minLength: 1, maxLength: 9 })
  .map((writes): Content => new Map(writes));

/** A value of its own in each of so many subtrees. */
const scattered = fc
  .integer({ min: 5, max: 8 })
  .map((count): Content => new Map(Array.from({ length: count }, (_, i) => [i * SUBTREE_EXTENTS, i + 1])));

test('whatever is deleted before each commit, a capture ends within its bound, whole and rightly counted', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.option(content),
      fc.oneof(content, scattered),
      fc.array(content, { maxLength: 3 }),
      fc.array(fc.nat(2), { maxLength: 6 }),
      fc.boolean(),
      async (parent, wanted, others, kills, oneByOne) => {
        // The very content, so that nodes up to the root are known as well; then each value alone, to die alone.
        const alone = [...wanted.values()].map((value): Content => new Map([[9, value]]));
        const field = await contest(parent, [...others, wanted, ...alone]);
        // Before the first commit everything dies that holds more than one value, and one of those; then one more each time.
        const deaths = oneByOne ? [others.length + 2] : kills;
        const zeros = new Map([...(parent?.keys() ?? [])].map((extent) => [extent, 0]));
        expect(await captureAgainst(field, new Map([...zeros, ...wanted]), deaths)).toBeLessThanOrEqual(MISSING_ROUNDS_MAX + 1);
        expect(await audit(field.repository)).toEqual([]);
        expect(field.alarms).toEqual([]);
      },
    ),
    { numRuns: 25 },
  );
}, 120_000);

test('one value dies before each commit, in a subtree of its own: three answers, then all is brought', async () => {
  const wanted: Content = new Map(Array.from({ length: 8 }, (_, i) => [i * SUBTREE_EXTENTS, i + 1]));
  // Each holds its value at an extent of its own, so no node is shared and each death names one subtree.
  const field = await contest(
    null,
    Array.from({ length: 8 }, (_, i) => new Map([[9, i + 1]])),
  );
  expect(await captureAgainst(field, wanted, [])).toBe(MISSING_ROUNDS_MAX + 1);
  // Those that the deleter has not come to are counted where they were, and brought in vain.
  expect(field.repository.ledger().snapshots.size).toBe(8 - (MISSING_ROUNDS_MAX + 1) + 1);
  expect(await audit(field.repository)).toEqual([]);
  expect(field.alarms).toEqual([]);
});

test('what the parent holds at the same position is not brought again', async () => {
  const shared = Array.from({ length: 5 }, (_, i): [number, number] => [MAP_FANOUT + i, 50 + i]);
  const parent: Content = new Map([[0, 1], ...shared]);
  const wanted: Content = new Map([[0, 9], [1, 10], [2, 11], [3, 12], ...shared]);
  const field = await contest(
    parent,
    [9, 10, 11, 12].map((value) => new Map([[70, value]])),
  );
  expect(await captureAgainst(field, wanted, [])).toBe(MISSING_ROUNDS_MAX + 1);
  const { store } = field.repository;
  const packed: string[] = [];
  for await (const { name, sizeBytes } of listAll(store, 'a/'))
    if (parseClaimObject(name)?.kind === 'pack')
      packed.push(...((await readDirectory(field.repository, name, sizeBytes)) ?? []).map((entry) => entry.fingerprint.toString('hex')));
  for (const [, value] of shared) expect(packed.filter((one) => one === fingerprintOfValue(value).toString('hex'))).toHaveLength(1);
  expect(await audit(field.repository)).toEqual([]);
});

test('a root that dies while the commit is prepared does not make the commit void', async () => {
  // The first has the very tree; others keep its subtrees alive, so all that dies with it is the top.
  const wanted: Content = new Map([
    [0, 1],
    [SUBTREE_EXTENTS, 2],
  ]);
  const memory = createMemoryStore();
  let doomed: SnapshotId | null = null;
  const store: ObjectStore = {
    ...memory,
    async put(name, bytes, options) {
      const object = parseClaimObject(name);
      if (doomed !== null && object?.kind === 'change' && object.group === GROUP_TOP) {
        const id = doomed;
        doomed = null;
        const other = open(memory).repository;
        await other.sync();
        await kill(other, id);
      }
      return memory.put(name, bytes, options);
    },
  };
  const field = await contest(null, [wanted, new Map([[0, 1]]), new Map([[SUBTREE_EXTENTS, 2]])], store);
  doomed = field.holders[0] ?? null;
  const outcome = await capture(field.repository, { lineage: LINEAGE, snapshot: nextId(), content: wanted });
  expect(outcome.kind).toBe('committed');
  expect(doomed).toBeNull();
  expect(await audit(field.repository)).toEqual([]);
  expect(field.alarms).toEqual([]);
});
