import { execFile, spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { fileStoreError } from '../../../src/ground/stores/file-errors.ts';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';
import { createTempFiles } from '../../../src/ground/stores/file-temp.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { BufferPool } from '../../../src/ground/threads/buffers.ts';

let folder: string;
let root: string;
let store: ObjectStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-file-'));
  root = join(folder, 'store');
  store = createFileStore({ root, create: true });
  await store.put('kept', Buffer.from('kept'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a root that is not there', () => {
  const expectUnreachable = async (at: ObjectStore): Promise<void> => {
    const unreachable = { code: 'STORE_UNREACHABLE' };
    await expect(at.get('kept')).rejects.toMatchObject(unreachable);
    await expect(at.get('kept', { range: { offset: 0, length: 1 } })).rejects.toMatchObject(unreachable);
    await expect(at.head('kept')).rejects.toMatchObject(unreachable);
    await expect(at.list('')).rejects.toMatchObject(unreachable);
    await expect(at.put('new', Buffer.alloc(1))).rejects.toMatchObject(unreachable);
    await expect(at.put('a/new', Buffer.alloc(1), { ifAbsent: true })).rejects.toMatchObject(unreachable);
    await expect(at.delete(['kept'])).rejects.toMatchObject(unreachable);
  };

  test('is unreachable, and is not made by a put', async () => {
    await rename(root, `${root}-away`);
    await expectUnreachable(store);
    await expectUnreachable(createFileStore({ root }));
    await expect(stat(root)).rejects.toMatchObject({ code: 'ENOENT' });
    await rename(`${root}-away`, root);
    await expect(store.get('kept')).resolves.toEqual(Buffer.from('kept'));
  });

  test('an empty mount point is unreachable, and stays empty', async () => {
    await rename(root, `${root}-away`);
    await mkdir(root);
    await expectUnreachable(store);
    await expectUnreachable(createFileStore({ root }));
    await expect(readdir(root)).resolves.toEqual([]);
  });

  test('another store at the same place is not taken for the first', async () => {
    await rename(root, `${root}-away`);
    await createFileStore({ root, create: true }).put('other', Buffer.alloc(1));
    await expectUnreachable(store);
  });
});

describe('making a store', () => {
  test('is refused in a folder that holds other things', async () => {
    const other = join(folder, 'photos');
    await mkdir(other);
    await writeFile(join(other, 'holiday.jpg'), 'x');
    await expect(createFileStore({ root: other, create: true }).list('')).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    await expect(readdir(other)).resolves.toEqual(['holiday.jpg']);
  });

  test('is refused where a file is in the way, and ends where no folder can be made', async () => {
    const file = join(folder, 'file');
    await writeFile(file, 'x');
    await expect(createFileStore({ root: file, create: true }).list('')).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    await expect(createFileStore({ root: '/proc/holdfast/store', create: true }).list('')).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    });
    const deep = createFileStore({ root: join(folder, 'some', 'folders', 'down'), create: true });
    await expect(deep.list('')).resolves.toEqual([]);
  });

  test('twice, and by many at once, keeps the first', async () => {
    const marker = await readFile(join(root, '.holdfast-store'), 'utf8');
    await Promise.all([1, 2, 3, 4].map(() => createFileStore({ root, create: true }).list('')));
    await expect(readFile(join(root, '.holdfast-store'), 'utf8')).resolves.toBe(marker);
    const fresh = join(folder, 'fresh');
    const makers = [1, 2, 3, 4].map(() => createFileStore({ root: fresh, create: true }));
    await Promise.all(makers.map((maker, index) => maker.put(`by/${index}`, Buffer.alloc(1))));
    await expect(makers[0]!.list('')).resolves.toHaveLength(4);
  });
});

describe('what is no object', () => {
  test('temporary files and the marker are not listed', async () => {
    await writeFile(join(root, '.tmp', 'half'), 'x');
    expect((await store.list('')).map((object) => object.name)).toEqual(['kept']);
  });

  test('a symbolic link is not followed', async () => {
    await writeFile(join(folder, 'outside'), 'secret');
    await symlink(join(folder, 'outside'), join(root, 'link'));
    await expect(store.get('link')).resolves.toBeNull();
    expect((await store.list('')).map((object) => object.name)).toEqual(['kept']);
  });

  test('a name below an object, and the folder of objects, are refused for a put', async () => {
    await store.put('a/b', Buffer.alloc(1));
    for (const ifAbsent of [false, true]) {
      await expect(store.put('kept/below', Buffer.alloc(1), { ifAbsent })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
      await expect(store.put('a', Buffer.alloc(1), { ifAbsent })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    }
    await expect(readdir(join(root, '.tmp'))).resolves.toEqual([]);
  });
});

test('an emptied folder goes, up to the root and no further', async () => {
  await store.put('deep/er/still/object', Buffer.alloc(1));
  await store.delete(['deep/er/still/object', 'kept']);
  await expect(readdir(root)).resolves.toEqual(['.holdfast-store', '.tmp']);
});

test('the first put removes what dead processes left, and nobody else', async () => {
  const { hostname } = await import('node:os');
  const host = hostname().replaceAll(/[^A-Za-z0-9-]/g, '-');
  const temp = (name: string): string => join(root, '.tmp', name);
  const [dead, alive, elsewhere, old] = [`${host}.4194305.aa.0`, `${host}.${process.ppid}.bb.0`, 'other-host.1.cc.0', 'other-host.1.dd.0'];
  for (const name of [dead, alive, elsewhere, old]) await writeFile(temp(name), 'half');
  const twoDaysAgo = Date.now() / 1000 - 2 * 24 * 3600;
  await utimes(temp(old), twoDaysAgo, twoDaysAgo);
  const later = createFileStore({ root });
  await later.get('kept');
  await expect(readdir(join(root, '.tmp'))).resolves.toHaveLength(4);
  await later.put('new', Buffer.alloc(1));
  expect((await readdir(join(root, '.tmp'))).toSorted()).toEqual([alive, elsewhere].toSorted());
});

test('a long folder that is listed from memory still shows what is new', async () => {
  const fast = createFileStore({ root, durability: 'os' });
  await Promise.all(Array.from({ length: 2500 }, (_, index) => fast.put(`many/${index}`, Buffer.alloc(1))));
  const past = Date.now() / 1000 - 60;
  await utimes(join(root, 'many'), past, past);
  const first = await fast.list('many/');
  await expect(fast.list('many/')).resolves.toEqual(first);
  await fast.put('many/-first', Buffer.alloc(1));
  expect((await fast.list('many/'))[0]?.name).toBe('many/-first');
  await createFileStore({ root }).delete(['many/-first']);
  await expect(fast.list('many/')).resolves.toEqual(first);
});

test('exactly one of the racers in four processes wins each name', async () => {
  const rounds = 50;
  const racer = join(import.meta.dirname, 'racer.ts');
  const racers = ['a', 'b', 'c', 'd'].map((id) => {
    const child = spawn(process.execPath, [racer, root, String(rounds), id], { stdio: ['pipe', 'pipe', 'inherit'] });
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  });
  for (const { lines } of racers) expect(await lines.next()).toEqual({ done: false, value: 'ready' });
  for (const { child } of racers) child.stdin.end();
  const outputs = await Promise.all(racers.map(({ lines }) => Array.fromAsync({ [Symbol.asyncIterator]: () => lines })));
  const won = outputs.flat();
  expect(won).toHaveLength(rounds);
  expect(outputs.filter((output) => output.length > 0).length).toBeGreaterThan(1);
  for (const line of won) {
    const [name = '', id = ''] = line.split(' ');
    expect((await store.get(name))?.toString('utf8', 0, id.length)).toBe(id);
  }
});

test('a full disk is STORE_FULL, leaves nothing, and the store goes on when there is room', async () => {
  const disk = join(folder, 'disk');
  await mkdir(disk);
  const run = promisify(execFile);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]);
  } catch (error) {
    process.stderr.write(`\nSKIPPED a full disk: no file system of 1 MiB can be mounted here: ${String(error)}\n`);
    return;
  }
  try {
    const small = createFileStore({ root: disk, create: true });
    await small.put('half', Buffer.alloc(600_000));
    for (const ifAbsent of [false, true]) {
      await expect(small.put('more', Buffer.alloc(600_000), { ifAbsent })).rejects.toMatchObject({ code: 'STORE_FULL' });
      await expect(small.head('more')).resolves.toBeNull();
    }
    await expect(readdir(join(disk, '.tmp'))).resolves.toEqual([]);
    await small.delete(['half']);
    await expect(small.put('more', Buffer.alloc(600_000))).resolves.toBe('created');
  } finally {
    await run('umount', ['-l', disk]);
  }
});

test.each([
  ['ENOSPC', 'STORE_FULL'],
  ['EDQUOT', 'STORE_FULL'],
  ['EACCES', 'STORE_DENIED'],
  ['EPERM', 'STORE_DENIED'],
  ['EROFS', 'STORE_DENIED'],
  ['EIO', 'STORE_UNREACHABLE'],
  ['ESTALE', 'STORE_UNREACHABLE'],
  ['EMFILE', 'STORE_UNREACHABLE'],
])('%s is %s', (errno, code) => {
  const error = Object.assign(new Error('from the system'), { code: errno, errno: -1 });
  expect(fileStoreError(error, 'put', 'a')).toMatchObject({ code, cause: error });
});

describe('a large body', () => {
  const MEBIBYTE = 1024 * 1024;

  test.each([MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 2 * MEBIBYTE + 4095])(
    'comes back whole, wherever in memory it was: %d bytes',
    async (length) => {
      const pool = new BufferPool(4 * MEBIBYTE);
      using reservation = await pool.reserve(4 * MEBIBYTE);
      const shared = Buffer.from(reservation.take(4 * MEBIBYTE));
      randomFillSync(shared);
      // At a page, as packs are, and off it: the first can be written past the page cache, the second cannot.
      for (const start of [0, 1]) {
        const body = shared.subarray(start, start + length);
        await store.put(`large-${start}`, body);
        const back = await store.get(`large-${start}`);
        expect(back?.equals(body)).toBe(true);
      }
    },
  );
});

test('a body that failed while its root was away is gone after the next one', async () => {
  const temps = createTempFiles(root, false);
  const stop = new AbortController();
  const lost = temps.write(Buffer.alloc(256 * 1024 * 1024, 1), stop.signal);
  const underWay = (): Promise<string[]> => readdir(join(root, '.tmp'));
  // Its bytes are being written, so it has been opened for the last time.
  const writtenBytes = async (): Promise<number> => {
    const [name] = await underWay();
    return name === undefined ? 0 : (await stat(join(root, '.tmp', name))).size;
  };
  while ((await writtenBytes()) === 0);
  await rename(root, `${root}.away`);
  stop.abort(new Error('stopped'));
  await expect(lost).rejects.toThrow('stopped');
  await rename(`${root}.away`, root);
  expect(await underWay()).toHaveLength(1);
  const next = await temps.write(Buffer.from('next'), undefined);
  expect((await underWay()).map((name) => join(root, '.tmp', name))).toEqual([next]);
});
