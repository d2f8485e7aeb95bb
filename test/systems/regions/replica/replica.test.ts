/** What a replica promises while it lives: before a store that is away, slow, wrong, or not its own. Kills: kills.test.ts. */
import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { interceptStore } from '../../../../src/ground/stores/intercept.ts';
import { listAll, type ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { MARK_PREFIX } from '../../../../src/ground/stores/replica-wire.ts';
import { within } from '../../../../src/ground/stores/within.ts';
import { addToken, removeToken } from '../../../../src/systems/regions/replica/tokens.ts';
import { flip } from '../../../flip.ts';
import { gate } from './a-gate.ts';
import { clientOf, eventually, makePlace, startReplica, type TestReplica } from './a-replica.ts';
import { startDying } from './dying.ts';

const unreachable = { code: 'STORE_UNREACHABLE' };
const namesOf = async (store: ObjectStore): Promise<readonly string[]> =>
  (await Array.fromAsync(listAll(store, ''))).map(({ name }) => name).filter((name) => !name.startsWith(MARK_PREFIX));
const moved = ({ serving }: TestReplica): Promise<unknown> =>
  eventually(
    () => serving.status(),
    ({ waiting }) => waiting.entries === 0,
    'everything is moved',
  );

describe('the store behind', () => {
  test('away for a while: puts are answered, read and listed, and moved when it is back', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store);
    const { client, serving } = replica;
    held.away(true);
    const bodies = new Map(Array.from({ length: 30 }, (_, i) => [`a/${i}`, randomBytes(1000 * i)]));
    for (const [name, body] of bodies) await expect(client.put(name, body, { ifAbsent: true })).resolves.toBe('created');
    await client.delete(['a/3', 'a/none']);
    bodies.delete('a/3');
    await expect(client.put('a/4', Buffer.from('other'), { ifAbsent: true })).resolves.toBe('exists');
    for (const [name, body] of bodies) expect((await client.get(name))?.equals(body)).toBe(true);
    await expect(client.get('a/3')).resolves.toBeNull();
    expect(await namesOf(client)).toEqual([...bodies.keys()].sort());
    expect(await namesOf(place.behind)).toEqual([]);
    const { waiting } = serving.status();
    expect(waiting.entries).toBe(31);
    await eventually(
      () => serving.status(),
      ({ errors, lastError }) => errors > 0 && lastError !== null,
      'it says that it fails',
    );
    held.away(false);
    await moved(replica);
    for (const [name, body] of bodies) expect((await place.behind.get(name))?.equals(body)).toBe(true);
    expect(await namesOf(place.behind)).toEqual([...bodies.keys()].sort());
    expect(serving.status().lastError).toBeNull();
    // Now that it is there alone.
    for (const [name, body] of bodies)
      expect((await client.get(name, { range: { offset: 5, length: 7 } }))?.equals(body.subarray(5, 12))).toBe(true);
  });

  test('slow: past the bound puts wait, and are told so; nothing is taken twice', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store, { limits: { waitingObjects: 4, roomMs: 2000 } });
    const { client, serving } = replica;
    await held.hold();
    for (let i = 0; i < 4; i++) await client.put(`n/${i}`, randomBytes(10));
    await expect(client.put('n/4', randomBytes(10))).rejects.toMatchObject({ ...unreachable, details: { retryAfterMs: 1000 } });
    await expect(client.put('n/4', randomBytes(10))).rejects.toThrow('back-pressure');
    // What is there already needs no room.
    await expect(client.put('n/1', randomBytes(10), { ifAbsent: true })).resolves.toBe('exists');
    const waits = client.put('n/5', randomBytes(10));
    await eventually(
      () => serving.status().pressure,
      ({ puts }) => puts === 1,
      'a put waits',
    );
    held.release();
    await expect(waits).resolves.toBe('created');
    await moved(replica);
    expect(serving.status().pressure).toEqual({ puts: 0, ms: 0 });
    expect(await namesOf(place.behind)).toEqual(['n/0', 'n/1', 'n/2', 'n/3', 'n/5']);
  });

  test('bounds bytes, too, and lets in what is larger than the bound alone', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store, { limits: { waitingBytes: 10_000, roomMs: 200 } });
    await held.hold();
    await replica.client.put('large', randomBytes(50_000));
    await expect(replica.client.put('small', randomBytes(1))).rejects.toMatchObject(unreachable);
    held.release();
    await moved(replica);
    await expect(replica.client.put('small', randomBytes(1))).resolves.toBe('created');
  });

  test('never has something without what was answered before that was asked for', async () => {
    await using place = await makePlace();
    interface Put {
      readonly begun: number;
      answered: number;
    }
    const puts = new Map<string, Put>();
    const there = new Set<string>();
    const missing: string[] = [];
    let underWayMost = 0;
    let underWay = 0;
    let clock = 0;
    const watched = interceptStore(place.behind, async ({ operation, name }, run) => {
      if (operation !== 'put' || name.startsWith(MARK_PREFIX)) return await run();
      const begun = puts.get(name)?.begun ?? 0;
      for (const [other, { answered }] of puts) if (answered < begun && !there.has(other)) missing.push(`${name} before ${other}`);
      underWayMost = Math.max(underWayMost, ++underWay);
      // Some puts take much longer than others, so that what comes later would be there first if it could.
      await new Promise((resolve) => setTimeout(resolve, Math.random() < 0.3 ? 40 : 2));
      const answer = await run();
      there.add(name);
      underWay--;
      return answer;
    });
    await using replica = await startReplica(place.folder, watched);
    const writer = async (who: number): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        const name = `w${who}/${i}`;
        const put = { begun: clock++, answered: Infinity };
        puts.set(name, put);
        await replica.client.put(name, randomBytes(1 + Math.floor(Math.random() * 3000)), { ifAbsent: true });
        put.answered = clock++;
      }
    };
    await Promise.all([1, 2, 3, 4, 5, 6].map(writer));
    await moved(replica);
    expect(missing).toEqual([]);
    expect(there.size).toBe(360);
    // And what nobody had seen the one before the other of goes at once.
    expect(underWayMost).toBeGreaterThan(1);
  });

  test('ends with what is here, whatever was asked of one name at once', async () => {
    await using place = await makePlace();
    const uneven = interceptStore(place.behind, async ({ operation }, run) => {
      if (operation !== 'get') await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
      return await run();
    });
    await using replica = await startReplica(place.folder, uneven);
    const { client } = replica;
    for (let round = 0; round < 5; round++) {
      const name = `a/${round}`;
      const calls = Array.from({ length: 24 }, (_, i) => (i % 4 === 3 ? client.delete([name]) : client.put(name, randomBytes(1 + i))));
      await Promise.all<unknown>(calls);
      const there = await client.get(name);
      await moved(replica);
      expect((await place.behind.get(name))?.toString('hex')).toBe(there?.toString('hex'));
      expect(replica.serving.status().errors).toBe(0);
    }
  });

  test('that gives back other bytes is not believed: what was put stays here until it does not', async () => {
    await using place = await makePlace();
    let lies = true;
    const lying: ObjectStore = {
      ...place.behind,
      async get(name, options) {
        const bytes = await place.behind.get(name, options);
        if (lies && bytes !== null && name === 'a') bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
        return bytes;
      },
    };
    await using replica = await startReplica(place.folder, lying);
    const body = randomBytes(500);
    await replica.client.put('a', body);
    await eventually(
      () => replica.serving.status(),
      ({ lastError }) => lastError?.includes('other bytes') === true,
      'it says so',
    );
    expect((await replica.client.get('a'))?.equals(body)).toBe(true);
    lies = false;
    await moved(replica);
    lies = true;
    await expect(replica.client.get('a')).rejects.toMatchObject({ code: 'DAMAGED' });
  });

  test('in which somebody else puts a name fences it; what was answered stays, and is moved by nobody over the other', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store);
    await held.hold();
    await replica.client.put('a', Buffer.from('ours'), { ifAbsent: true });
    await replica.client.put('b', Buffer.from('ours, too'), { ifAbsent: true });
    await place.behind.put('a', Buffer.from('theirs'));
    held.release();
    await eventually(
      () => replica.serving.status(),
      ({ state }) => state === 'fenced',
      'it is fenced',
    );
    expect((await place.behind.get('a'))?.toString()).toBe('theirs');
    await expect(replica.client.get('b')).rejects.toMatchObject(unreachable);
    await expect(replica.client.put('c', Buffer.from('c'))).rejects.toMatchObject(unreachable);
    expect(replica.serving.status().waiting.entries).toBeGreaterThan(0);
  });

  test('away for longer than the trust: nothing is answered until the mark was seen', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store, { limits: { trustMs: 1500 } });
    // On a machine that stands still for so long it may not be trusted for a moment.
    await eventually(
      () => replica.client.put('a', Buffer.from('a')).catch(() => null),
      (told) => told !== null,
      'it answers',
    );
    held.away(true);
    await eventually(
      () => replica.serving.status(),
      ({ state }) => state === 'not trusted',
      'it is not trusted',
    );
    await expect(replica.client.put('b', Buffer.from('b'))).rejects.toMatchObject(unreachable);
    await expect(replica.client.get('a')).rejects.toThrow('has not seen its mark');
    held.away(false);
    await eventually(
      () => replica.client.put('b', Buffer.from('b'), { ifAbsent: true }).catch(() => null),
      (told) => told !== null,
      'it answers again',
    );
  });

  test("that held names before counts: nothing of it is created again, and marks are nobody else's", async () => {
    await using place = await makePlace();
    const names = Array.from({ length: 1200 }, (_, i) => `early/${i}`);
    for (const name of names) await place.behind.put(name, Buffer.from(name));
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store);
    const { client } = replica;
    await held.hold();
    await expect(client.put('early/7', Buffer.from('other'), { ifAbsent: true })).resolves.toBe('exists');
    await client.put('early/7x', Buffer.from('new'));
    await client.delete(['early/70']);
    expect(await namesOf(client)).toEqual([...names.filter((name) => name !== 'early/70'), 'early/7x'].sort());
    expect((await client.get('early/8'))?.toString()).toBe('early/8');
    expect(await client.list(MARK_PREFIX)).toEqual([]);
    await expect(client.get(`${MARK_PREFIX}00000000000000000001`)).resolves.toBeNull();
    await expect(client.put(`${MARK_PREFIX}00000000000000000002`, Buffer.from('x'))).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    held.release();
    await moved(replica);
  });

  test('would refuse a name that is the folder of another: it is refused before it is answered', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    await using replica = await startReplica(place.folder, held.store);
    const { client } = replica;
    const refused = { code: 'ARGUMENT_INVALID' };
    for (const hold of [true, false]) {
      if (hold) await held.hold();
      await client.put('a/b', Buffer.from('1'));
      await expect(client.put('a', Buffer.from('2'))).rejects.toMatchObject(refused);
      await expect(client.put('a/b/c', Buffer.from('3'))).rejects.toMatchObject(refused);
      await client.delete(['a/b']);
      await client.put('a', Buffer.from('4'));
      await expect(client.put('a/b', Buffer.from('5'))).rejects.toMatchObject(refused);
      await client.delete(['a']);
      await client.put('a/b/c', Buffer.from('6'));
      held.release();
      await moved(replica);
      expect(await namesOf(place.behind)).toEqual(['a/b/c']);
      await client.delete(['a/b/c']);
    }
  });
});

describe('two before one store', () => {
  test('the second is refused; one that takes over waits, and the first answers nothing from then on', async () => {
    await using place = await makePlace();
    const limits = { trustMs: 10_000 };
    await using first = await startReplica(place.folder, place.behind, { limits });
    await first.client.put('a', Buffer.from('first'));
    await moved(first);
    await expect(startReplica(place.another('second'), place.behind)).rejects.toMatchObject({ code: 'REPLICA_FENCED' });
    let waitedMs = 0;
    // Its waiting is no test's; that it is as long as the other's trust and the clients' patience is.
    const sleep = async (ms: number): Promise<void> => {
      waitedMs = Math.max(waitedMs, ms);
      await new Promise((resolve) => setTimeout(resolve, Math.min(ms, 100)));
    };
    await using second = await startReplica(place.another('third'), place.behind, { limits, takeOver: 'waiting', sleep });
    expect(waitedMs).toBeGreaterThanOrEqual(10_000 + 60_000);
    await eventually(
      () => first.serving.status(),
      ({ state }) => state === 'fenced',
      'the first is fenced',
    );
    await expect(first.client.put('b', Buffer.from('late'))).rejects.toMatchObject(unreachable);
    await expect(first.client.get('a')).rejects.toMatchObject(unreachable);
    expect((await second.client.get('a'))?.toString()).toBe('first');
    await expect(second.client.put('a', Buffer.from('second'), { ifAbsent: true })).resolves.toBe('exists');
    await first[Symbol.asyncDispose]();
    await expect(startReplica(place.folder, place.behind)).rejects.toMatchObject({ code: 'REPLICA_FENCED' });
  });

  test('the first frozen for as long as the second waits: when it goes on, no client takes a word of it', async () => {
    await using place = await makePlace();
    await place.behind.put('early', Buffer.from('early'));
    const [trustMs, patienceMs] = [1500, 1500];
    const frozen = await startDying(place, { kill: null, segmentBytes: 1 << 20, storeMs: 1, trustMs });
    await using client = clientOf(frozen.url ?? '', null, patienceMs);
    const told: { readonly atMs: number; readonly what: string }[] = [];
    let over = false;
    const ask = async (lane: number): Promise<void> => {
      for (let i = 0; !over; i++) {
        const put = client.put(`n/${lane}/${i}`, randomBytes(500), { ifAbsent: true });
        const what = await put.catch(({ code }: { code: string }) => code);
        told.push({ atMs: performance.now(), what });
        if (what !== 'created') await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const asking = Promise.all([1, 2, 3, 4].map(ask));
    try {
      await eventually(
        () => told.filter(({ what }) => what === 'created').length,
        (created) => created > 20,
        'the first answers',
      );
      frozen.freeze();
      await using second = await startReplica(place.another('second'), place.behind, {
        ...{ takeOver: 'waiting', limits: { trustMs, clientPatienceMs: patienceMs } },
      });
      const servesMs = performance.now();
      frozen.thaw();
      await eventually(
        () => second.client.put('n/after', randomBytes(10)).catch(() => null),
        (done) => done === 'created',
        'the second answers',
      );
      await eventually(
        () => told.filter(({ atMs }) => atMs > servesMs).length,
        (after) => after > 20,
        'the first is asked on',
      );
      expect(told.filter(({ atMs, what }) => atMs > servesMs && what !== 'STORE_UNREACHABLE')).toEqual([]);
    } finally {
      over = true;
      frozen.thaw();
      await asking;
      await frozen.end();
    }
  }, 120_000);

  test('that begin at once: one stands there, the others are refused', async () => {
    await using place = await makePlace();
    for (let round = 0; round < 5; round++) {
      const store = within(place.behind, `round-${round}/`);
      const starts = [1, 2, 3, 4].map((who) => startReplica(place.another(`${round}-${who}`), store));
      const settled = await Promise.allSettled(starts);
      const codes = settled.map((one) => (one.status === 'fulfilled' ? 'stands' : (one.reason as { code: string }).code));
      expect(codes.sort()).toEqual(['REPLICA_FENCED', 'REPLICA_FENCED', 'REPLICA_FENCED', 'stands']);
      for (const one of settled) if (one.status === 'fulfilled') await one.value[Symbol.asyncDispose]();
    }
  });

  test('one that ended while it waited for the other waits again', async () => {
    await using place = await makePlace();
    await using first = await startReplica(place.folder, place.behind, { limits: { trustMs: 3000 } });
    const folder = place.another('second');
    const waits: number[] = [];
    const ending = (ms: number): Promise<void> => {
      waits.push(ms);
      return Promise.reject(new Error('ended'));
    };
    await expect(startReplica(folder, place.behind, { takeOver: 'waiting', sleep: ending })).rejects.toThrow('ended');
    await expect(startReplica(folder, place.behind, { sleep: ending })).rejects.toThrow('ended');
    const brief = (ms: number): Promise<void> => {
      waits.push(ms);
      return Promise.resolve();
    };
    {
      await using second = await startReplica(folder, place.behind, { sleep: brief });
      await second.client.put('a', Buffer.from('a'));
    }
    const long = waits.filter((ms) => ms >= 63_000);
    expect(long.length).toBe(3);
    // And once it has waited, no more.
    await using again = await startReplica(folder, place.behind, { sleep: brief });
    expect(waits.filter((ms) => ms >= 63_000).length).toBe(3);
    await expect(again.client.put('a', Buffer.from('b'), { ifAbsent: true })).resolves.toBe('exists');
    await eventually(
      () => first.serving.status().state,
      (state) => state === 'fenced' || state === 'not trusted',
      'the first answers no more',
    );
  });

  test('a copy of the folder is another one, and who comes back with what was never moved is refused, even to take over', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    const copy = place.another('copy');
    {
      await using first = await startReplica(place.folder, held.store);
      await held.hold();
      await first.client.put('a', Buffer.from('never moved'));
      await cp(place.folder.root, copy.root, { recursive: true, filter: (path) => !path.endsWith('.sock') });
      held.away(true);
      held.release();
    }
    held.away(false);
    {
      await using copied = await startReplica(copy, place.behind);
      expect((await copied.client.get('a'))?.toString()).toBe('never moved');
      await moved(copied);
    }
    for (const takeOver of ['no', 'at once'] as const)
      await expect(startReplica(place.folder, place.behind, { takeOver })).rejects.toMatchObject({ code: 'REPLICA_FENCED' });
  });

  test('what was released can be used directly, and be taken again with what came meanwhile', async () => {
    await using place = await makePlace();
    {
      await using first = await startReplica(place.folder, place.behind);
      await first.client.put('a', Buffer.from('a'));
      await first.serving.replica.release();
      await expect(first.client.put('b', Buffer.from('b'))).rejects.toMatchObject(unreachable);
    }
    expect((await place.behind.get('a'))?.toString()).toBe('a');
    await place.behind.put('direct', Buffer.from('direct'));
    await using again = await startReplica(place.folder, place.behind);
    await expect(again.client.put('direct', Buffer.from('b'), { ifAbsent: true })).resolves.toBe('exists');
    expect(await namesOf(again.client)).toEqual(['a', 'direct']);
  });

  test('one process a folder; another store under an old folder is refused', async () => {
    await using place = await makePlace();
    await using other = await makePlace();
    {
      await using first = await startReplica(place.folder, place.behind);
      await expect(startReplica(place.folder, place.behind)).rejects.toMatchObject({ code: 'REPLICA_RUNS' });
      await first.client.put('a', Buffer.from('a'));
      await moved(first);
    }
    await expect(startReplica(place.folder, other.behind)).rejects.toMatchObject({ code: 'REPLICA_FENCED' });
  });
});

describe('the disk', () => {
  test('with a synced part damaged is refused; damage that is read is never answered', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    const limits = { segmentBytes: 4096 };
    const flipIn = async (segment: number, at: number): Promise<void> => {
      const names = (await readdir(place.folder.log)).sort();
      flip(join(place.folder.log, names[segment] ?? ''), at);
    };
    {
      await using replica = await startReplica(place.folder, held.store, { limits });
      await held.hold();
      for (let i = 0; i < 4; i++) await replica.client.put(`a/${i}`, randomBytes(5000));
      await flipIn(1, 3000);
      await expect(replica.client.get('a/1')).rejects.toMatchObject({ code: 'DAMAGED' });
      await expect(replica.client.get('a/0')).resolves.not.toBeNull();
      held.away(true);
      held.release();
    }
    await expect(startReplica(place.folder, place.behind)).rejects.toMatchObject({ code: 'DAMAGED' });
    await flipIn(1, 3000);
    await using sound = await startReplica(place.folder, place.behind, { limits });
    await moved(sound);
    expect(await namesOf(place.behind)).toEqual(['a/0', 'a/1', 'a/2', 'a/3']);
  });

  test('that loses the last commits of the index with power: the same is moved again, and what is seen is right all the while', async () => {
    await using place = await makePlace();
    const held = gate(place.behind);
    const files = ['names.db', 'names.db-wal', 'names.db-shm'];
    const keep = (from: string, to: string): Promise<unknown> =>
      Promise.all(
        files.map((file) => cp(join(from, file), join(to, file), { force: true }).catch(() => rm(join(to, file), { force: true }))),
      );
    const older = join(place.root, 'older');
    await mkdir(older);
    {
      await using replica = await startReplica(place.folder, held.store);
      const { client } = replica;
      await client.put('before', Buffer.from('before'));
      await moved(replica);
      await keep(place.folder.root, older);
      await client.put('a', Buffer.from('first'), { ifAbsent: true });
      await client.delete(['a']);
      await client.put('a', Buffer.from('second'), { ifAbsent: true });
      await client.put('b', Buffer.from('old'));
      await client.put('b', Buffer.from('new'));
      await client.delete(['before']);
      await moved(replica);
    }
    await keep(older, place.folder.root);
    // Nothing is moved before it was looked at.
    await held.hold((name) => name.startsWith(MARK_PREFIX));
    await using again = await startReplica(place.folder, held.store);
    const look = async (): Promise<void> => {
      expect((await again.client.get('a'))?.toString()).toBe('second');
      expect((await again.client.get('b'))?.toString()).toBe('new');
      expect(await namesOf(again.client)).toEqual(['a', 'b']);
    };
    expect(again.serving.status().waiting.entries).toBeGreaterThan(3);
    await look();
    held.release();
    for (let i = 0; i < 10; i++) await look();
    await moved(again);
    await look();
    expect(again.serving.status().state).toBe('serving');
    expect(await namesOf(place.behind)).toEqual(['a', 'b']);
    expect((await place.behind.get('b'))?.toString()).toBe('new');
  });

  test('that fails a sync takes nothing more, and what it had is moved and read on', async () => {
    await using place = await makePlace();
    const { createSegment } = await import('../../../../src/systems/regions/replica/log.ts');
    let fails = false;
    await using replica = await startReplica(place.folder, place.behind, {
      async createFile(path) {
        const file = await createSegment(path);
        return { ...file, write: (buffers, at) => (fails ? Promise.reject(new Error('EIO')) : file.write(buffers, at)) };
      },
    });
    await replica.client.put('a', Buffer.from('a'));
    fails = true;
    await expect(replica.client.put('b', Buffer.from('b'))).rejects.toMatchObject(unreachable);
    fails = false;
    await expect(replica.client.put('c', Buffer.from('c'))).rejects.toThrow('started anew');
    expect(replica.serving.status().state).toBe('disk failed');
    expect((await replica.client.get('a'))?.toString()).toBe('a');
    await moved(replica);
    expect(await namesOf(place.behind)).toEqual(['a']);
  });

  test('keeps no segment of which everything is moved', async () => {
    await using place = await makePlace();
    await using replica = await startReplica(place.folder, place.behind, { limits: { segmentBytes: 10_000 } });
    for (let i = 0; i < 40; i++) await replica.client.put(`a/${i}`, randomBytes(4000));
    await moved(replica);
    const segments = await eventually(
      async () => (await replica.client.put('last', randomBytes(1)), await moved(replica), await readdir(place.folder.log)),
      ({ length }) => length <= 2,
      'old segments are removed',
    );
    expect(segments.length).toBeGreaterThan(0);
  });
});

test('a token is wanted as soon as there is one, and no more when it was withdrawn', async () => {
  await using place = await makePlace();
  const { token, id } = await addToken(place.folder.tokens, { untilMs: null, certificate: null });
  const other = await addToken(place.folder.tokens, { untilMs: null, certificate: null });
  await using replica = await startReplica(place.folder, place.behind);
  await using known = clientOf(replica.serving.ear.url, token);
  const denied = { code: 'STORE_DENIED' };
  await expect(replica.client.put('a', Buffer.from('a'))).rejects.toMatchObject(denied);
  await expect(replica.client.head('a')).rejects.toMatchObject(denied);
  await expect(known.put('a', Buffer.from('a'))).resolves.toBe('created');
  await expect(known.head('a')).resolves.toEqual({ name: 'a', sizeBytes: 1 });
  expect(await removeToken(place.folder.tokens, id)).toBe(true);
  await eventually(
    () =>
      known.get('a').then(
        () => 'read',
        (error: { code: string }) => error.code,
      ),
    (told) => told === 'STORE_DENIED',
    'it is withdrawn',
  );
  await using second = clientOf(replica.serving.ear.url, other.token);
  await expect(second.get('a')).resolves.not.toBeNull();
});
