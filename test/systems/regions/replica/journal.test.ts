/**
 * A stream in two regions that are replicas: what is acknowledged is in both replicas while neither store has it yet; and when one replica is killed a
 * third region takes its place, with everything that was acknowledged.
 */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createJournal, journalStore, type JournalPlaces } from '../../../../src/engine/journal/creating.ts';
import type { Journal, Region } from '../../../../src/engine/journal/journal.ts';
import { readingOf } from '../../../../src/engine/journal/reading/reading.ts';
import { currentEpoch } from '../../../../src/engine/journal/state.ts';
import { createFileStore } from '../../../../src/ground/stores/file-store.ts';
import { interceptStore } from '../../../../src/ground/stores/intercept.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { readStream } from '../../../../src/systems/regions/read-stream.ts';
import { StreamWriter } from '../../../../src/systems/regions/stream-writer.ts';
import { gate } from './a-gate.ts';
import { clientOf, eventually, makePlace, startReplica } from './a-replica.ts';
import { startDying } from './dying.ts';

const STORE_MS = 20;
const slow = (store: ObjectStore): ObjectStore =>
  interceptStore(store, async ({ operation }, run) => {
    if (operation === 'put') await pause(STORE_MS);
    return run();
  });

const memberOf = (region: string) => ({ region, domain: `site-${region}` });

async function journalOver(log: ObjectStore, stores: Readonly<Record<string, ObjectStore>>): Promise<Journal> {
  const regions: Region[] = Object.entries(stores).map(([name, store]) => ({ name, domain: `site-${name}`, store }));
  const places: JournalPlaces = {
    ...{ name: 'stream', passphrase: 'a passphrase of the test', log, regions, scryptN: 2 ** 10 },
    environment: {
      ...{ writer: 'test', nowMs: () => Date.now(), random: (size) => randomBytes(size) },
      sleep: (ms) => pause(ms),
      alarm: () => undefined,
    },
  };
  return await createJournal(places);
}

async function readAll(journal: Journal, lost: readonly string[]): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const reading = readingOf(journal, { lost: new Set(lost), onDamage: () => undefined });
  for await (const piece of readStream(reading, { offset: 0, mark: null })) pieces.push(piece);
  return Buffer.concat(pieces);
}

const batchesIn = async (store: ObjectStore): Promise<number> => (await journalStore('stream', store).list('e/')).length;

test('an acknowledgement waits for no put to a store', async () => {
  await using placeA = await makePlace();
  await using placeB = await makePlace();
  await using placeLog = await makePlace();
  const [a, b] = [gate(slow(placeA.behind)), gate(slow(placeB.behind))];
  await using replicaA = await startReplica(placeA.folder, a.store);
  await using replicaB = await startReplica(placeB.folder, b.store);
  const journal = await journalOver(placeLog.behind, { a: replicaA.client, b: replicaB.client });
  const content = randomBytes(200_000);
  {
    await using writer = await StreamWriter.open({
      ...{ journal, owner: 'test', candidates: ['a', 'b'].map(memberOf), resumeAt: 0, limits: {}, giveUpMs: 60_000 },
      onAcknowledged: () => undefined,
    });
    await a.hold();
    await b.hold();
    const before = await Promise.all([batchesIn(placeA.behind), batchesIn(placeB.behind)]);
    for (let at = 0; at < content.length; at += 20_000) {
      await writer.append(content.subarray(at, at + 20_000));
      await writer.flush();
    }
    // Acknowledged, ten times one after the other, and not one put to a store has come to its end meanwhile.
    expect(writer.acknowledged).toBe(content.length);
    expect(await Promise.all([batchesIn(placeA.behind), batchesIn(placeB.behind)])).toEqual(before);
    a.release();
    b.release();
    await writer.finish();
  }
  expect((await readAll(journal, [])).equals(content)).toBe(true);
  for (const { serving } of [replicaA, replicaB])
    await eventually(
      () => serving.status().waiting.entries,
      (entries) => entries === 0,
      'everything is moved',
    );
  // And either store alone has it.
  const direct = await journalOver(placeLog.behind, { a: placeA.behind, b: placeB.behind });
  for (const lost of ['a', 'b']) expect((await readAll(direct, [lost])).equals(content)).toBe(true);
}, 120_000);

test('a replica that is killed is replaced by the third region, and nothing that was acknowledged is lost', async () => {
  await using placeA = await makePlace();
  await using placeB = await makePlace();
  await using placeC = await makePlace();
  for (const { behind } of [placeA, placeB]) await behind.put('there', Buffer.from('made'));
  const orders = { kill: null, segmentBytes: 1 << 20, storeMs: STORE_MS };
  const [a, b] = await Promise.all([startDying(placeA, orders), startDying(placeB, orders)]);
  try {
    await using clientA = clientOf(a.url ?? '', null, 30_000);
    await using clientB = clientOf(b.url ?? '', null, 30_000);
    const log = createFileStore({ root: join(placeC.root, 'log'), durability: 'os', create: true });
    const journal = await journalOver(log, { a: clientA, b: clientB, c: placeC.behind });
    const acknowledged: number[] = [];
    const content = randomBytes(3_000_000);
    {
      await using writer = await StreamWriter.open({
        ...{ journal, owner: 'test', candidates: ['a', 'b', 'c'].map(memberOf), resumeAt: 0, giveUpMs: 100_000 },
        ...{ limits: { memberAttemptsMax: 3, memberMsMax: 60_000 }, onAcknowledged: (offset) => void acknowledged.push(offset) },
      });
      for (let at = 0; at < content.length; at += 30_000) {
        await writer.append(content.subarray(at, at + 30_000));
        await writer.flush();
        if (at === 30_000 * 33) await a.end();
      }
      expect(writer.acknowledged).toBe(content.length);
      await writer.finish();
    }
    const state = await journal.log.sync();
    expect(currentEpoch(state)?.members.map(({ region }) => region)).toEqual(['b', 'c']);
    expect((await readAll(journal, ['a'])).equals(content)).toBe(true);
    expect(acknowledged.at(-1)).toBe(content.length);
    // Its disk is not lost: started again it moves what waited, and its copy of the first epoch is whole.
    await using again = await startReplica(placeA.folder, placeA.behind);
    await eventually(
      () => again.serving.status().waiting.entries,
      (entries) => entries === 0,
      'everything is moved',
    );
    const first = await placeA.behind.list('journals/stream/e/');
    const inB = await clientB.list('journals/stream/e/');
    expect(first.every(({ name }, i) => name === inB[i]?.name)).toBe(true);
    expect(first.length).toBeGreaterThan(20);
  } finally {
    await a.end();
    await b.end();
  }
}, 180_000);
