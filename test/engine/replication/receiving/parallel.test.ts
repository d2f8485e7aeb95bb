/** Exchanges at once, sessions at once, and a store that refuses: memory is shared and bounded, and nothing is kept twice. */
import { expect, test } from '@jest/globals';
import { statSync } from 'node:fs';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import type { AnswerFrame, DataFrame, SessionMessageFrame } from '../../../../src/engine/replication/frames.ts';
import { interceptStore } from '../../../../src/ground/stores/intercept.ts';
import { collect, framesOf, openFrameOf } from './tiny-sender.ts';
import { EXTENT, extents, PEER, twoSites, whatIsWrong } from './two-sites.ts';

const dataOf = (frames: readonly SessionMessageFrame[]): DataFrame[] => frames.filter((frame) => frame.kind === 'DATA');

const keptOf = (answers: readonly AnswerFrame[]) =>
  answers
    .flatMap((answer) => (answer.kind === 'KEPT' ? [answer] : []))
    .reduce((sum, { accepted, dropped }) => [sum[0]! + accepted, sum[1]! + dropped], [0, 0]);

test('the same data in four exchanges at once is accepted once, and lies in the store once', async () => {
  await using sites = await twoSites();
  const snapshot = await sites.capture(extents(0, 96, 1));
  const kept: number[][] = [];
  const sent = await sites.send(snapshot, {
    framesAnExchange: 200,
    before: async (frames, said) => {
      const data = dataOf(frames);
      if (data.length === 0 || said > 3) return frames;
      const { epoch } = sites.receiving().status()[0]!;
      const first = { kind: 'SESSION' as const, epoch, snapshot: snapshot.id, lineage: snapshot.lineage };
      const say = () => collect(sites.receiving().exchange(PEER, first, framesOf(data), new AbortController().signal));
      kept.push(...(await Promise.all([say(), say(), say(), say()])).map(keptOf));
      expect(sites.receiving().status()[0]!.figures.accepted).toBe(96);
      return frames;
    },
  });
  expect(kept.reduce((sum, [accepted = 0]) => sum + accepted, 0)).toBe(96);
  expect(kept.reduce((sum, [, dropped = 0]) => sum + dropped, 0)).toBe(3 * 96);
  expect(sent.end).toEqual({ kind: 'committed' });
  const storedBytes = sites.packs().reduce((sum, file) => sum + statSync(file).size, 0);
  // Half of the values are noise, the others compress to half; a few nodes beside them.
  expect(storedBytes).toBeLessThan(96 * EXTENT);
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('sessions that hold all buffers and say nothing more keep nobody waiting', async () => {
  // Two threads: two packs for all sessions.
  await using sites = await twoSites({ packsPerThread: 1 });
  const snapshot = await sites.capture(extents(0, 30, 1));
  const stop = new AbortController().signal;
  const peers = Array.from({ length: 5 }, (_, i) => ({ ...PEER, id: `token ${i}`, prefix: `peer${i}-` }));
  const half = { attempt: 1, framesAnExchange: 8 };
  for (const peer of peers) {
    let said = 0;
    // Each gives up in the middle, with values in an open pack.
    const cut = sites.send(snapshot, {
      ...half,
      peer,
      before: (frames) => {
        if (dataOf(frames).length > 0 && ++said > 2) throw new Error('cut off');
        return frames;
      },
    });
    await expect(cut).rejects.toThrow('cut off');
  }
  expect(sites.receiving().status()).toHaveLength(5);
  const ends = await Promise.all(peers.map((peer) => sites.send(snapshot, { ...half, attempt: 2, peer })));
  expect(ends.map(({ end }) => end.kind)).toEqual(peers.map(() => 'committed'));
  const open = openFrameOf({ source: await sites.source(), snapshot, hearing: () => sites.receiving(), peer: PEER }, []);
  expect(await collect(sites.receiving().exchange(PEER, open, framesOf([]), stop))).toMatchObject([{ kind: 'OPENED', fresh: true }]);
});

test('what a store refuses is asked for again, and nothing of it counts', async () => {
  let refusing = 0;
  await using sites = await twoSites({}, (store, name) => ({
    ...store,
    ...interceptStore(store, (call, run) => {
      if (name !== 'there' || call.operation !== 'put' || !/-p[0-9a-f]{4}$/.test(call.name) || refusing === 0) return run();
      refusing--;
      throw new HoldfastError('STORE_FULL', 'no room');
    }),
  }));
  const snapshot = await sites.capture(extents(0, 50, 1));
  refusing = 1;
  const sent = await sites.send(snapshot);
  expect(refusing).toBe(0);
  expect(sent.end).toEqual({ kind: 'committed' });
  expect(sent.pushed).toHaveLength(100);
  expect(await whatIsWrong(sites, snapshot)).toEqual([]);
});

test('names that wait are bounded, whatever a sender names', async () => {
  await using sites = await twoSites({ waitingMax: 40 });
  const snapshot = await sites.capture(extents(0, 50, 1));
  expect((await sites.send(snapshot)).refusals).toEqual(['FRAME_INVALID']);
  const few = await sites.capture(extents(0, 50, 0).map(({ extent }) => ({ extent, content: extent < 20 ? extent + 1 : 0 })));
  // The lineage's open session is that of the other snapshot.
  expect((await sites.send(few)).refusals).toEqual(['TAKEN']);
  expect((await sites.send(few, { takesOver: true })).end).toEqual({ kind: 'committed' });
});
