/**
 * The loss test: while a session runs and after names were answered, packs of the receiver go, are cut or rot. The result is
 * the source's, bit for bit, and what is pushed is what is new and what was lost.
 */
import { expect, test } from '@jest/globals';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { packNameOf } from '../../../../src/engine/repository/object-names.ts';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import type { ProofLevel } from '../../../../src/engine/replication/frames.ts';
import { mix } from '../../../../src/engine/transfer/selection.ts';
import { namesOfSnapshot } from './tiny-sender.ts';
import { extents, harm, twoSites, whatIsWrong, type Damage, type TwoSites } from './two-sites.ts';

const CASES: readonly (readonly [Damage, number, ProofLevel])[] = [
  ['delete', 1, 'listed'],
  ['delete', 10, 'all'],
  ['delete', 50, 'listed'],
  ['truncate', 10, 'listed'],
  ['truncate', 50, 'all'],
  ['corrupt', 1, 'all'],
  ['corrupt', 10, 'all'],
  ['corrupt', 50, 'all'],
];

/** A history of eight snapshots at the receiver, in packs of their own; the newest holds something of each. */
async function history(sites: TwoSites): Promise<Snapshot> {
  for (let i = 0; ; i++) {
    const snapshot = await sites.capture(extents(i * 60, 60, 1 + i));
    expect((await sites.send(snapshot)).end).toEqual({ kind: 'committed' });
    if (i === 7) return snapshot;
  }
}

/** Harms `percent` of the packs, at least one; the packs, by name. */
function harmSome(sites: TwoSites, damage: Damage, percent: number, seed: number): ReadonlySet<string> {
  const packs = sites.packs().toSorted((a, b) => mix(seed ^ hashOf(a)) - mix(seed ^ hashOf(b)));
  const chosen = packs.slice(0, Math.max(1, Math.round((packs.length * percent) / 100)));
  for (const file of chosen) harm(file, damage);
  return new Set(chosen.map((file) => path.basename(file)));
}

const hashOf = (text: string): number => mix(crc32(text));

test.each(CASES)('%s %d %% of the packs in mid-session, proof %s', async (damage, percent, proof) => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  await using sites = await twoSites();
  const first = await history(sites);
  const second = await sites.capture(extents(30, 40, 20));
  // Started anew, so that nothing of the base's map is remembered.
  await sites.restart();
  const [before, after] = [await namesOfSnapshot(await sites.source(), first), await namesOfSnapshot(await sites.source(), second)];
  const target = await sites.target();
  let lost = new Set<string>();
  let done = false;
  const sent = await sites.send(second, {
    open: { proof },
    after: async (answers) => {
      if (done || !answers.some(({ kind }) => kind === 'MISSING')) return true;
      done = true;
      const harmed = harmSome(sites, damage, percent, seed);
      lost = new Set(
        [...after].filter((name) => {
          const at = target.table.get(Buffer.from(name, 'hex'))?.location;
          return at !== undefined && harmed.has(path.basename(packNameOf(at.pack)));
        }),
      );
      return true;
    },
  });
  const fresh = [...after].filter((name) => !before.has(name));
  expect({ seed, end: sent.end, refusals: sent.refusals }).toEqual({ seed, end: { kind: 'committed' }, refusals: [] });
  expect({ seed, pushed: [...sent.pushed].sort() }).toEqual({ seed, pushed: [...new Set([...fresh, ...lost])].sort() });
  expect(await whatIsWrong(sites, second)).toEqual([]);
});

test.each(['listed', 'sampled'] as const)('a base whose map has rotted is made again, with the proof %s, too', async (proof) => {
  await using sites = await twoSites();
  const first = await history(sites);
  const second = await sites.capture(extents(30, 40, 20));
  await sites.restart();
  const [before, after] = [await namesOfSnapshot(await sites.source(), first), await namesOfSnapshot(await sites.source(), second)];
  const target = await sites.target();
  const nodePacks = new Set([...target.table.packs()].flatMap(({ id, kind }) => (kind === 'node' ? [path.basename(packNameOf(id))] : [])));
  for (const file of sites.packs()) if (nodePacks.has(path.basename(file))) harm(file, 'corrupt');
  const { end, refusals, pushed } = await sites.send(second, { open: { proof } });
  expect({ end, refusals }).toEqual({ end: { kind: 'committed' }, refusals: [] });
  expect([...pushed].sort()).toEqual([...after].filter((name) => !before.has(name)).sort());
  expect(await whatIsWrong(sites, second)).toEqual([]);
});
