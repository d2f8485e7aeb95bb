/** The sender's driver against the receiver, in one process: what is sent, what is asked again, and that it always ends. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import { childOf } from '../../../../src/engine/map/node.ts';
import { childrenAt, mapRoot } from '../../../../src/engine/map/walk.ts';
import { LOCATION_BYTES, readLocation } from '../../../../src/engine/repository/location.ts';
import { packNameOf } from '../../../../src/engine/repository/object-names.ts';
import type { Link } from '../../../../src/engine/replication/frames.ts';
import {
  abandonSession,
  confirmSession,
  openSession,
  runRound,
  runSession,
  type SessionOutcome,
} from '../../../../src/engine/replication/sending/session.ts';
import { plainSession, type OpenedSession, type SessionParts } from '../../../../src/engine/replication/sending/session-parts.ts';
import type { ReadValue } from '../../../../src/engine/replication/sending/content.ts';
import { namesOfSnapshot } from '../receiving/tiny-sender.ts';
import { EXTENT, PEER, extents, harm, twoSites, whatIsWrong, type TwoSites } from '../receiving/two-sites.ts';
import { inProcess, troubled, unreachable, watched } from './in-process-link.ts';

let sites: TwoSites;
beforeAll(async () => {
  sites = await twoSites();
});
afterAll(async () => {
  await sites[Symbol.asyncDispose]();
});

const linkTo = (to: TwoSites): Link => inProcess(() => to.receiving(), PEER);

async function partsOf(from: TwoSites, of: Snapshot, link: Link, own: Partial<SessionParts> = {}): Promise<SessionParts> {
  return plainSession({
    ...{ source: await from.source(), store: 'here', of, threads: from.threads, link, proof: 'listed', takesOver: false },
    ...{ owner: `run ${of.id}`, attempt: 1, pace: { nowMs: () => performance.now(), sleep: async () => undefined, random: Math.random } },
    ...own,
  });
}

/** Flips a bit of each of these extents where it lies in the sender's store; answers their names. */
async function damageExtents(from: TwoSites, { root, rootLocation }: Snapshot, damaged: readonly number[]): Promise<string[]> {
  const source = await from.source();
  const leaf = await childrenAt(mapRoot(root, rootLocation), source.readNode, 1, 0);
  if (leaf === null) throw new Error('there is no leaf');
  const folder = from.installation.storeFolder('here');
  const files = readdirSync(folder, { recursive: true }).map(String);
  return damaged.map((extent) => {
    const at = readLocation(leaf.locations, extent * LOCATION_BYTES);
    const file = files.find((one) => at !== null && one.endsWith(packNameOf(at.pack)));
    if (at === null || file === undefined) throw new Error(`extent ${extent} is not found`);
    const bytes = readFileSync(path.join(folder, file));
    bytes[at.offset + 50] = (bytes[at.offset + 50] ?? 0) ^ 1;
    writeFileSync(path.join(folder, file), bytes);
    return childOf(leaf.children, extent).toString('hex');
  });
}

const committed = (snapshot: Snapshot): Partial<SessionOutcome> => ({ kind: 'committed', root: snapshot.root ?? '' });

test('a full session names each extent and sends each value once, as it is stored', async () => {
  const snapshot = await sites.capture([...extents(0, 300, 1), ...extents(310, 20, 1)]);
  const { link, namesSent } = watched(linkTo(sites));
  const outcome = await runSession(await partsOf(sites, snapshot, link));
  expect(outcome).toMatchObject(committed(snapshot));
  const names = await namesOfSnapshot(await sites.source(), snapshot);
  expect(new Set(namesSent())).toEqual(names);
  expect(outcome.figures).toMatchObject({ sent: names.size, referenced: 320, askedAgain: 0, dropped: 0, saidAgain: 0 });
  expect(outcome.figures).toMatchObject({ logicalBytes: 320 * EXTENT, uniqueBytes: names.size * EXTENT });
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('an incremental session sends what is new, and one in which nothing changed a few bytes', async () => {
  const changed = await sites.capture([...extents(7, 3, 2), { extent: 299, content: 0 }]);
  const { link, namesSent } = watched(linkTo(sites));
  const outcome = await runSession(await partsOf(sites, changed, link));
  expect(outcome).toMatchObject({ ...committed(changed), figures: { referenced: 3, sent: 3 } });
  expect(namesSent()).toHaveLength(3);
  expect(await whatIsWrong(sites, changed)).toEqual([]);

  const same = await sites.capture([]);
  const { figures, ...end } = await runSession(await partsOf(sites, same, linkTo(sites)));
  expect(end).toMatchObject(committed(same));
  expect(figures.sent).toBe(0);
  expect(figures.wireBytes).toBeLessThan(2048);
});

test('without a base in common pages are whole, and cost names alone', async () => {
  const snapshot = await sites.capture(extents(20, 2, 3));
  const parts = await partsOf(sites, snapshot, linkTo(sites));
  const outcome = await runSession({ ...parts, content: { ...parts.content, bases: [], against: () => ({ kind: 'unknown' }) } });
  expect(outcome).toMatchObject({ ...committed(snapshot), figures: { sent: 2, referenced: 319 } });
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('a session that was committed is told so, by whatever call asks', async () => {
  const snapshot = await sites.capture(extents(30, 2, 4));
  const parts = await partsOf(sites, snapshot, linkTo(sites));
  const opened = await openSession(parts);
  expect(await runSession(parts)).toMatchObject(committed(snapshot));
  expect(await openSession(parts)).toMatchObject({ kind: 'committed', root: snapshot.root });
  if (opened.kind !== 'opened') throw new Error('it was not opened');
  expect(await confirmSession(parts, opened.session)).toMatchObject({ root: snapshot.root });
  expect(await runRound(parts, opened.session, { subtrees: [0], call: 3 })).toMatchObject({ missing: 0 });
});

test('another owner is told that the lineage is taken, and takes it over when it is told to', async () => {
  const snapshot = await sites.capture(extents(40, 2, 5));
  const parts = await partsOf(sites, snapshot, linkTo(sites));
  const { session } = (await openSession(parts)) as { readonly session: OpenedSession };
  const other = { ...parts, owner: 'another' };
  expect(await runSession(other)).toMatchObject({ kind: 'failed', code: 'CLAIM_LOST' });
  expect(await openSession({ ...other, takesOver: true })).toMatchObject({ kind: 'opened' });
  await expect(runRound(parts, session, { subtrees: [0], call: 0 })).rejects.toMatchObject({ code: 'CLAIM_LOST' });
  expect(await runSession({ ...other, takesOver: true, attempt: 2 })).toMatchObject(committed(snapshot));
});

test('as activities: rounds over subtrees, a confirmation that fails while something is outstanding, a call that is made again', async () => {
  const snapshot = await sites.capture(extents(50, 30, 6));
  const { link, namesSent } = watched(linkTo(sites));
  const parts = await partsOf(sites, snapshot, link);
  const { session } = (await openSession(parts)) as { readonly session: OpenedSession };
  expect(session).toMatchObject({ fresh: true, subtrees: 1 });
  await expect(confirmSession(parts, session)).rejects.toMatchObject({
    code: 'MISSING_EXTENTS',
    retryable: true,
    details: { subtrees: [0] },
  });
  // Killed as soon as pages were noted; the next call of the same attempt goes on from what is there.
  const killed = new AbortController();
  const mortal = watched(link, (n) => (n === 1 ? killed.abort(new Error('killed')) : undefined));
  await expect(runRound({ ...parts, link: mortal.link, signal: killed.signal }, session, { subtrees: [0], call: 0 })).rejects.toThrow(
    'killed',
  );
  expect(await runRound(parts, session, { subtrees: [0], call: 1 })).toMatchObject({ missing: 0, open: [], figures: { sent: 30 } });
  expect(namesSent()).toHaveLength(30);
  // A call that was left behind is not heard any more.
  await expect(runRound(parts, session, { subtrees: [0], call: 0 })).rejects.toMatchObject({ code: 'ROUND_OVER' });
  expect(await confirmSession(parts, session)).toMatchObject({ root: snapshot.root });
});

test('a session that is abandoned is over, and the next one of the lineage is not in its way', async () => {
  const snapshot = await sites.capture(extents(60, 2, 7));
  const parts = await partsOf(sites, snapshot, linkTo(sites));
  const { session } = (await openSession(parts)) as { readonly session: OpenedSession };
  await abandonSession(parts, session);
  await expect(confirmSession(parts, session)).rejects.toMatchObject({ code: 'CLAIM_LOST' });
  expect(await runSession({ ...parts, attempt: 2 })).toMatchObject(committed(snapshot));
});

test('packs that go at the receiver when all is proven are pushed again by the next session with the proof all, and nothing else is', async () => {
  await using own = await twoSites();
  expect((await own.send(await own.capture(extents(0, 200, 1)))).end.kind).toBe('committed');
  const second = await own.capture(extents(100, 50, 2));
  let harmed = 0;
  const { link } = watched(linkTo(own), (_, rest) => {
    if (harmed > 0 || rest[0]?.kind !== 'COMMIT') return;
    for (const file of own.packs()) {
      harm(file, 'delete');
      harmed++;
    }
  });
  // Lost after its subtree was closed: that is the next session's.
  expect(await runSession(await partsOf(own, second, link, { proof: 'all' }))).toMatchObject(committed(second));
  expect(harmed).toBeGreaterThan(0);
  const third = await own.capture(extents(150, 1, 3));
  const healed = await runSession(await partsOf(own, third, linkTo(own), { proof: 'all' }));
  expect(healed).toMatchObject(committed(third));
  expect(healed.figures.sent).toBe(200);
  expect(await whatIsWrong(own, third)).toEqual([]);
});

test('names that are gone at the sender end the session, and say which', async () => {
  await using own = await twoSites();
  const snapshot = await own.capture(extents(0, 50, 1));
  const lost = await damageExtents(own, snapshot, [3, 40]);
  const outcome = await runSession(await partsOf(own, snapshot, linkTo(own)));
  expect(outcome).toMatchObject({ kind: 'failed', code: 'NAME_GONE', nameCount: 2 });
  if (outcome.kind === 'failed') expect([...outcome.names].sort()).toEqual(lost.sort());
  await own.capture([3, 40].map((extent) => ({ extent, content: 7 + extent })));
  const next = await own.capture(extents(60, 5, 2));
  expect(await runSession(await partsOf(own, next, linkTo(own)))).toMatchObject(committed(next));
});

test('a value that the receiver calls false is looked at before it is sent again, and is gone if it is not what it should be', async () => {
  for (const isWhole of [true, false]) {
    const snapshot = await sites.capture(extents(60, 8, isWhole ? 71 : 72));
    const parts = await partsOf(sites, snapshot, linkTo(sites));
    const { read } = parts.content;
    const looks: boolean[] = [];
    const content: SessionParts['content'] = {
      ...parts.content,
      async read(due, deliver, signal, inFull) {
        looks.push(inFull);
        const bad = due[0]?.name;
        if (inFull && !isWhole) return [bad ?? ''];
        // As if it had been sealed under a name that is not its own.
        const falsified = (value: ReadValue): ReadValue =>
          value.name === bad ? { ...value, codec: 0, body: Buffer.alloc(EXTENT, 9) } : value;
        return read(due, (values) => deliver(inFull ? values : values.map(falsified)), signal, inFull);
      },
    };
    const outcome = await runSession({ ...parts, content });
    expect(outcome).toMatchObject(isWhole ? committed(snapshot) : { kind: 'failed', code: 'NAME_GONE', nameCount: 1 });
    expect([looks[0], looks.at(-1)]).toEqual([false, true]);
    if (!isWhole) return;
    expect(await whatIsWrong(sites, snapshot)).toEqual([]);
  }
});

test('a link that is away is waited for, and no longer than the patience lasts', async () => {
  await using own = await twoSites();
  const snapshot = await own.capture(extents(0, 50, 1));
  let nowMs = 0;
  const pace = { nowMs: () => nowMs, sleep: async (ms: number) => void (nowMs += ms), random: () => 0.5 };
  let away = 0;
  const link: Link = {
    exchange: (...said) => (nowMs < 60_000 && away++ > 1 ? Promise.reject(unreachable()) : linkTo(own).exchange(...said)),
  };
  const parts = await partsOf(own, snapshot, link, { pace, patienceMs: 90_000 });
  expect(await runSession(parts)).toMatchObject(committed(snapshot));
  const never: Link = { exchange: () => Promise.reject(unreachable()) };
  await expect(runSession({ ...parts, link: never })).rejects.toMatchObject({ code: 'RECEIVER_UNREACHABLE', retryable: true });
});

test('a sender that is killed at any exchange is followed by one that goes on from what the receiver has', async () => {
  await using own = await twoSites();
  const base = await own.capture(extents(0, 300, 1));
  expect(await runSession(await partsOf(own, base, linkTo(own)))).toMatchObject(committed(base));
  for (let killAt = 0, exchanges = Infinity; killAt < exchanges; killAt++) {
    const snapshot = await own.capture([...extents(killAt, 20, 2 + killAt), ...extents(280, 5, 50 + killAt)]);
    const killed = new AbortController();
    const mortal = watched(linkTo(own), (n) => (n === killAt ? killed.abort(new Error('killed')) : undefined));
    await expect(runSession(await partsOf(own, snapshot, mortal.link, { signal: killed.signal }))).rejects.toThrow('killed');
    const { link, said } = watched(linkTo(own));
    const outcome = await runSession(await partsOf(own, snapshot, link, { attempt: 2 }));
    expect(outcome).toMatchObject(committed(snapshot));
    expect(outcome.figures.sent).toBeLessThanOrEqual(25);
    exchanges = Math.min(exchanges, said.length);
  }
  expect(await whatIsWrong(own, [...(await own.source()).ledger().snapshots.values()].at(-1)!)).toEqual([]);
});

const TROUBLES = { lost: 0.1, answersLost: 0.1, twice: 0.15, delayMsMost: 3 };

test.each([1, 2, 3, 4, 5, 6])(
  'through a link that loses, doubles and delays, killed and started again, receiver and all: seed %i',
  async (seed) => {
    await using own = await twoSites({ namesMax: 40 });
    const snapshots = [await own.capture(extents(0, 200, 1)), await own.capture([...extents(20, 60, 2), ...extents(300, 40, 3)])];
    for (const snapshot of snapshots) {
      let outcome: SessionOutcome | null = null;
      for (let attempt = 1; outcome === null; attempt++) {
        const killed = new AbortController();
        const killAt = attempt > 6 ? Infinity : (seed * 7 + attempt * 5) % 23;
        const { link } = watched(troubled(linkTo(own), seed * 100 + attempt, TROUBLES), async (n) => {
          if (n === killAt + 3 && attempt % 2 === 0) await own.restart();
          if (n === killAt) killed.abort(new Error('killed'));
        });
        const parts = await partsOf(own, snapshot, link, { attempt, signal: killed.signal });
        outcome = await runSession(parts).catch((error: unknown) => {
          if (error instanceof Error && error.message === 'killed') return null;
          throw error;
        });
      }
      expect(outcome).toMatchObject(committed(snapshot));
    }
    expect(await whatIsWrong(own, snapshots[1]!)).toEqual([]);
  },
);
