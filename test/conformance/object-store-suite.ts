/**
 * What every store must do: one suite, run on each implementation and on each stack of decorators.
 *
 * The guarantees are those written above the contract (src/ground/stores/object-store.ts). A store that passes can hold a
 * repository; one that fails a single line of this cannot, whatever it is called.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { listAll, type ObjectStore } from '../../src/ground/stores/object-store.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  readonly dispose: () => Promise<void>;
}

export interface SuiteOptions {
  /** Rounds of 32 racers with bodies of 1 MiB. */
  readonly raceRounds?: number;
  /** After an unclear answer, a name that holds equal bytes counts as created; see retrying.ts. */
  readonly claimsEqualBytes?: boolean;
}

const RACERS = 32;
const RACE_BODY_BYTES = 1024 * 1024;

/** Names whose order as bytes differs from the order in which folders, locales or case-insensitive sorts would have them. */
const AWKWARD_NAMES = [
  'a-b',
  'a.b',
  'a/b',
  'a/b-c',
  'a/b.c/d',
  'a/b0',
  'a/c/d',
  'a0',
  'aB',
  'a_b',
  'ab',
  'B',
  'Z/z',
  '_',
  '-x',
  '0',
  '00/1',
];

const BAD_NAMES = [
  '',
  '/a',
  'a/',
  'a//b',
  '.',
  '..',
  'a/../b',
  '../a',
  'a/..',
  '.hidden',
  'a/.tmp',
  'a b',
  'ä',
  'a\0',
  'a\\b',
  'a\n',
  'x'.repeat(513),
  'y'.repeat(256),
];

export function objectStoreSuite(
  name: string,
  makeStore: () => Promise<StoreUnderTest>,
  { raceRounds = 200, claimsEqualBytes = false }: SuiteOptions = {},
): void {
  describe(name, () => {
    let made: StoreUnderTest;
    let store: ObjectStore;
    /** Each test works below a prefix of its own. */
    const fresh = (): string => `t-${randomUUID().slice(0, 8)}/`;

    beforeAll(async () => {
      made = await makeStore();
      store = made.store;
    });
    afterAll(async () => {
      await made.dispose();
    });

    const removeAll = async (prefix: string): Promise<void> => {
      const names: string[] = [];
      for await (const object of listAll(store, prefix)) names.push(object.name);
      for (let index = 0; index < names.length; index += 1000) await store.delete(names.slice(index, index + 1000));
    };

    describe('put and get', () => {
      test.each([0, 1, 4096, 300_000, 5_000_000])('give back %d bytes', async (sizeBytes) => {
        const at = `${fresh()}object`;
        const body = randomBytes(sizeBytes);
        await expect(store.put(at, body)).resolves.toBe('created');
        expect((await store.get(at))?.equals(body)).toBe(true);
        await expect(store.head(at)).resolves.toEqual({ name: at, sizeBytes });
        await store.delete([at]);
      });

      test('take a view over shared memory, and only the view', async () => {
        const shared = new Uint8Array(new SharedArrayBuffer(1000));
        shared.fill(7);
        shared.fill(9, 100, 200);
        for (const ifAbsent of [false, true]) {
          const at = `${fresh()}shared`;
          await store.put(at, shared.subarray(100, 200), { ifAbsent });
          expect((await store.get(at))?.equals(Buffer.alloc(100, 9))).toBe(true);
          await store.delete([at]);
        }
      });

      test('what is not there is null, whether or not its folder is', async () => {
        const at = fresh();
        await store.put(`${at}a/b`, Buffer.from('x'));
        for (const missing of [`${at}a/c`, `${at}a`, `${at}b/c/d`, `${at}a/b/c`]) {
          await expect(store.get(missing)).resolves.toBeNull();
          await expect(store.get(missing, { range: { offset: 0, length: 1 } })).resolves.toBeNull();
          await expect(store.head(missing)).resolves.toBeNull();
        }
        await store.delete([`${at}a/b`]);
      });

      test('a put without a condition replaces', async () => {
        const at = `${fresh()}object`;
        await store.put(at, Buffer.from('a longer first body'));
        await store.put(at, Buffer.from('second'));
        expect((await store.get(at))?.toString()).toBe('second');
        await store.delete([at]);
      });

      test('ranges: within, across the end, past the end, of no length, of an empty object', async () => {
        const at = fresh();
        await store.put(`${at}ten`, Buffer.from('0123456789'));
        await store.put(`${at}none`, Buffer.alloc(0));
        const range = async (object: string, offset: number, length: number) =>
          (await store.get(at + object, { range: { offset, length } }))?.toString();
        await expect(range('ten', 2, 3)).resolves.toBe('234');
        await expect(range('ten', 0, 10)).resolves.toBe('0123456789');
        await expect(range('ten', 8, 100)).resolves.toBe('89');
        await expect(range('ten', 0, Number.MAX_SAFE_INTEGER)).resolves.toBe('0123456789');
        await expect(range('ten', 10, 1)).resolves.toBe('');
        await expect(range('ten', 5000, 10)).resolves.toBe('');
        await expect(range('ten', 3, 0)).resolves.toBe('');
        await expect(range('none', 0, 10)).resolves.toBe('');
        await store.delete([`${at}ten`, `${at}none`]);
      });
    });

    describe('put if absent', () => {
      test('is refused when the name is taken, by equal bytes too, and changes nothing', async () => {
        const at = `${fresh()}object`;
        await expect(store.put(at, Buffer.from('first'), { ifAbsent: true })).resolves.toBe('created');
        await expect(store.put(at, Buffer.from('other'), { ifAbsent: true })).resolves.toBe('exists');
        if (!claimsEqualBytes) await expect(store.put(at, Buffer.from('first'), { ifAbsent: true })).resolves.toBe('exists');
        expect((await store.get(at))?.toString()).toBe('first');
        await store.delete([at]);
        await expect(store.put(at, Buffer.from('again'), { ifAbsent: true })).resolves.toBe('created');
        await store.delete([at]);
      });

      test(`has exactly one winner among ${RACERS} racers in each of ${raceRounds} rounds`, async () => {
        const prefix = fresh();
        const bodies = Array.from({ length: RACERS }, () => randomBytes(RACE_BODY_BYTES));
        for (let round = 0; round < raceRounds; round++) {
          const at = `${prefix}${round}`;
          const answers = await Promise.all(bodies.map((body) => store.put(at, body, { ifAbsent: true })));
          expect(answers.filter((answer) => answer === 'created')).toHaveLength(1);
          const winner = bodies[answers.indexOf('created')]!;
          expect((await store.get(at))?.equals(winner)).toBe(true);
          await store.delete([at]);
        }
      }, 180_000);
    });

    test('a reader sees nothing or a whole body while large bodies are put', async () => {
      const at = `${fresh()}large`;
      const bodies = [1, 2, 3].map((fill) => Buffer.alloc(3_000_000 + fill, fill));
      let writing = true;
      const seen = new Set<string>();
      const read = async (): Promise<void> => {
        while (writing) {
          const got = await store.get(at);
          const whole = got === null || bodies.some((body) => body.equals(got));
          seen.add(whole ? (got === null ? 'nothing' : 'whole') : `torn: ${got.byteLength} bytes`);
        }
      };
      const write = async (): Promise<void> => {
        for (let round = 0; round < 4; round++) {
          await Promise.all(bodies.map((body) => store.put(at, body)));
          await store.delete([at]);
        }
        writing = false;
      };
      await Promise.all([write(), read(), read()]);
      expect([...seen].filter((what) => what.startsWith('torn'))).toEqual([]);
    });

    describe('list', () => {
      test('is in byte order, whatever folders make of the names', async () => {
        const prefix = fresh();
        const names = AWKWARD_NAMES.map((awkward) => prefix + awkward).toSorted();
        await Promise.all(names.map((at) => store.put(at, Buffer.from(at))));
        const all = await store.list(prefix);
        expect(all.map((object) => object.name)).toEqual(names);
        expect(all.every((object) => object.sizeBytes === object.name.length)).toBe(true);
        for (const limit of [1, 2, 5]) {
          const paged: string[] = [];
          for (let after: string | undefined; ; after = paged.at(-1)) {
            const page = await store.list(prefix, { limit, ...(after === undefined ? {} : { after }) });
            paged.push(...page.map((object) => object.name));
            if (page.length < limit) break;
          }
          expect(paged).toEqual(names);
        }
        for (const part of ['a', 'a/', 'a/b', 'a/b.', 'a-', 'Z/z', 'nothing']) {
          const found = await store.list(prefix + part);
          expect(found.map((object) => object.name)).toEqual(names.filter((at) => at.startsWith(prefix + part)));
        }
        for (const after of ['a', 'a-', 'a/', 'a/b', 'a/b-', 'a/b.c/', 'a/zz', 'a0', 'zz', '0']) {
          const found = await store.list(prefix, { after: prefix + after });
          expect(found.map((object) => object.name)).toEqual(names.filter((at) => at > prefix + after));
        }
        await store.delete(names);
        await expect(store.list(prefix)).resolves.toEqual([]);
      });

      test('is complete past a page of 1,000', async () => {
        const prefix = fresh();
        const names = Array.from(
          { length: 2300 },
          (_, index) => `${prefix}${index % 3 === 0 ? 'x/' : ''}${String(index * 7919).padStart(12, '0')}`,
        );
        for (let index = 0; index < names.length; index += 64) {
          await Promise.all(names.slice(index, index + 64).map((at) => store.put(at, Buffer.alloc(1))));
        }
        const listed: string[] = [];
        for await (const object of listAll(store, prefix)) listed.push(object.name);
        expect(listed).toEqual(names.toSorted());
        await removeAll(prefix);
        await expect(store.list(prefix)).resolves.toEqual([]);
      });

      test('shows what was put, and not what was deleted, at once', async () => {
        const prefix = fresh();
        for (let index = 0; index < 20; index++) {
          await store.put(`${prefix}${index}`, Buffer.alloc(1), { ifAbsent: true });
          expect((await store.list(prefix)).length).toBe(1);
          await store.delete([`${prefix}${index}`]);
          expect((await store.list(prefix)).length).toBe(0);
        }
      });
    });

    test('delete is idempotent, in bulk, and leaves neighbours', async () => {
      const prefix = fresh();
      const names = Array.from({ length: 40 }, (_, index) => `${prefix}d/${index}`);
      await Promise.all(names.map((at) => store.put(at, Buffer.alloc(1))));
      await store.put(`${prefix}d-neighbour`, Buffer.alloc(1));
      await store.delete([...names, `${prefix}never/was`, `${prefix}d`]);
      await store.delete(names);
      await store.delete([]);
      expect((await store.list(prefix)).map((object) => object.name)).toEqual([`${prefix}d-neighbour`]);
      await removeAll(prefix);
    });

    test('deletes that empty a folder do not disturb puts into it', async () => {
      const prefix = fresh();
      await Promise.all(
        Array.from({ length: 8 }, async (_, lane) => {
          for (let round = 0; round < 15; round++) {
            const at = `${prefix}deep/er/${lane}`;
            await store.put(at, Buffer.from(at), { ifAbsent: round % 2 === 0 });
            expect((await store.get(at))?.toString()).toBe(at);
            await store.delete([at]);
          }
        }),
      );
      await expect(store.list(prefix)).resolves.toEqual([]);
    });

    test('refuses names that are no names, in every call', async () => {
      const refusal = { code: 'ARGUMENT_INVALID' };
      for (const bad of BAD_NAMES) {
        await expect(store.put(bad, Buffer.alloc(1))).rejects.toMatchObject(refusal);
        await expect(store.get(bad)).rejects.toMatchObject(refusal);
        await expect(store.head(bad)).rejects.toMatchObject(refusal);
        await expect(store.delete(['fine', bad])).rejects.toMatchObject(refusal);
      }
    });

    test('refuses prefixes, pages, ranges and batches that make no sense', async () => {
      const refusal = { code: 'ARGUMENT_INVALID' };
      await expect(store.list('../')).rejects.toMatchObject(refusal);
      await expect(store.list('a//')).rejects.toMatchObject(refusal);
      await expect(store.list('', { limit: 0 })).rejects.toMatchObject(refusal);
      await expect(store.list('', { limit: 1001 })).rejects.toMatchObject(refusal);
      await expect(store.get('a', { range: { offset: -1, length: 1 } })).rejects.toMatchObject(refusal);
      await expect(store.get('a', { range: { offset: 0, length: 1.5 } })).rejects.toMatchObject(refusal);
      await expect(store.delete(Array.from({ length: 1001 }, (_, index) => `n${index}`))).rejects.toMatchObject(refusal);
    });

    test('an aborted call rejects with the reason and does nothing', async () => {
      const at = `${fresh()}aborted`;
      const reason = new Error('changed my mind');
      const signal = AbortSignal.abort(reason);
      await expect(store.put(at, Buffer.alloc(1), { signal })).rejects.toBe(reason);
      await expect(store.get(at, { signal })).rejects.toBe(reason);
      await expect(store.head(at, { signal })).rejects.toBe(reason);
      await expect(store.list('', { signal })).rejects.toBe(reason);
      await expect(store.delete([at], { signal })).rejects.toBe(reason);
      await expect(store.head(at)).resolves.toBeNull();
    });

    test('describes itself without a secret', () => {
      expect(store.describe().url).toMatch(/^(file|s3|replicas?):\/\//);
      expect(store.describe().url).not.toMatch(/:[^/]*@|secret/i);
    });
  });
}
