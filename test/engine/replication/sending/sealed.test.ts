/** Sealed by the sender: what is sealed opens again, with its key alone; the receiver stores and proves it like any other volume. */
import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from '@jest/globals';
import { fingerprintOf } from '../../../../src/engine/map/node.ts';
import { valuesOf } from '../../../../src/engine/repository/transfer-reader.ts';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import type { Link } from '../../../../src/engine/replication/frames.ts';
import { runSession } from '../../../../src/engine/replication/sending/session.ts';
import { sealedSession } from '../../../../src/engine/replication/sending/session-parts.ts';
import { sealedBytes, sealedKeys, sealExtent, unsealExtent } from '../../../../src/engine/replication/sending/sealed.ts';
import { openSealedNames, type SealedNames } from '../../../../src/engine/replication/sending/sealed-names.ts';
import { encodeBody } from '../../../../src/ground/sealing/blob.ts';
import { EXTENT, PEER, extents, twoSites, type TwoSites } from '../receiving/two-sites.ts';
import { inProcess, watched } from './in-process-link.ts';

const KEYS = sealedKeys(Buffer.alloc(32, 1));
const OTHER = sealedKeys(Buffer.alloc(32, 2));

test.each(['raw', 'zstd-1'] as const)(
  'what was sealed opens as what it was (%s); equal extents have equal names, under another key other names',
  (codec) => {
    for (const plain of [randomBytes(EXTENT), Buffer.alloc(EXTENT, 'abc'), Buffer.alloc(EXTENT)]) {
      const sealed = sealExtent(KEYS, encodeBody(plain, 'extent', codec), EXTENT);
      expect(sealed).toHaveLength(sealedBytes(EXTENT));
      expect(unsealExtent(KEYS, sealed).equals(plain)).toBe(true);
      expect(sealExtent(KEYS, encodeBody(Buffer.from(plain), 'extent', codec), EXTENT).equals(sealed)).toBe(true);
      const other = sealExtent(OTHER, encodeBody(plain, 'extent', codec), EXTENT);
      expect(fingerprintOf(other).equals(fingerprintOf(sealed))).toBe(false);
      expect(() => unsealExtent(OTHER, sealed)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
      for (const at of [0, 5, 10, 45, sealed.length - 1]) {
        const changed = Buffer.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ 1;
        expect(() => unsealExtent(KEYS, changed)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
      }
    }
  },
);

test('the sealed form is as the page says it', () => {
  const sealed = sealExtent(KEYS, { codec: 0, bytes: Buffer.alloc(EXTENT, 7) }, EXTENT);
  expect(createHash('sha256').update(sealed).digest('hex')).toBe('108161a8b9c23b06bbc49f15c9f4521fe9c903246b118fbe5bcd774f286fc072');
});

async function send(sites: TwoSites, of: Snapshot, names: SealedNames, link: Link) {
  const session = {
    source: await sites.source(),
    store: 'here',
    of,
    threads: sites.threads,
    link,
    proof: 'all',
    takesOver: false,
  } as const;
  return runSession(await sealedSession({ ...session, owner: `run ${of.id}`, attempt: 1 }, { keys: KEYS, names }));
}

/** Every extent at the receiver, opened with the sender's key, against the sender's own. */
async function compare(sites: TwoSites, of: Snapshot): Promise<number> {
  await sites.restart();
  const [source, target] = [await sites.source(), await sites.target()];
  const there = target.ledger().snapshots.get(of.id)!;
  expect(there.extentBytes).toBe(sealedBytes(EXTENT));
  const sealed = new Map<number, Buffer>();
  for await (const { extent, fingerprint, location } of valuesOf(target, there, 0))
    sealed.set(extent, await target.values.readExtent(fingerprint, location));
  let compared = 0;
  for await (const { extent, fingerprint } of valuesOf(source, of, 0)) {
    expect(fingerprintOf(unsealExtent(KEYS, sealed.get(extent)!)).equals(fingerprint)).toBe(true);
    compared++;
  }
  expect(sealed.size).toBe(compared);
  return compared;
}

test('full and incremental sessions of sealed extents; what lies there opens with the key of the sender', async () => {
  await using sites = await twoSites();
  using names = openSealedNames(':memory:', KEYS);
  const { link, namesSent } = watched(inProcess(() => sites.receiving(), PEER));
  const first = await sites.capture([...extents(0, 30, 1), ...extents(300, 10, 1)]);
  const { figures, ...outcome } = await send(sites, first, names, link);
  expect(outcome).toMatchObject({ kind: 'committed' });
  // Content numbers repeat: ten extents are equal to others, sealed as well as plain.
  expect(figures).toMatchObject({ referenced: 40, sent: 30 });
  expect(await compare(sites, first)).toBe(40);
  const second = await sites.capture([...extents(5, 2, 2), { extent: 300, content: 0 }]);
  expect(await send(sites, second, names, link)).toMatchObject({ kind: 'committed', figures: { sent: 2, referenced: 2 } });
  expect(await compare(sites, second)).toBe(39);
  expect(namesSent()).toHaveLength(32);
  // Without its file the sender finds the same names again, and only names go over.
  using anew = openSealedNames(':memory:', KEYS);
  const third = await sites.capture(extents(6, 1, 3));
  expect(await send(sites, third, anew, link)).toMatchObject({ kind: 'committed', figures: { sent: 1, referenced: 39 } });
  expect(await compare(sites, third)).toBe(39);
});

test('names that rot behind a root that is known fail one session, clearly, and are made anew by the next', async () => {
  await using sites = await twoSites();
  const file = path.join(sites.installation.folder, 'names.sqlite');
  using names = openSealedNames(file, KEYS);
  const { link } = watched(inProcess(() => sites.receiving(), PEER));
  const snapshot = await sites.capture(extents(0, 12, 1));
  const session = {
    source: await sites.source(),
    store: 'here',
    of: snapshot,
    threads: sites.threads,
    link,
    proof: 'all',
    takesOver: false,
  } as const;
  // A call of the session has named all, and its worker's disk is not what it was.
  await sealedSession({ ...session, owner: 'before', attempt: 1 }, { keys: KEYS, names });
  const rotting = new DatabaseSync(file, { timeout: 5000 });
  rotting.exec('UPDATE names SET sum = sum + 1 WHERE node = 0');
  rotting.close();
  await expect(send(sites, snapshot, names, link)).rejects.toMatchObject({ code: 'NAME_GONE' });
  expect(await send(sites, snapshot, names, link)).toMatchObject({ kind: 'committed' });
  expect(await compare(sites, snapshot)).toBe(12);
});
