/** HEAL: what the table counts and the store has lost lies where an open claim has brought it, and nothing else moves. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HoldfastError, isHoldfastError } from '../../../src/domain/errors.ts';
import { lineageOf, volumeName, type Lineage, type SnapshotId } from '../../../src/domain/ids.ts';
import { EXTENT_BYTES_MIN, GROUP_TOP } from '../../../src/domain/limits.ts';
import { digestOf } from '../../../src/engine/log/digest.ts';
import { mapRoot, walkMap } from '../../../src/engine/map/walk.ts';
import { audit } from '../../../src/engine/repository/audit.ts';
import { emptyPart } from '../../../src/engine/repository/change.ts';
import { abortClaim, claimLineage } from '../../../src/engine/repository/claims.ts';
import { collect } from '../../../src/engine/repository/collector.ts';
import { openDestination, type HealingDestination } from '../../../src/engine/repository/destination.ts';
import { readLocation, type Location } from '../../../src/engine/repository/location.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { changeName, encodePackId, packNameOf, parseClaimObject } from '../../../src/engine/repository/object-names.ts';
import { packKeyOf } from '../../../src/engine/repository/pack.ts';
import { hideSnapshot } from '../../../src/engine/repository/pins.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { openSqliteTable } from '../../../src/engine/repository/sqlite-table.ts';
import { sweep } from '../../../src/engine/repository/sweep.ts';
import type { PackSize } from '../../../src/engine/transfer/contract.ts';
import { unsealBlob } from '../../../src/ground/sealing/blob.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { capture, fingerprintOfValue, putBodies, type Content, type ValueBody } from './ship.ts';
import { KEY, nextId, open } from './world.ts';

const V = lineageOf(volumeName('v'), 1);
const W = lineageOf(volumeName('w'), 1);

type Damage = 'deleted' | 'cut' | 'rotten';
const DAMAGES: readonly Damage[] = ['deleted', 'cut', 'rotten'];

/** A store whose packs can be harmed, and that has their bytes elsewhere, as a sender has them. */
interface Harmed {
  readonly store: MemoryStore;
  /** Harms what a value lies in; a rotten pack loses that value alone. */
  harm(location: Location, how: Damage): void;
  /** Whether the bytes of a value are not what was put; a pack without its directory has lost all. */
  isLost(location: Location): boolean;
  pristine(name: string): Buffer;
}

function harmable(): Harmed {
  const store = createMemoryStore();
  const pristine = new Map<string, Buffer>();
  const bytesOf = (name: string): Buffer => pristine.get(name) ?? store.objects.get(name) ?? Buffer.alloc(0);
  return {
    store,
    pristine: bytesOf,
    harm({ pack, offset, length }, how) {
      const name = packNameOf(pack);
      const bytes = store.objects.get(name);
      if (bytes === undefined) return;
      if (!pristine.has(name)) pristine.set(name, bytes);
      const rotten = Buffer.from(bytes);
      const at = Math.min(rotten.length - 1, offset + (length >> 1));
      rotten[at] = (rotten[at] ?? 0) ^ 1;
      if (how === 'deleted') store.objects.delete(name);
      else store.objects.set(name, how === 'cut' ? bytes.subarray(0, at) : rotten);
    },
    isLost({ pack, offset, length }) {
      const name = packNameOf(pack);
      const [now, before] = [store.objects.get(name), bytesOf(name)];
      return now?.length !== before.length || !now.subarray(offset, offset + length).equals(before.subarray(offset, offset + length));
    },
  };
}

const contentOf = (...values: readonly number[]): Content => new Map(values.map((value, extent) => [extent, value]));

async function take(repository: Repository, lineage: Lineage, ...values: readonly number[]): Promise<SnapshotId> {
  const id = nextId();
  await capture(repository, { lineage, snapshot: id, content: contentOf(...values) });
  return id;
}

/** A session: a claim of the lineage, open. */
async function session(repository: Repository, lineage: Lineage, attempt = 1, snapshot = nextId()) {
  const claimed = await claimLineage(repository, { lineage, snapshot, owner: 'receiver', attempt });
  if (claimed.kind !== 'claimed') throw new Error('no claim');
  const { epoch } = claimed.claim;
  const destination = openDestination({ store: 'test', repository, lineage, epoch, codec: 'zstd-1', bringAll: false });
  return { destination, epoch, snapshot, lineage };
}

interface Cure {
  readonly lost: readonly Buffer[];
  readonly brought: Map<string, Location>;
  readonly packs: Map<string, PackSize>;
}

/** Proves what the table counts and brings what is lost, extents and nodes alike; `all`: what is not lost as well. */
async function bring(harmed: Harmed, repository: Repository, destination: HealingDestination, all = false): Promise<Cure> {
  const rows = [...repository.table.rows()].filter(({ location }) => all || harmed.isLost(location));
  const lost = new Map<string, Buffer>();
  const brought = new Map<string, Location>();
  const packs = new Map<string, PackSize>();
  const bodies: Record<'extent' | 'node', ValueBody[]> = { extent: [], node: [] };
  for (const { fingerprint, location } of rows) {
    const name = packNameOf(location.pack);
    const stored = harmed.pristine(name).subarray(location.offset, location.offset + location.length);
    const body = unsealBlob(stored, location.offset, packKeyOf(KEY, name), fingerprint);
    bodies[repository.table.pack(location.pack)?.kind ?? 'extent'].push({ fingerprint, body: { ...body, bytes: Buffer.from(body.bytes) } });
    if (harmed.isLost(location)) lost.set(name, location.pack);
  }
  for (const kind of ['extent', 'node'] as const)
    for (let i = 0; i < bodies[kind].length; i += 3) await putBodies(destination, 0, bodies[kind].slice(i, i + 3), brought, packs);
  return { lost: [...lost.values()], brought, packs };
}

async function readBack(repository: Repository, id: SnapshotId): Promise<Map<number, string>> {
  const snapshot = repository.ledger().snapshots.get(id);
  const found = new Map<number, string>();
  for await (const value of walkMap(mapRoot(snapshot?.root ?? null, snapshot?.rootLocation ?? null), repository.readNode)) {
    if (value.level > 0) continue;
    const hint = value.location === null ? null : readLocation(value.location, 0);
    await repository.values.readExtent(value.fingerprint, hint);
    found.set(value.index, value.fingerprint.toString('hex'));
  }
  return found;
}

const expected = (content: Content): Map<number, string> =>
  new Map(
    [...content]
      .filter(([, value]) => value > 0)
      .sort(([a], [b]) => a - b)
      .map(([extent, value]) => [extent, fingerprintOfValue(value).toString('hex')]),
  );

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'none';
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
};

const rowOf = (repository: Repository, value: number): Location => {
  const at = repository.locate(fingerprintOfValue(value));
  if (at === null) throw new Error(`${value} is not counted`);
  return at;
};
const packsIn = (store: MemoryStore): string[] =>
  [...store.objects.keys()].filter((name) => parseClaimObject(name)?.kind === 'pack').sort();
const inUse = (repository: Repository): string[] => [...repository.table.packs()].map(({ id }) => packNameOf(id)).sort();

describe.each(DAMAGES)('a pack that is %s', (how) => {
  test.each(['memory', 'sqlite'] as const)(
    'is healed for every lineage that holds its values, and twice is once (%s table)',
    async (kind) => {
      const harmed = harmable();
      const { repository } = open(harmed.store, kind === 'memory' ? createMemoryTable() : openSqliteTable(':memory:'));
      const [first, other] = [await take(repository, V, 1, 2, 3, 4, 5), await take(repository, W, 9, 2, 1)];
      // A reader that has looked before: its table and its hints are old.
      const reader = open(harmed.store).repository;
      await reader.sync();
      const at = rowOf(repository, 1);
      const sharers = [...repository.table.rows()].filter(({ location }) => location.pack.equals(at.pack)).length;
      harmed.harm(at, how);
      expect(await codeOf(readBack(repository, first))).toBe('DAMAGED');

      const { destination, epoch } = await session(repository, V);
      const { lost, brought, packs } = await bring(harmed, repository, destination);
      expect(await destination.heal(lost, brought, packs)).toEqual({ moved: how === 'rotten' ? 1 : sharers });
      expect(repository.locate(fingerprintOfValue(1))).toEqual(brought.get(fingerprintOfValue(1).toString('hex')));
      if (how === 'rotten') expect(rowOf(repository, 2).pack).toEqual(at.pack);
      for (const one of [repository, reader, open(harmed.store).repository]) {
        await one.sync();
        expect(await readBack(one, first)).toEqual(expected(contentOf(1, 2, 3, 4, 5)));
        expect(await readBack(one, other)).toEqual(expected(contentOf(9, 2, 1)));
      }
      expect(await audit(repository)).toEqual([]);

      const { n } = repository.ledger();
      expect(await destination.heal(lost, brought, packs)).toEqual({ moved: 0 });
      const twin = open(harmed.store).repository;
      await twin.sync();
      const again = openDestination({ store: 'test', repository: twin, lineage: V, epoch, codec: 'zstd-1', bringAll: false });
      expect(await again.heal(lost, brought, packs)).toEqual({ moved: 0 });
      expect((await repository.sync()).n).toBe(n);
    },
  );

  test('is healed before its session commits; the sweep leaves what was brought and takes what is left of the old', async () => {
    const harmed = harmable();
    const { repository } = open(harmed.store);
    await take(repository, V, 1, 2, 3);
    const at = rowOf(repository, 1);
    harmed.harm(at, how);
    const { destination, epoch, snapshot } = await session(repository, V);
    const { lost, brought, packs } = await bring(harmed, repository, destination, true);
    const before = packsIn(harmed.store);
    // Nothing points into them, and the claim holds them all the same.
    await sweep(repository);
    expect(packsIn(harmed.store)).toEqual(before);
    await destination.heal(lost, brought, packs);
    // The same owner and attempt: this session goes on and commits, relying on what it has healed.
    await capture(repository, { lineage: V, snapshot, owner: 'receiver', content: contentOf(1, 2, 3, 1) });
    expect(repository.ledger().claims.get(V)?.epoch).not.toBe(epoch);
    await sweep(repository);
    expect(packsIn(harmed.store)).toEqual(inUse(repository));
    expect(packsIn(harmed.store)).not.toContain(packNameOf(at.pack));
    expect(await readBack(repository, snapshot)).toEqual(expected(contentOf(1, 2, 3, 1)));
    expect(await audit(repository)).toEqual([]);
  });
});

test('a pack of nodes is healed: the map that went through it is read again', async () => {
  const harmed = harmable();
  const { repository } = open(harmed.store);
  const first = await take(repository, V, 1, 2, 3);
  for (const { id, kind } of [...repository.table.packs()]) if (kind === 'node') harmed.harm({ pack: id, offset: 8, length: 1 }, 'deleted');
  const { repository: cold } = open(harmed.store);
  await cold.sync();
  expect(await codeOf(readBack(cold, first))).toBe('DAMAGED');
  const { destination } = await session(cold, V);
  const { lost, brought, packs } = await bring(harmed, cold, destination);
  expect((await destination.heal(lost, brought, packs)).moved).toBe(4);
  expect(await readBack(cold, first)).toEqual(expected(contentOf(1, 2, 3)));
  expect(cold.table.size().packs).toBe(3);
  expect([...cold.table.packs()].filter(({ kind }) => kind === 'node')).toHaveLength(2);
  expect(await audit(cold)).toEqual([]);
});

describe('the fence', () => {
  const lostOne = async () => {
    const harmed = harmable();
    const { repository } = open(harmed.store);
    await take(repository, V, 1, 2);
    harmed.harm(rowOf(repository, 1), 'deleted');
    const older = await session(repository, V);
    return { harmed, repository, older, cure: await bring(harmed, repository, older.destination), before: rowOf(repository, 1) };
  };

  test('a claim that was taken over heals nothing: CLAIM_LOST, and its successor heals with what it has brought', async () => {
    const { repository, older, cure, before } = await lostOne();
    const newer = await session(repository, V, 2, older.snapshot);
    expect(await codeOf(older.destination.heal(cure.lost, cure.brought, cure.packs))).toBe('CLAIM_LOST');
    expect(rowOf(repository, 1)).toEqual(before);
    expect(await newer.destination.heal(cure.lost, cure.brought, cure.packs)).toEqual({ moved: 2 });
  });

  test('nor one that was closed, also when it is closed between the proof and the record', async () => {
    const { harmed, repository, older, cure, before } = await lostOne();
    const beside = open(harmed.store).repository;
    await beside.sync();
    const { put } = harmed.store;
    // As the change is put: from then on only the judge of the record stands in the way.
    harmed.store.put = async (name, bytes, options) => {
      harmed.store.put = put;
      await abortClaim(beside, V, older.epoch);
      return put(name, bytes, options);
    };
    expect(await codeOf(older.destination.heal(cure.lost, cure.brought, cure.packs))).toBe('CLAIM_LOST');
    expect(await codeOf(older.destination.heal(cure.lost, cure.brought, cure.packs))).toBe('CLAIM_LOST');
    expect(rowOf(repository, 1)).toEqual(before);
  });

  test('packs of a claim that is not held open are refused, and so are packs of unknown size', async () => {
    const { repository, cure, before } = await lostOne();
    const { destination } = await session(repository, W);
    expect(await codeOf(destination.heal(cure.lost, cure.brought, cure.packs))).toBe('INTERNAL');
    expect(await codeOf(destination.heal(cure.lost, cure.brought, new Map()))).toBe('INTERNAL');
    expect(rowOf(repository, 1)).toEqual(before);
  });
});

test('what died or moved meanwhile stays: a late HEAL moves only what still lies in a lost pack', async () => {
  const harmed = harmable();
  const { repository } = open(harmed.store);
  const first = await take(repository, V, 1, 2, 3);
  await take(repository, V, 7, 2, 3);
  const at = rowOf(repository, 1);
  expect(rowOf(repository, 3).pack).toEqual(at.pack);
  harmed.harm(at, 'deleted');
  // Planned: all three. Meanwhile another session heals 2, and 1 dies.
  const late = await session(repository, V);
  const { brought, packs } = await bring(harmed, repository, late.destination);
  const values = [...brought].map(([key, location]) => ({ fingerprint: Buffer.from(key, 'hex'), location }));
  const change = await repository.changes.write(changeName({ claim: late.epoch, group: GROUP_TOP, attempt: 1, index: 0 }), {
    ...emptyPart,
    values,
    packs: [...packs].map(([id, size]) => ({ id: Buffer.from(id, 'hex'), kind: 'extent' as const, ...size })),
  });
  const other = await session(repository, W);
  const two = fingerprintOfValue(2).toString('hex');
  const cure = await bring(harmed, repository, other.destination);
  const only = new Map([...cure.brought].filter(([key]) => key === two));
  expect(await other.destination.heal(cure.lost, only, cure.packs)).toEqual({ moved: 1 });
  await hideSnapshot(repository, first, 0, false);
  await collect(repository, { owner: 'test', full: false, rewrite: false });
  expect(repository.locate(fingerprintOfValue(1))).toBeNull();

  await repository.append(() => ({ kind: 'HEAL', actor: V, epoch: late.epoch, from: [at.pack.toString('hex')], change }));
  expect(repository.locate(fingerprintOfValue(1))).toBeNull();
  expect(rowOf(repository, 2)).toEqual(only.get(two));
  expect(rowOf(repository, 3)).toEqual(brought.get(fingerprintOfValue(3).toString('hex')));
  expect(await audit(repository)).toEqual([]);
});

test('what does not lie in a lost pack is not put into the change, whatever is brought', async () => {
  const harmed = harmable();
  const { repository } = open(harmed.store);
  await take(repository, V, 1, 2, 3, 4, 5, 6);
  harmed.harm(rowOf(repository, 1), 'deleted');
  const [lostPack, healthy] = [rowOf(repository, 1).pack, rowOf(repository, 6)];
  const { destination, epoch } = await session(repository, V);
  const { lost, brought, packs } = await bring(harmed, repository, destination, true);
  const { moved } = await destination.heal(lost, brought, packs);
  expect(rowOf(repository, 6)).toEqual(healthy);
  const part = [...harmed.store.objects.keys()].find((name) => {
    const object = parseClaimObject(name);
    return object?.kind === 'change' && object.claim === epoch;
  });
  const names = await repository.changes.read({
    name: part ?? '',
    digest: digestOf(harmed.store.objects.get(part ?? '') ?? Buffer.alloc(0)),
  });
  expect(names?.values).toHaveLength(moved);
  expect(lost).toEqual([lostPack]);
});

test('a lost value whose row has rotted in the local cache is healed all the same, for the cache is built anew', async () => {
  const harmed = harmable();
  const table = createMemoryTable();
  let rotten: Buffer | null = null;
  const { repository } = open(harmed.store, {
    ...table,
    get(fingerprint) {
      if (rotten?.equals(fingerprint)) throw new HoldfastError('DAMAGED', 'the local cache is damaged', { cache: 'row' });
      return table.get(fingerprint);
    },
    loader() {
      rotten = null;
      return table.loader();
    },
  });
  await take(repository, V, 1, 2);
  harmed.harm(rowOf(repository, 1), 'rotten');
  const { destination } = await session(repository, V);
  const { lost, brought, packs } = await bring(harmed, repository, destination);
  rotten = fingerprintOfValue(1);
  expect(await destination.heal(lost, brought, packs)).toEqual({ moved: 1 });
  expect(rowOf(repository, 1)).toEqual(brought.get(fingerprintOfValue(1).toString('hex')));
});

test('more lost packs than an entry may name take several entries', async () => {
  const PACKS = 4096 + 100;
  const { repository } = open(createMemoryStore());
  await repository.sync();
  const first = await session(repository, V);
  const packOf = (claim: number, i: number): Buffer => encodePackId({ claim, group: i, attempt: 1, index: 0 });
  const name = (i: number): Buffer => Buffer.alloc(32, `value ${i};`);
  const lying = Array.from({ length: PACKS }, (_, i) => ({
    fingerprint: name(i),
    location: { pack: packOf(first.epoch, i), offset: 8, length: 100 },
  }));
  // Only the table is asked, so neither maps nor packs need to be there.
  const change = await repository.changes.write(changeName({ claim: first.epoch, group: GROUP_TOP, attempt: 1, index: 0 }), {
    ...emptyPart,
    diff: lying.map(({ fingerprint }, index) => ({ level: 0, index, old: Buffer.alloc(32), new: fingerprint })),
    values: lying,
    packs: lying.map(({ location }) => ({ id: location.pack, kind: 'extent' as const, blobs: 1, bytes: 200 })),
  });
  await repository.append(() => ({
    ...{ kind: 'COMMIT', lineage: V, epoch: first.epoch, snapshot: first.snapshot, root: null, rootLocation: null, parent: null, change },
    ...{ sizeBytes: 2 ** 30, extentBytes: EXTENT_BYTES_MIN, takenMs: 0, consistency: 'crash', label: null },
  }));
  const { destination, epoch } = await session(repository, V);
  const into = packOf(epoch, 0);
  const brought = new Map(
    lying.map(({ fingerprint }, i) => [fingerprint.toString('hex'), { pack: into, offset: 8 + 100 * i, length: 100 }]),
  );
  const { n } = repository.ledger();
  const packs = new Map([[into.toString('hex'), { bytes: 100 * PACKS, blobs: PACKS }]]);
  expect(await destination.heal(lying.map(({ location }) => location.pack), brought, packs)).toEqual({ moved: PACKS }); // prettier-ignore
  expect(repository.ledger().n).toBe(n + 2);
  expect([...repository.table.packs()].map(({ id, liveBlobs }) => [id, liveBlobs])).toEqual([[into, PACKS]]);
});

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('capture' as const),
      lineage: fc.nat(1),
      edits: fc.array(fc.tuple(fc.constantFrom(0, 1, 2, 255, 256, 65536, 70000), fc.nat(6)), { maxLength: 6 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('harm' as const), pick: fc.nat(50), how: fc.constantFrom(...DAMAGES) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('heal' as const), lineage: fc.nat(1), all: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), pick: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('collect' as const) }) },
);

test.each(['memory', 'sqlite'] as const)(
  'whatever is captured, damaged, healed, deleted and collected: once all is healed, counts and bytes are right (%s table)',
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
        const harmed = harmable();
        const { repository, alarms } = open(harmed.store, kind === 'memory' ? createMemoryTable() : openSqliteTable(':memory:'));
        await repository.sync();
        const lineages = [V, W] as const;
        const contents = [new Map<number, number>(), new Map<number, number>()] as const;
        const taken = new Map<SnapshotId, Content>();
        const healAll = async (lineage: Lineage, all: boolean): Promise<void> => {
          const { destination, epoch } = await session(repository, lineage);
          const { lost, brought, packs } = await bring(harmed, repository, destination, all);
          await destination.heal(lost, brought, packs);
          expect([...repository.table.rows()].filter(({ location }) => harmed.isLost(location))).toEqual([]);
          await abortClaim(repository, lineage, epoch);
        };
        const play = async (one: (typeof steps)[number]): Promise<void> => {
          if (one.kind === 'capture') {
            const [lineage, content] = one.lineage === 0 ? [V, contents[0]] : [W, contents[1]];
            for (const [extent, value] of one.edits) content.set(extent, value);
            const id = nextId();
            await capture(repository, { lineage, snapshot: id, content });
            taken.set(id, new Map(content));
          } else if (one.kind === 'harm') {
            const rows = [...repository.table.rows()];
            const row = rows[one.pick % Math.max(1, rows.length)];
            if (row) harmed.harm(row.location, one.how);
          } else if (one.kind === 'heal') await healAll(lineages[one.lineage === 0 ? 0 : 1], one.all);
          else if (one.kind === 'delete') {
            const live = [...repository.ledger().snapshots.values()];
            const chosen = live[one.pick % Math.max(1, live.length)];
            if (chosen && !chosen.hidden) await hideSnapshot(repository, chosen.id, chosen.version, true);
          } else await collect(repository, { owner: 'test', full: true });
        };
        // What needs lost bytes says so until they are healed.
        for (const one of steps) expect(await codeOf(play(one))).toMatch(/^(none|DAMAGED)$/);
        await healAll(V, false);
        // So does a collection that would have moved what is left in a pack; once all is healed there is nothing more to say.
        const harmless = ['a pack of an unfinished attempt', 'a pack that is to be rewritten does not open'];
        expect(alarms.filter((message) => !harmless.some((start) => message.startsWith(start)))).toEqual([]);
        const told = alarms.length;
        for (const { actor, epoch } of [...repository.ledger().claims.values()]) await abortClaim(repository, actor, epoch);
        expect(await audit(repository)).toEqual([]);
        await collect(repository, { owner: 'test', full: true });
        expect(packsIn(harmed.store)).toEqual(inUse(repository));
        expect(await audit(repository)).toEqual([]);
        const { repository: cold } = open(harmed.store);
        await cold.sync();
        expect([...cold.table.rows()]).toEqual([...repository.table.rows()]);
        for (const [id, content] of taken) if (cold.ledger().snapshots.has(id)) expect(await readBack(cold, id)).toEqual(expected(content));
        expect(alarms.slice(told)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  },
);
