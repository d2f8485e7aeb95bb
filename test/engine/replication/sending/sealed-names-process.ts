/**
 * A process that writes to a file of sealed names beside others: `PATH KEY BEGIN SHARED OWN`. It opens the file at the moment BEGIN, enters
 * a name of its own for each of SHARED extents that all enter, and for OWN of nobody else's; prints what stands for the shared ones.
 */
import { createHash } from 'node:crypto';
import { sealedKeys } from '../../../../src/engine/replication/sending/sealed.ts';
import { openSealedNames } from '../../../../src/engine/replication/sending/sealed-names.ts';

const [path = '', key = '', begin = '', shared = '', own = ''] = process.argv.slice(2);
const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
const keys = sealedKeys(hash(key));
const BATCH = 7;

while (Date.now() < Number(begin));
// New files, one after the other: that two make one a WAL in the same moment is rare.
const ROUNDS = 20;
for (let round = 0; round < ROUNDS; round++) {
  while (Date.now() < Number(begin) + round * 20);
  using _ = openSealedNames(`${path}.${round}`, keys);
}
using names = openSealedNames(path, keys);
const fingerprints = [
  ...Array.from({ length: Number(shared) }, (_, i) => hash(`shared ${i}`)),
  ...Array.from({ length: Number(own) }, (_, i) => hash(`${process.pid} ${i}`)),
];
for (let at = 0; at < fingerprints.length; at += BATCH) {
  const age = names.age();
  const batch = fingerprints
    .slice(at, at + BATCH)
    .map((fingerprint) => ({ fingerprint, name: hash(`${process.pid} ${fingerprint.toString('hex')}`) }));
  names.addExtents(batch);
  names.addNode({ fingerprint: hash(`node ${process.pid} ${at}`), name: hash('node') }, age);
  const lost = batch.filter(({ fingerprint }) => names.get(fingerprint) === null);
  if (lost.length > 0) throw new Error(`${lost.length} names are not there that were entered`);
}
process.stdout.write(
  JSON.stringify(fingerprints.slice(0, Number(shared)).map((fingerprint) => names.get(fingerprint)?.toString('hex') ?? null)),
);
