/**
 * The crash table of docs/replication.md section 5, row by row: the receiver is started anew before a message, or after it with
 * its answer lost; its file goes or rots; messages come twice. A session that is resumed ends as one that was not disturbed.
 */
import { expect, test } from '@jest/globals';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { namesOfSnapshot } from './tiny-sender.ts';
import { extents, harm, twoSites, whatIsWrong, type TwoSites } from './two-sites.ts';

const filesOf = (sites: TwoSites): string[] =>
  readdirSync(sites.sessions)
    .filter((name) => name.includes('.session'))
    .map((name) => path.join(sites.sessions, name));

/** What a snapshot has that the one before has not. */
const FRESH = 30;

test.each(['before', 'after'] as const)('the receiver is started anew %s any message', async (when) => {
  await using sites = await twoSites();
  for (let at = 0, isOver = false; !isOver; at++) {
    const snapshot = await sites.capture([...extents(at * 10, 10, 100 + at), ...extents(300 + at, FRESH - 10, 200 + at)]);
    let restarted = false;
    const restart = async (said: number): Promise<void> => {
      if (said !== at || restarted) return;
      restarted = true;
      await sites.restart();
    };
    let said = 0;
    const sent = await sites.send(snapshot, {
      framesAnExchange: 12,
      before: async (frames, exchange) => {
        said = exchange;
        if (when === 'before') await restart(exchange);
        return frames;
      },
      after: async () => {
        if (when === 'before' || restarted || said !== at) return true;
        await restart(said);
        return false;
      },
    });
    isOver = !restarted;
    expect({ at, end: sent.end, refusals: sent.refusals }).toEqual({ at, end: { kind: 'committed' }, refusals: [] });
    expect(sent.pushed.length).toBeLessThanOrEqual(2 * FRESH);
    expect({ at, wrong: await whatIsWrong(sites, snapshot) }).toEqual({ at, wrong: [] });
    expect(filesOf(sites)).toEqual([]);
  }
});

test('every message comes twice, and the second one changes nothing', async () => {
  await using sites = await twoSites();
  for (let at = 0; at < 2; at++) {
    const snapshot = await sites.capture(extents(at * 40, 60, 1 + at));
    const sent = await sites.send(snapshot, {
      framesAnExchange: 20,
      before: (frames) => [...frames, ...frames.filter(({ kind }) => kind !== 'COMMIT')],
    });
    expect(sent.end).toEqual({ kind: 'committed' });
    expect(await whatIsWrong(sites, snapshot)).toEqual([]);
  }
});

test.each(['lost', 'no database', 'rotten'] as const)(
  'a session file that is %s costs names, and nothing wrong comes of it',
  async (how) => {
    await using sites = await twoSites();
    await sites.send(await sites.capture(extents(0, 40, 1)));
    const second = await sites.capture([...extents(10, 30, 2), ...extents(300, 20, 2)]);
    const owner = 'one owner';
    const cut = async (): Promise<void> => {
      await sites.restart();
      for (const file of filesOf(sites)) {
        if (how === 'lost') rmSync(file);
        else if (how === 'no database') writeFileSync(file, 'this is no database, and never was one'.repeat(100));
        else rot(file);
      }
    };
    let said = 0;
    const options = { owner, framesAnExchange: 20, after: async () => (said++ === 2 ? (await cut(), true) : true) };
    const first = await sites.send(second, options);
    // Where what OPEN has agreed is lost with the file the sender is told to open again, which its next attempt does.
    const sent = first.end.kind === 'committed' ? first : await sites.send(second, { owner });
    if (first.end.kind !== 'committed') expect(first.refusals).toEqual(['SESSION_FORGOTTEN']);
    expect({ end: sent.end, refusals: sent.refusals }).toEqual({ end: { kind: 'committed' }, refusals: [] });
    expect(await whatIsWrong(sites, second)).toEqual([]);
  },
);

/** Flips a byte in each page of the database but the first, its schema. */
function rot(file: string): void {
  if (!file.endsWith('.session')) return;
  const bytes = readFileSync(file);
  for (let at = 4096 + 2000; at < bytes.length; at += 4096) bytes[at] = (bytes[at] ?? 0) ^ 0x55;
  writeFileSync(file, bytes);
}

test('packs of the claim that are lost with a restart are asked for again, and only those', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 120, 3));
  const names = await namesOfSnapshot(await sites.source(), snapshot);
  let lost = 0;
  let wasHarmed = false;
  const sent = await sites.send(snapshot, {
    framesAnExchange: 1000,
    after: async (answers) => {
      if (wasHarmed || !answers.some((answer) => answer.kind === 'MISSING' && answer.outstanding === 0)) return true;
      // The closing answer is lost with the receiver, and with it one of two packs.
      wasHarmed = true;
      const [pack] = sites.packs().filter((file) => file.includes('/00000000-'));
      if (pack !== undefined) harm(pack, 'truncate');
      lost = names.size;
      await sites.restart();
      return false;
    },
  });
  expect({ end: sent.end, refusals: sent.refusals }).toEqual({ end: { kind: 'committed' }, refusals: [] });
  expect(sent.pushed.length).toBeLessThanOrEqual(names.size + lost);
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});
