import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lineageOf, newSnapshotId, volumeName, type Lineage, type SnapshotId } from '../../../src/domain/ids.ts';
import { audit } from '../../../src/engine/repository/audit.ts';
import { collect, dueSnapshots } from '../../../src/engine/repository/collector.ts';
import type { Environment } from '../../../src/engine/repository/environment.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { hideSnapshot } from '../../../src/engine/repository/pins.ts';
import { openRepository, type Repository } from '../../../src/engine/repository/repository.ts';
import { openSqliteTable } from '../../../src/engine/repository/sqlite-table.ts';
import { mapRoot, walkMap } from '../../../src/engine/map/walk.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { createMemoryStore } from '../memory-store.ts';
import { capture, fingerprintOfValue, type Content } from './ship.ts';

const alarms: string[] = [];
const environment: Environment = {
  writer: 'test',
  nowMs: () => 0,
  random: (size) => randomBytes(size),
  sleep: async () => undefined,
  alarm: (message) => void alarms.push(message),
};
const key = { dataKey: Buffer.alloc(32, 7), repositoryId: Buffer.alloc(16, 1) };

const open = (store: ObjectStore, kind: 'memory' | 'sqlite' = 'memory'): Repository =>
  openRepository({ store, key, table: kind === 'memory' ? createMemoryTable() : openSqliteTable(':memory:'), environment });

const readBack = async (repository: Repository, id: SnapshotId): Promise<Map<number, string>> => {
  const snapshot = repository.ledger().snapshots.get(id);
  const found = new Map<number, string>();
  for await (const value of walkMap(mapRoot(snapshot?.root ?? null, snapshot?.rootLocation ?? null), repository.readNode)) {
    if (value.level > 0) continue;
    const plain = await repository.values.readExtent(value.fingerprint, null);
    expect(plain.length).toBeGreaterThan(0);
    found.set(value.index, value.fingerprint.toString('hex'));
  }
  return found;
};

const expected = (content: Content): Map<number, string> =>
  new Map(
    [...content]
      .filter(([, value]) => value > 0)
      .sort(([a], [b]) => a - b)
      .map(([extent, value]) => [extent, fingerprintOfValue(value).toString('hex')]),
  );

let serial = 0;
const nextId = (): SnapshotId => newSnapshotId(++serial, Math.random);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('capture' as const),
      lineage: fc.nat(1),
      edits: fc.array(fc.tuple(fc.constantFrom(0, 1, 2, 255, 256, 257, 65535, 65536, 70000, 20_000_000), fc.nat(6)), { maxLength: 8 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('delete' as const), pick: fc.nat(20), purge: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('collect' as const), full: fc.boolean() }) },
);

test.each(['memory', 'sqlite'] as const)(
  'whatever is captured, deleted and collected: counts equal recomputation, every snapshot reads back (%s table)',
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const store = createMemoryStore();
        const repository = open(store, kind);
        const lineages: Lineage[] = [lineageOf(volumeName('a'), 1), lineageOf(volumeName('b'), 1)];
        const contents: Map<number, number>[] = [new Map(), new Map()];
        const taken = new Map<SnapshotId, Content>();
        await repository.sync();
        for (const one of steps) {
          if (one.kind === 'capture') {
            const content = contents[one.lineage] ?? new Map<number, number>();
            for (const [extent, value] of one.edits) content.set(extent, value);
            const id = nextId();
            const outcome = await capture(repository, {
              lineage: lineages[one.lineage] ?? lineageOf(volumeName('x'), 1),
              snapshot: id,
              content,
            });
            expect(outcome.kind).toBe('committed');
            taken.set(id, new Map(content));
          } else if (one.kind === 'delete') {
            const live = [...repository.ledger().snapshots.values()];
            const chosen = live[one.pick % Math.max(1, live.length)];
            if (chosen && !chosen.hidden) await hideSnapshot(repository, chosen.id, chosen.version, one.purge);
          } else {
            await collect(repository, { owner: 'test', full: one.full });
            expect(dueSnapshots(repository.ledger())).toEqual([]);
          }
          expect(await audit(repository)).toEqual([]);
        }
        const cold = open(store, kind);
        await cold.sync();
        expect([...cold.ledger().snapshots]).toEqual([...repository.ledger().snapshots]);
        expect([...cold.table.rows()]).toEqual([...repository.table.rows()]);
        expect([...cold.table.packs()]).toEqual([...repository.table.packs()]);
        for (const [id, content] of taken) if (cold.ledger().snapshots.has(id)) expect(await readBack(cold, id)).toEqual(expected(content));
        expect(alarms).toEqual([]);
      }),
      { numRuns: 60 },
    );
  },
);

test('when every snapshot is gone, nothing is left but the log and checkpoints', async () => {
  const store = createMemoryStore();
  const repository = open(store);
  const lineage = lineageOf(volumeName('v'), 1);
  for (let i = 1; i <= 3; i++)
    await capture(repository, {
      lineage,
      snapshot: nextId(),
      content: new Map([
        [i, i],
        [9, 9 + i],
      ]),
    });
  await repository.append(() => ({ kind: 'RETIRE', lineage }));
  for (const snapshot of [...repository.ledger().snapshots.values()]) await hideSnapshot(repository, snapshot.id, snapshot.version, false);
  await collect(repository, { owner: 'test', full: true });
  const { writeCheckpoint } = await import('../../../src/engine/repository/checkpoint.ts');
  await writeCheckpoint(repository);
  await collect(repository, { owner: 'test', full: true });
  await writeCheckpoint(repository);
  await collect(repository, { owner: 'test', full: true });
  expect(repository.table.size()).toEqual({ rows: 0, packs: 0, packBytes: 0, liveBytes: 0 });
  expect([...store.objects.keys()].filter((name) => name.startsWith('a/') && name.includes('-p'))).toEqual([]);
});
