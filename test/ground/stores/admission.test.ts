import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { admitStore, requireAdmitted, type AdmissionReport } from '../../../src/ground/stores/admission.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { judgeLifecycle, type LifecycleRule } from '../../../src/ground/stores/s3-lifecycle.ts';

let root: string;
let honest: ObjectStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-admission-'));
  honest = createFileStore({ root, create: true, durability: 'os' });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const quick = { rounds: 5, racers: 8, bodyBytes: 4096 };
const failed = (report: AdmissionReport): readonly string[] => report.checks.filter((check) => !check.ok).map((check) => check.name);

test('an honest store is admitted, and nothing is left in it', async () => {
  await honest.put('mine', Buffer.alloc(1));
  const report = await admitStore(honest, quick);
  expect(report).toMatchObject({ ok: true });
  expect(report.checks).toHaveLength(7);
  expect((await honest.list('')).map((object) => object.name)).toEqual(['mine']);
  expect(() => requireAdmitted(report, 'file:///x')).not.toThrow();
});

describe('a store that lies is refused:', () => {
  const cases: Readonly<Record<string, { readonly store: () => ObjectStore; readonly finding: string }>> = {
    'it looks first and writes then': {
      finding: 'one winner among racers',
      store: () => ({
        ...honest,
        put: async (name, bytes, options) => {
          if (options?.ifAbsent === true && (await honest.head(name)) !== null) return 'exists';
          return await honest.put(name, bytes);
        },
      }),
    },
    'it names one winner and keeps the bytes of another': {
      finding: 'one winner among racers',
      store: () => ({
        ...honest,
        put: async (name, bytes, options) => {
          const answer = await honest.put(name, bytes, options);
          if (answer === 'exists' && name.includes('/race/')) await honest.put(name, bytes);
          return answer;
        },
      }),
    },
    'it ignores the condition': {
      finding: 'what exists is not overwritten',
      store: () => ({ ...honest, put: (name, bytes) => honest.put(name, bytes) }),
    },
    'its reads lag': {
      finding: 'what was put is read at once',
      store: () => {
        const seen = new Set<string>();
        return {
          ...honest,
          get: async (name, options) => {
            const stale = name.includes('/read/') && !seen.has(name);
            if (!stale) return await honest.get(name, options);
            if ((await honest.head(name)) !== null) seen.add(name);
            return null;
          },
        };
      },
    },
    'its lists lag': {
      finding: 'what was put is listed at once',
      store: () => ({ ...honest, list: (prefix, options) => honest.list(prefix, options).then((page) => page.slice(1)) }),
    },
    'it ignores ranges': { finding: 'ranges are read', store: () => ({ ...honest, get: (name) => honest.get(name) }) },
    'it keeps what was deleted': {
      finding: 'what was deleted is gone',
      store: () => ({ ...honest, delete: (names) => (names[0]?.includes('/delete/') === true ? Promise.resolve() : honest.delete(names)) }),
    },
    'it denies deletes': {
      finding: 'what was deleted is gone',
      store: () => ({
        ...honest,
        delete: (names) => (names.length === 3 ? Promise.reject(new HoldfastError('STORE_DENIED', 'no deletes')) : honest.delete(names)),
      }),
    },
  };

  test.each(Object.keys(cases))('%s', async (title) => {
    const { store, finding } = cases[title]!;
    const report = await admitStore(store(), quick);
    expect(report.ok).toBe(false);
    expect(failed(report)).toContain(finding);
    expect(() => requireAdmitted(report, 'file:///x')).toThrow(expect.objectContaining({ code: 'STORE_UNFIT' }));
  });
});

test('a store that does not answer is not judged', async () => {
  const dead: ObjectStore = { ...honest, put: () => Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'gone')) };
  await expect(admitStore(dead, quick)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
});

describe('rules of the bucket', () => {
  const rule = (over: Partial<LifecycleRule>): LifecycleRule => ({
    id: 'rule',
    enabled: true,
    prefix: '',
    tagged: false,
    expires: true,
    moves: false,
    ...over,
  });

  test.each([
    ['of the whole bucket', '', 'refused'],
    ['of a folder above', 'back', 'refused'],
    ['of the store', 'backup/', 'refused'],
    ['of a log within', 'backup/main/log/', 'refused'],
    ['of another folder', 'other/', 'fine'],
    ['of a sibling that begins alike', 'backup-old/', 'fine'],
  ])('that expire: %s', (_, prefix, verdict) => {
    expect(judgeLifecycle([rule({ prefix })], 'backup/').refused).toHaveLength(verdict === 'refused' ? 1 : 0);
  });

  test('that are off, or for tagged objects, reach nothing; those that move are a warning', () => {
    expect(judgeLifecycle([rule({ enabled: false }), rule({ tagged: true })], '')).toEqual({ refused: [], warnings: [] });
    expect(judgeLifecycle([rule({ expires: false, moves: true })], '')).toMatchObject({
      refused: [],
      warnings: [expect.stringContaining('rule')],
    });
  });

  test('fail the admission when they expire, and are a remark when they cannot be read', async () => {
    const refused = await admitStore(honest, { ...quick, lifecycle: () => Promise.resolve(judgeLifecycle([rule({})], '')) });
    expect(failed(refused)).toEqual(['no rule of the bucket deletes']);
    const denied = await admitStore(honest, { ...quick, lifecycle: () => Promise.resolve('denied') });
    expect(denied.ok).toBe(true);
    expect(denied.checks.at(-1)?.detail).toMatch(/^warning/);
  });
});
