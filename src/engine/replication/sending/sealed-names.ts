/**
 * Which name a value has once it is sealed: of extents what was sent, of map nodes what follows from that. A local file, shared by
 * the processes of a machine and by the calls of one that run at once.
 *
 * Nothing is lost with it but names: an extent whose name is not here is sealed anew, and gets the name that it had unless its
 * stored body is another one by now. Then it counts as changed, once. Rows have a checksum; one that has rotted counts as gone.
 *
 *  - Names belong to a key, and each row says to which: a process that still seals with the key of before, when the passphrase of the
 *    receiver was changed under it, writes nothing that one with the new key would take for its own. Those of other keys are
 *    dropped by who opens the file with a new one.
 *  - The first name that an extent gets stands until it is forgotten. Of two that seal it at once with other bodies the second takes
 *    the name of the first, or the root that the first one has computed would be nobody's.
 *  - A node's name holds only while those below it do. It is entered with the count of forgettings (`age`) that was read before
 *    them, and is not once that has grown: else the root of a map that is no more would be remembered for good.
 */
import type { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { openSharedFile, schemaVersion } from '../../../ground/sqlite/shared-file.ts';
import { inTransaction } from '../../../ground/sqlite/transaction.ts';
import { keyedHash, type SealedKeys } from './sealed.ts';

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE keys (no INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB UNIQUE NOT NULL);
  CREATE TABLE names (key INT NOT NULL, fingerprint BLOB NOT NULL, name BLOB NOT NULL, node INT NOT NULL, sum INT NOT NULL,
    PRIMARY KEY (key, fingerprint)) WITHOUT ROWID;
  CREATE TABLE forgettings (count INT NOT NULL);
  INSERT INTO forgettings VALUES (0);
`;

export interface SealedName {
  readonly fingerprint: Buffer;
  readonly name: Buffer;
}

export interface SealedNames extends Disposable {
  get(fingerprint: Buffer): Buffer | null;
  /** Those that have a name already keep it: ask `get` which it is. */
  addExtents(names: readonly SealedName[]): void;
  /** How often names were forgotten. */
  age(): number;
  /** `age`: as it was before the names below the node were read. */
  addNode(name: SealedName, age: number): void;
  /** The bodies of these extents are not what they were; nodes above them are not either. */
  forget(fingerprints: readonly Buffer[]): void;
}

/** Opens the file at `path` (":memory:" for none), for names of these keys. */
export function openSealedNames(path: string, { tagKey }: SealedKeys): SealedNames {
  const db = openSharedFile(path);
  if (schemaVersion(db) !== SCHEMA_VERSION) createSchema(db);
  const key = keyNumber(db, keyedHash(tagKey, Buffer.from('holdfast sealed names')));
  const find = db.prepare('SELECT name, sum FROM names WHERE key = ? AND fingerprint = ?');
  const set = db.prepare('INSERT OR REPLACE INTO names (key, fingerprint, name, node, sum) VALUES (?, ?, ?, ?, ?)');
  const drop = db.prepare('DELETE FROM names WHERE key = ? AND fingerprint = ?');
  const dropNodes = db.prepare('DELETE FROM names WHERE node = 1');
  const count = db.prepare('SELECT count FROM forgettings');
  const sumOf = (fingerprint: Buffer, name: Uint8Array): number => crc32(name, crc32(fingerprint));
  const get = (fingerprint: Buffer): Buffer | null => {
    const row = find.get(key, fingerprint);
    const name = row?.['name'];
    return name instanceof Uint8Array && sumOf(fingerprint, name) === Number(row?.['sum']) ? Buffer.from(name) : null;
  };
  const age = (): number => Number(count.get()?.['count']);
  const add = ({ fingerprint, name }: SealedName, node: 0 | 1): void => {
    if (get(fingerprint) === null) set.run(key, fingerprint, name, node, sumOf(fingerprint, name));
  };
  return {
    get,
    age,
    addExtents: (names) => inTransaction(db, () => names.forEach((name) => add(name, 0))),
    addNode: (name, since) =>
      inTransaction(db, () => {
        if (age() === since) add(name, 1);
      }),
    forget: (fingerprints) =>
      inTransaction(db, () => {
        for (const fingerprint of fingerprints) drop.run(key, fingerprint);
        dropNodes.run();
        db.exec('UPDATE forgettings SET count = count + 1');
      }),
    [Symbol.dispose]: () => db.close(),
  };
}

/** In one transaction, judged inside it: a process that comes second must not empty what the first has begun to fill. */
function createSchema(db: DatabaseSync): void {
  inTransaction(db, () => {
    if (schemaVersion(db) === SCHEMA_VERSION) return;
    for (const table of ['key', 'keys', 'names', 'forgettings']) db.exec(`DROP TABLE IF EXISTS ${table}`);
    db.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION};`);
  });
}

/** The number of a key, which no other ever has. What was of others goes when a key is new here. */
function keyNumber(db: DatabaseSync, id: Buffer): number {
  const find = db.prepare('SELECT no FROM keys WHERE id = ?');
  inTransaction(db, () => {
    if (find.get(id) !== undefined) return;
    db.exec('DELETE FROM names; DELETE FROM keys;');
    db.prepare('INSERT INTO keys (id) VALUES (?)').run(id);
  });
  return Number(find.get(id)?.['no']);
}
