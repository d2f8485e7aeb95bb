import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { lineageOf, newSnapshotId, volumeName } from '../../../src/domain/ids.ts';
import { PART_ROWS_MAX } from '../../../src/engine/repository/change.ts';
import { collect } from '../../../src/engine/repository/collector.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { packNameOf } from '../../../src/engine/repository/object-names.ts';
import { hideSnapshot } from '../../../src/engine/repository/pins.ts';
import { openRepository } from '../../../src/engine/repository/repository.ts';
import { choosePacks } from '../../../src/engine/repository/rewrite.ts';
import { createMemoryStore } from '../memory-store.ts';
import { capture, fingerprintOfValue, type Content } from './ship.ts';

const pack = (liveBytes: number, liveBlobs: number) => ({
  ...{ id: Buffer.alloc(16), kind: 'extent' as const, blobs: 2 * liveBlobs, bytes: 4 * liveBytes },
  ...{ liveBytes, liveBlobs },
});

test('a run of rewriting is bounded by bytes, and by the values that one part of a change holds', () => {
  const large = [pack(60, 1), pack(60, 1), pack(40, 1)];
  expect(choosePacks(large, 100)).toEqual([large[0], large[2]]);
  const many = Array.from({ length: 4 }, () => pack(1, PART_ROWS_MAX / 2));
  expect(choosePacks(many, 100)).toHaveLength(2);
});

/** Bytes of a pack from its end. The trailer's version says that a newer Holdfast wrote it; the directory does not open. */
test.each([
  ['the version of its trailer', -1],
  ['its directory', -40],
  ['a value', null],
] as const)(
  'a thin pack of which %s is damaged stays as it is, and is named; the others are rewritten, what is empty goes',
  async (_, at) => {
    const store = createMemoryStore();
    const alarms: unknown[] = [];
    const environment = {
      ...{ writer: 'test', nowMs: () => 0, random: (size: number) => randomBytes(size), sleep: async () => undefined },
      alarm: (message: string, details: unknown) => void alarms.push([message, details]),
    };
    const key = { dataKey: Buffer.alloc(32, 7), repositoryId: Buffer.alloc(16, 1) };
    const repository = openRepository({ store, key, table: createMemoryTable(), environment });
    await repository.sync();
    let serial = 0;
    const take = (volume: string, content: Content) =>
      capture(repository, { lineage: lineageOf(volumeName(volume), 1), snapshot: newSnapshotId(++serial, Math.random), content });
    // Of three values in a pack one stays, in each of two volumes.
    for (const [volume, first] of [
      ['a', 10],
      ['b', 20],
    ] as const) {
      const kept: [number, number] = [0, first];
      await take(volume, new Map([kept, [1, first + 1], [2, first + 2], [3, first + 3]]));
      await take(volume, new Map([kept]));
    }
    const placeOf = (value: number) => repository.table.get(fingerprintOfValue(value))?.location;
    const [hurt, sound] = [placeOf(10), placeOf(20)];
    if (hurt === undefined || sound === undefined) throw new Error('both values are there');
    const bytes = store.objects.get(packNameOf(hurt.pack)) ?? Buffer.alloc(0);
    const offset = at === null ? hurt.offset + 5 : bytes.length + at;
    bytes.writeUInt8((bytes.readUInt8(offset) + 1) & 0xff, offset);
    const byLineage = Map.groupBy(repository.ledger().snapshots.values(), ({ lineage }) => lineage);
    for (const [oldest] of byLineage.values()) if (oldest !== undefined) await hideSnapshot(repository, oldest.id, oldest.version, false);
    await collect(repository, { owner: 'test', full: true });
    expect(placeOf(10)?.pack).toEqual(hurt.pack);
    expect(store.objects.has(packNameOf(hurt.pack))).toBe(true);
    expect(placeOf(20)?.pack).not.toEqual(sound.pack);
    expect(store.objects.has(packNameOf(sound.pack))).toBe(false);
    expect(alarms).toEqual([[expect.stringContaining('stays as it is'), expect.objectContaining({ object: packNameOf(hurt.pack) })]]);
  },
);
