/** The names of sealed extents in one file: of processes that write at once, of keys that change, and of bodies that do. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sealedKeys } from '../../../../src/engine/replication/sending/sealed.ts';
import { openSealedNames } from '../../../../src/engine/replication/sending/sealed-names.ts';

const run = promisify(execFile);
const SCRIPT = path.join(import.meta.dirname, 'sealed-names-process.ts');
const [KEYS, OTHER] = [sealedKeys(Buffer.alloc(32, 1)), sealedKeys(Buffer.alloc(32, 2))];
const bytes = (fill: number): Buffer => Buffer.alloc(32, fill);

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-names-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const file = (): string => path.join(folder, 'names.sqlite');

async function together(keys: readonly string[], shared: number, own: number): Promise<(string | null)[][]> {
  const begin = String(Date.now() + 1500);
  const runs = keys.map((key) => run(process.execPath, [SCRIPT, file(), key, begin, String(shared), String(own)]));
  return (await Promise.all(runs)).map(({ stdout }) => JSON.parse(stdout) as (string | null)[]);
}

test('processes that make the file at once and write at once lose nothing, and agree on what they share', async () => {
  const [first = [], ...others] = await together(['a', 'a', 'a', 'a'], 200, 150);
  expect(first).toHaveLength(200);
  expect(first).not.toContain(null);
  for (const other of others) expect(other).toEqual(first);
  const db = new DatabaseSync(file(), { readOnly: true });
  expect(db.prepare('SELECT count(*) AS n FROM names WHERE node = 0').get()?.['n']).toBe(200 + 4 * 150);
  expect(db.prepare('SELECT count(*) AS n FROM names WHERE node = 1').get()?.['n']).toBe(4 * Math.ceil(350 / 7));
  db.close();
});

test('the first name of an extent stands until it is forgotten', () => {
  using one = openSealedNames(file(), KEYS);
  using two = openSealedNames(file(), KEYS);
  one.addExtents([{ fingerprint: bytes(1), name: bytes(2) }]);
  two.addExtents([
    { fingerprint: bytes(1), name: bytes(3) },
    { fingerprint: bytes(4), name: bytes(5) },
  ]);
  expect([one.get(bytes(1)), one.get(bytes(4))]).toEqual([bytes(2), bytes(5)]);
  two.forget([bytes(1)]);
  expect([one.get(bytes(1)), one.get(bytes(4))]).toEqual([null, bytes(5)]);
  two.addExtents([{ fingerprint: bytes(1), name: bytes(3) }]);
  expect(one.get(bytes(1))).toEqual(bytes(3));
});

test('the name of a node is not entered once anything was forgotten since those below it were read', () => {
  using one = openSealedNames(file(), KEYS);
  using two = openSealedNames(file(), KEYS);
  const before = one.age();
  two.forget([bytes(1)]);
  one.addNode({ fingerprint: bytes(8), name: bytes(9) }, before);
  expect(two.get(bytes(8))).toBeNull();
  one.addNode({ fingerprint: bytes(8), name: bytes(9) }, one.age());
  expect(two.get(bytes(8))).toEqual(bytes(9));
  two.forget([]);
  expect(one.get(bytes(8))).toBeNull();
});

test('who seals with a key of before writes nothing that is taken for a name of the new key', () => {
  using before = openSealedNames(file(), KEYS);
  before.addExtents([{ fingerprint: bytes(1), name: bytes(2) }]);
  using after = openSealedNames(file(), OTHER);
  expect(after.get(bytes(1))).toBeNull();
  before.addExtents([{ fingerprint: bytes(1), name: bytes(2) }]);
  expect(after.get(bytes(1))).toBeNull();
  after.addExtents([{ fingerprint: bytes(1), name: bytes(3) }]);
  expect([before.get(bytes(1)), after.get(bytes(1))]).toEqual([bytes(2), bytes(3)]);
});

test('a file of an earlier form is begun anew; a row that has rotted counts as gone and is entered again', () => {
  const db = new DatabaseSync(file());
  db.exec('CREATE TABLE key (id BLOB); CREATE TABLE names (fingerprint BLOB PRIMARY KEY, name BLOB, node INT, sum INT)');
  db.close();
  using names = openSealedNames(file(), KEYS);
  names.addExtents([{ fingerprint: bytes(1), name: bytes(2) }]);
  const rotting = new DatabaseSync(file());
  rotting.prepare('UPDATE names SET name = ?').run(bytes(7));
  rotting.close();
  expect(names.get(bytes(1))).toBeNull();
  names.addExtents([{ fingerprint: bytes(1), name: bytes(3) }]);
  expect(names.get(bytes(1))).toEqual(bytes(3));
});
