/** Checkpoints of a folded log: what a crash, a fault or another log makes of them. The log here is a list of lines. */
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { createCheckpoints } from '../../../src/engine/log/checkpoints.ts';
import { createFoldedLog } from '../../../src/engine/log/folded-log.ts';
import { createLog } from '../../../src/engine/log/log.ts';
import { inverseNumber, logName } from '../../../src/engine/repository/object-names.ts';
import { sealEnvelope } from '../../../src/ground/sealing/envelope.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { withFaults } from '../../../src/ground/stores/faulty.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { environment, KEY } from '../repository/world.ts';

interface Said {
  readonly n: number;
  readonly head: string;
  readonly said: readonly string[];
}
const entrySchema = z.strictObject({ kind: z.literal('SAY'), text: z.string() });
type Say = z.infer<typeof entrySchema>;

function open(store: ObjectStore, everyRecords = 4) {
  const alarms: string[] = [];
  let read = 0;
  const world = { ...environment, alarm: (message: string) => void alarms.push(message) };
  const log = createLog<Say>({ store, sealing: KEY, nameOf: logName, entrySchema, kinds: new Set(['SAY']), random: environment.random });
  const checkpoints = createCheckpoints<Said>({
    store,
    key: KEY,
    environment: world,
    of: 'the log',
    state: { encode: (state) => state.said, decode: (lines) => ({ said: [...lines] }) },
    everyRecords,
  });
  const folded = createFoldedLog<Said, Say>(
    { ...log, read: (seq) => (read++, log.read(seq)) },
    {
      of: 'the log',
      empty: { n: 0, head: '', said: [] },
      begin: checkpoints.begin,
      refusal: () => null,
      apply: (state, { text }) => ({ ...state, said: [...state.said, text] }),
    },
    world,
  );
  return {
    alarms,
    folded,
    reads: () => read,
    checkpoint: () => checkpoints.writeIfDue(folded.known()),
    say: (texts: string | readonly string[]) =>
      Array.from(texts).reduce<Promise<unknown>>(
        (after, text) => after.then(() => folded.append(() => ({ kind: 'SAY', text }))),
        Promise.resolve(),
      ),
  };
}

const names = (store: MemoryStore, prefix: string): string[] => [...store.objects.keys()].filter((name) => name.startsWith(prefix)).sort();
const newestManifest = (store: MemoryStore): string => names(store, 'checkpoint/')[0] ?? '';
const heard = async (store: ObjectStore) => {
  const opened = open(store);
  const { said } = await opened.folded.sync();
  return { said: said.join(''), ...opened };
};

/** Thirteen records, checkpoints of 4, 8 and 12. */
async function thirteen(store: MemoryStore): Promise<void> {
  const { say, checkpoint } = open(store);
  for (const text of 'abcdefghijklm') {
    await say(text);
    await checkpoint();
  }
}

test('a log is folded on from its newest checkpoint; the newest two are kept, with their parts', async () => {
  const store = createMemoryStore();
  await thirteen(store);
  expect(names(store, 'checkpoint/')).toEqual(['checkpoint/99999999999999999987', 'checkpoint/99999999999999999991']);
  expect(names(store, 'checkpoint-part/').map((name) => Number(name.split('/')[1]))).toEqual([8, 12]);
  const { said, reads, say, folded } = await heard(store);
  expect(said).toBe('abcdefghijklm');
  // Record 12 for its digest, 13, the head and what is read ahead of it.
  expect(reads()).toBeLessThan(20);
  await say('n');
  expect(folded.known().n).toBe(14);
});

test.each([
  ['the manifest is damaged', (store: MemoryStore) => void store.objects.get(newestManifest(store))!.writeUInt8(0, 50)],
  ['a part is damaged', (store: MemoryStore) => void store.objects.get(names(store, 'checkpoint-part/').at(-1)!)!.writeUInt8(0, 50)],
  ['a part is another one', (store: MemoryStore) => swap(store, names(store, 'checkpoint-part/'))],
  ['a part is gone', (store: MemoryStore) => void store.objects.delete(names(store, 'checkpoint-part/').at(-1)!)],
])('where %s the one before is taken, and an alarm says so', async (_, harm) => {
  const store = createMemoryStore();
  await thirteen(store);
  harm(store);
  const { said, alarms } = await heard(store);
  expect({ said, alarms: new Set(alarms) }).toEqual({
    said: 'abcdefghijklm',
    alarms: new Set(['a checkpoint of the log cannot be read and is passed over']),
  });
});

function swap({ objects }: MemoryStore, [a = '', b = '']: readonly string[]): void {
  const kept = objects.get(a)!;
  objects.set(a, objects.get(b)!);
  objects.set(b, kept);
}

test('without any checkpoint the log says the same', async () => {
  const store = createMemoryStore();
  await thirteen(store);
  await store.delete(names(store, 'checkpoint'));
  expect(await heard(store)).toMatchObject({ said: 'abcdefghijklm', alarms: [] });
});

test('a log that lost its last records, or was replaced, is not gone on with', async () => {
  const store = createMemoryStore();
  await thirteen(store);
  const other = createMemoryStore();
  await open(other).say('ABCDEFGHIJKLM');
  for (const name of [logName(12), logName(13)]) store.objects.delete(name);
  await expect(heard(store)).rejects.toMatchObject({ code: 'LOG_DIVERGED' });
  for (const name of names(other, 'log/')) store.objects.set(name, other.objects.get(name)!);
  await expect(heard(store)).rejects.toMatchObject({ code: 'LOG_DIVERGED' });
});

test('a checkpoint of a newer version is not passed over', async () => {
  const store = createMemoryStore();
  await thirteen(store);
  const name = newestManifest(store);
  store.objects.set(name, sealEnvelope(KEY, name, Buffer.from('{"version":2}'), environment.random(32)));
  await expect(heard(store)).rejects.toMatchObject({ code: 'UPGRADE_REQUIRED' });
});

test('a state of many parts comes back whole, line by line', async () => {
  const store = createMemoryStore();
  const { say, checkpoint, folded } = open(store);
  const long = Array.from({ length: 5 }, (_, i) => String(i).repeat(7 << 20));
  await say(long);
  expect(await checkpoint()).toBe(5);
  expect(names(store, 'checkpoint-part/')).toHaveLength(3);
  expect((await open(store).folded.sync()).said).toEqual(folded.known().said);
});

test('whatever crash comes between parts, manifest and deletion, the state is the same and two checkpoints later nothing of it is left', async () => {
  for (let dies = 1; dies <= 6; dies++)
    for (const kind of ['unavailable', 'lost-answer'] as const) {
      const store = createMemoryStore();
      await thirteen(store);
      await open(store).say('nop');
      let writes = 0;
      const faulty = withFaults(store, ({ operation, name }) =>
        name.startsWith('checkpoint') && operation !== 'get' && ++writes === dies ? { kind } : undefined,
      );
      const dying = open(faulty);
      // The first call is the list of the opening itself.
      const outcome = await dying.folded
        .sync()
        .then(dying.checkpoint)
        .then(String, () => 'died');
      expect(await heard(store)).toMatchObject({ said: 'abcdefghijklmnop', alarms: [] });
      const next = open(store);
      await next.folded.sync();
      await next.say('qrst');
      await next.checkpoint();
      await next.say('uvwx');
      await next.checkpoint();
      const numbers = new Set(names(store, 'checkpoint-part/').map((name) => Number(name.split('/')[1])));
      expect({ dies, kind, outcome, manifests: names(store, 'checkpoint/').map(inverseNumber), parts: [...numbers] }).toEqual({
        dies,
        kind,
        outcome,
        manifests: [24, 20],
        parts: [20, 24],
      });
      expect(await heard(store)).toMatchObject({ said: 'abcdefghijklmnopqrstuvwx', alarms: [] });
    }
});
