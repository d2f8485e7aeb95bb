/** What a sender may not do, and what two of them do to each other. */
import { expect, test } from '@jest/globals';
import { readdirSync } from 'node:fs';
import { fingerprintOf } from '../../../../src/engine/map/node.ts';
import type { Peer, SessionMessageFrame } from '../../../../src/engine/replication/frames.ts';
import { collect, framesOf, openFrameOf } from './tiny-sender.ts';
import { EXTENT, extents, PEER, twoSites, whatIsWrong, type TwoSites } from './two-sites.ts';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';

const say = async (sites: TwoSites, snapshot: Snapshot, frames: readonly SessionMessageFrame[], epoch: number, peer: Peer = PEER) => {
  const first = { kind: 'SESSION' as const, epoch, snapshot: snapshot.id, lineage: snapshot.lineage };
  return collect(sites.receiving().exchange(peer, first, framesOf(frames), new AbortController().signal));
};

const open = async (sites: TwoSites, snapshot: Snapshot, peer: Peer = PEER, own: object = {}) => {
  const options = { source: await sites.source(), snapshot, hearing: () => sites.receiving(), peer, owner: 'run' };
  return collect(sites.receiving().exchange(peer, openFrameOf({ ...options, ...own }, []), framesOf([]), new AbortController().signal));
};

test('a second sender takes over once it has seen the first, which is told so; what was brought is not sent again', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 80, 1));
  let second: Awaited<ReturnType<TwoSites['send']>> | null = null;
  const first = await sites.send(snapshot, {
    owner: 'first',
    framesAnExchange: 20,
    after: async (_, frames) => {
      if (second !== null || frames.filter(({ kind }) => kind === 'DATA').length < 20) return true;
      expect((await sites.send(snapshot, { owner: 'second' })).refusals).toEqual(['TAKEN']);
      second = await sites.send(snapshot, { owner: 'second', takesOver: true });
      return true;
    },
  });
  // It is committed by now, and whoever asks is told so.
  expect(first.end).toEqual({ kind: 'committed' });
  expect(second!.end).toEqual({ kind: 'committed' });
  // What the first had said when the second opened was kept: it was confirmed before the claim changed hands.
  expect(second!.pushed).toHaveLength(60);
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('an older epoch is told that its claim is lost, whatever it says', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 10, 1));
  const [opened] = await open(sites, snapshot);
  const epoch = opened?.kind === 'OPENED' ? opened.epoch : 0;
  const [again] = await open(sites, snapshot, PEER, { attempt: 2 });
  expect(again?.kind === 'OPENED' && again.epoch > epoch).toBe(true);
  expect(await say(sites, snapshot, [{ kind: 'COMMIT', root: '0'.repeat(64) }], epoch)).toMatchObject([
    { kind: 'REFUSED', code: 'CLAIM_LOST' },
  ]);
  expect(await say(sites, snapshot, [{ kind: 'ABORT', reason: '' }], epoch)).toEqual([{ kind: 'ENDED' }]);
  expect(await open(sites, snapshot, PEER, { attempt: 1 })).toMatchObject([{ kind: 'REFUSED', code: 'CLAIM_LOST' }]);
  expect(sites.receiving().status()).toHaveLength(1);
});

test('a token without the right, or of another name space, adds nothing and finds nothing', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 10, 1));
  expect(await open(sites, snapshot, { ...PEER, rights: ['hide'] })).toMatchObject([{ kind: 'REFUSED', code: 'RECEIVER_DENIED' }]);
  const [opened] = await open(sites, snapshot);
  const epoch = opened?.kind === 'OPENED' ? opened.epoch : 0;
  const other = { ...PEER, id: 'other', prefix: 'other-' };
  expect(await say(sites, snapshot, [{ kind: 'COMMIT', root: '0'.repeat(64) }], epoch, other)).toMatchObject([
    { kind: 'REFUSED', code: 'CLAIM_LOST' },
  ]);
  const long = { ...PEER, prefix: 'x'.repeat(63) };
  expect(await open(sites, snapshot, long)).toMatchObject([{ kind: 'REFUSED', code: 'ARGUMENT_INVALID' }]);
});

test('what a sender names is charged before anything is stored', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 100, 1));
  const packs = sites.packs().length;
  const sent = await sites.send(snapshot, { peer: { ...PEER, quotaBytes: 50 * EXTENT } });
  expect(sent.refusals).toEqual(['RECEIVER_FULL']);
  expect(sent.pushed).toEqual([]);
  expect(sites.packs()).toHaveLength(packs);
  const enough = await sites.send(snapshot, { peer: { ...PEER, quotaBytes: 101 * EXTENT } });
  expect(enough.end).toEqual({ kind: 'committed' });
  const next = await sites.capture(extents(0, 100, 2));
  expect((await sites.send(next, { peer: { ...PEER, quotaBytes: 101 * EXTENT } })).refusals).toEqual(['RECEIVER_FULL']);
});

test('data under a false name, of another size, or a bomb is refused and leaves its placeholder', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 40, 1));
  const lies: ((frame: Extract<SessionMessageFrame, { kind: 'DATA' }>) => SessionMessageFrame)[] = [
    (frame) => ({ ...frame, body: Buffer.concat([frame.body.subarray(0, -1), Buffer.from([(frame.body.at(-1) ?? 0) ^ 1])]) }),
    (frame) => ({ ...frame, codec: 0, body: Buffer.alloc(EXTENT, 7) }),
    (frame) => ({ ...frame, codec: 0, body: Buffer.alloc(EXTENT - 1) }),
    (frame) => ({ ...frame, codec: 0, body: Buffer.alloc(3 * EXTENT) }),
    (frame) => ({ ...frame, codec: 1, body: Buffer.from('28b52ffda000000001540000000010000001000000ffff39c002', 'hex') }),
    (frame) => ({ ...frame, codec: 1, body: Buffer.alloc(0) }),
  ];
  let told = 0;
  const sent = await sites.send(snapshot, {
    framesAnExchange: 10,
    before: (frames) => {
      const at = frames.findIndex(({ kind }) => kind === 'DATA');
      const lie = at < 0 ? undefined : lies[told];
      if (lie === undefined) return frames;
      told++;
      return frames.map((frame, i) => (i === at && frame.kind === 'DATA' ? lie(frame) : frame));
    },
  });
  expect(told).toBe(lies.length);
  expect(sent.refusals).toEqual(lies.map(() => 'NAME_FALSE'));
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('a value of another size than an extent is refused though it has its name', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 10, 1));
  const [opened] = await open(sites, snapshot);
  const epoch = opened?.kind === 'OPENED' ? opened.epoch : 0;
  const body = Buffer.alloc(EXTENT - 512, 3);
  const name = fingerprintOf(body).toString('hex');
  const said = await say(
    sites,
    snapshot,
    [
      { kind: 'REFERENCES', whole: false, turn: 0, subtree: 0, page: 0, rows: [{ child: 0, name }] },
      { kind: 'DATA', asked: true, turn: 0, name, codec: 0, body },
    ],
    epoch,
  );
  expect(said).toMatchObject([{ kind: 'NOTED' }, { kind: 'REFUSED', code: 'NAME_FALSE' }]);
});

test('a root that is not the map is refused before there is a record; data that nobody waits for is dropped', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 20, 1));
  const spare: SessionMessageFrame = { kind: 'DATA', asked: true, turn: 0, name: 'ab'.repeat(32), codec: 0, body: Buffer.alloc(EXTENT) };
  const before = (await sites.target().catch(() => null))?.ledger().n ?? 0;
  const sent = await sites
    .send(snapshot, {
      before: (frames) => [spare, ...frames].map((frame) => (frame.kind === 'COMMIT' ? { ...frame, root: 'cd'.repeat(32) } : frame)),
      after: (answers) => answers.every(({ kind }) => kind !== 'KEPT'),
    })
    .catch((error: unknown) => error);
  expect(sent).toBeInstanceOf(Error);
  const target = await sites.target();
  expect(target.ledger().snapshots.size).toBe(0);
  expect(target.ledger().n).toBeLessThanOrEqual(before + 1);
  expect(sites.receiving().status()[0]?.figures.dropped).toBeGreaterThan(0);
});

test('a session that nobody speaks in is closed after a day, and its file is gone', async () => {
  await using sites = await twoSites({ idleMs: 0 });
  const snapshot = await sites.capture(extents(0, 10, 1));
  await open(sites, snapshot);
  expect(readdirSync(sites.sessions).length).toBeGreaterThan(0);
  await sites.receiving().tend();
  expect(readdirSync(sites.sessions)).toEqual([]);
  expect((await sites.target()).ledger().claims.size).toBe(0);
  expect((await sites.send(snapshot)).end).toEqual({ kind: 'committed' });
});
