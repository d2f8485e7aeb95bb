/**
 * Which name a value has once it is sealed: of extents what was sent, of map nodes what follows from that. A local file.
 *
 * Nothing is lost with it but names: an extent whose name is not here is sealed anew, and gets the name that it had unless its
 * stored body is another one by now. Then it counts as changed, once. Rows have a checksum; one that has rotted counts as
 * gone. Names belong to a key, so a file of another key is begun anew.
 */
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { keyedHash, type SealedKeys } from './sealed.ts';
import { inTransaction } from '../../../ground/sqlite/transaction.ts';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS key (id BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS names (fingerprint BLOB PRIMARY KEY, name BLOB NOT NULL, node INT NOT NULL, sum INT NOT NULL) WITHOUT ROWID;
`;

export interface SealedName {
  readonly fingerprint: Buffer;
  readonly name: Buffer;
}

export interface SealedNames extends Disposable {
  get(fingerprint: Buffer): Buffer | null;
  addExtents(names: readonly SealedName[]): void;
  addNode(name: SealedName): void;
  /** The bodies of these extents are not what they were; nodes above them are not either. */
  forget(fingerprints: readonly Buffer[]): void;
}

/** Opens the file at `path` (":memory:" for none), for one process at a time. */
export function openSealedNames(path: string, { tagKey }: SealedKeys): SealedNames {
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; ${SCHEMA}`);
  const id = keyedHash(tagKey, Buffer.from('holdfast sealed names'));
  const known = db.prepare('SELECT id FROM key').get()?.['id'];
  if (!(known instanceof Uint8Array && id.equals(known))) {
    db.exec('DELETE FROM names; DELETE FROM key;');
    db.prepare('INSERT INTO key (id) VALUES (?)').run(id);
  }
  const find = db.prepare('SELECT name, sum FROM names WHERE fingerprint = ?');
  const set = db.prepare('INSERT OR REPLACE INTO names (fingerprint, name, node, sum) VALUES (?, ?, ?, ?)');
  const drop = db.prepare('DELETE FROM names WHERE fingerprint = ?');
  const sumOf = (fingerprint: Buffer, name: Uint8Array): number => crc32(name, crc32(fingerprint));
  const add = ({ fingerprint, name }: SealedName, node: 0 | 1): void => void set.run(fingerprint, name, node, sumOf(fingerprint, name));
  const transaction = (work: () => void): void => inTransaction(db, work);
  return {
    get(fingerprint) {
      const row = find.get(fingerprint);
      const name = row?.['name'];
      return name instanceof Uint8Array && sumOf(fingerprint, name) === Number(row?.['sum']) ? Buffer.from(name) : null;
    },
    addExtents: (names) => transaction(() => names.forEach((name) => add(name, 0))),
    addNode: (name) => add(name, 1),
    forget: (fingerprints) =>
      transaction(() => {
        for (const fingerprint of fingerprints) drop.run(fingerprint);
        db.exec('DELETE FROM names WHERE node = 1');
      }),
    [Symbol.dispose]: () => db.close(),
  };
}
