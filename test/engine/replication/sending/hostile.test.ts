/** A receiver that is out of order, or against us: the sender ends, clearly and soon, and gives nothing that is not the snapshot's. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { AnswerFrame, Link, SessionMessageFrame } from '../../../../src/engine/replication/frames.ts';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import { openSession, runRound, runSession } from '../../../../src/engine/replication/sending/session.ts';
import { plainSession, type OpenedSession, type SessionParts } from '../../../../src/engine/replication/sending/session-parts.ts';
import { EXTENT, PEER, extents, twoSites, type TwoSites } from '../receiving/two-sites.ts';
import { inProcess } from './in-process-link.ts';

let sites: TwoSites;
let captured = 0;
beforeAll(async () => {
  sites = await twoSites();
});
afterAll(async () => {
  await sites[Symbol.asyncDispose]();
});

const EXTENTS = 40;
const next = (): Promise<Snapshot> => sites.capture(extents(0, EXTENTS, ++captured));

type Answering = (honest: () => Promise<readonly AnswerFrame[]>, rest: readonly SessionMessageFrame[]) => Promise<readonly AnswerFrame[]>;

/** A receiver that is honest until it answers something else; time passes with each wait. What is left open is taken over. */
async function partsOf(of: Snapshot, answering: Answering): Promise<SessionParts> {
  const honest = inProcess(() => sites.receiving(), PEER);
  const link: Link = { exchange: (first, rest, signal) => answering(async () => honest.exchange(first, rest, signal), rest) };
  let nowMs = 0;
  const pace = { nowMs: () => nowMs, sleep: async (ms: number) => void (nowMs += ms), random: () => 0.5 };
  const source = await sites.source();
  return plainSession({
    ...{ source, store: 'here', of, threads: sites.threads, link, proof: 'listed', takesOver: true },
    ...{ owner: `run ${of.id}`, attempt: 1, pace, patienceMs: 60_000 },
  });
}

const refused = (code: string): readonly AnswerFrame[] => [{ kind: 'REFUSED', code, message: 'the test' }];
const says = (rest: readonly SessionMessageFrame[], kind: SessionMessageFrame['kind']): boolean => rest[0]?.kind === kind;

/** Changes each MISSING. */
const listing =
  (change: (answer: Extract<AnswerFrame, { kind: 'MISSING' }>) => AnswerFrame): Answering =>
  async (honest) =>
    (await honest()).map((answer) => (answer.kind === 'MISSING' ? change(answer) : answer));

/** Keeps nothing of what it says that it keeps. */
const forgetful: Answering = (honest, rest) => {
  if (!says(rest, 'DATA')) return honest();
  const turn = rest[0]?.kind === 'DATA' ? rest[0].turn : 0;
  return Promise.resolve([{ kind: 'KEPT', turn, accepted: rest.length, dropped: 0 }]);
};

test('a name that the snapshot does not have there is not given', async () => {
  const foreign = await next();
  const [{ name } = { name: '' }] = (await (await partsOf(foreign, (honest) => honest())).content.rows(0, 0, { kind: 'nothing' }, false))
    .rows;
  const of = await next();
  for (const [at, wanted] of [
    [0, name],
    [EXTENTS, name],
    [65_535, name],
    [0, 'f'.repeat(64)],
  ] as const) {
    const parts = await partsOf(
      of,
      listing((answer) => ({ ...answer, outstanding: 1, pages: [], names: [{ at, name: wanted }] })),
    );
    await expect(runSession(parts)).rejects.toMatchObject({ code: 'FRAME_INVALID' });
  }
});

test('what is sent and asked for again and again ends the session, which says the names', async () => {
  const of = await next();
  const outcome = await runSession(await partsOf(of, forgetful));
  // Sent ahead, for nothing is counted there yet; then asked for in a first round and in the two that brought nothing.
  expect(outcome).toMatchObject({ kind: 'failed', code: 'MISSING_EXTENTS', nameCount: EXTENTS, figures: { askedAgain: 3 * EXTENTS } });
  if (outcome.kind === 'failed') expect(outcome.names.length).toBe(20);
});

test('a round ends with what is outstanding as soon as it is asked for again', async () => {
  const of = await next();
  const parts = await partsOf(of, forgetful);
  const { session } = (await openSession(parts)) as { readonly session: OpenedSession };
  for (const call of [0, 1]) {
    const round = await runRound(parts, session, { subtrees: [0], call });
    expect(round).toMatchObject({ missing: EXTENTS, open: [0], figures: { uniqueBytes: EXTENTS * EXTENT } });
    expect(round.names).toHaveLength(20);
  }
  const honest = await partsOf(of, (answer) => answer());
  expect(await runRound(honest, session, { subtrees: [0], call: 2 })).toMatchObject({ missing: 0, open: [] });
});

test('what it says in words steers no terminal', async () => {
  const steering: AnswerFrame = { kind: 'REFUSED', code: 'RECEIVER_DENIED', message: 'no\u001b[2J\u0007\u202eway' };
  const parts = await partsOf(await next(), () => Promise.resolve([steering]));
  await expect(runSession(parts)).rejects.toMatchObject({ code: 'RECEIVER_DENIED', message: 'the receiver refuses: no [2J way' });
});

test('what passes is waited for, and not for ever', async () => {
  const of = await next();
  let full = 0;
  const parts = await partsOf(of, (honest, rest) => (says(rest, 'DATA') && full++ < 5 ? Promise.resolve(refused('STORE_FULL')) : honest()));
  expect(await runSession(parts)).toMatchObject({ kind: 'committed' });
  expect(full).toBeGreaterThan(5);
  const never = await partsOf(await next(), (honest, rest) => (says(rest, 'DATA') ? Promise.resolve(refused('STORE_FULL')) : honest()));
  await expect(runSession(never)).rejects.toMatchObject({ code: 'STORE_FULL' });
});

test.each<readonly [string, string, Answering]>([
  [
    'data that is false each time',
    'NAME_FALSE',
    (honest, rest) => (says(rest, 'DATA') ? Promise.resolve(refused('NAME_FALSE')) : honest()),
  ],
  [
    'a quota that is used up',
    'RECEIVER_FULL',
    (honest, rest) => (says(rest, 'REFERENCES') ? Promise.resolve(refused('RECEIVER_FULL')) : honest()),
  ],
  ['a code that nobody knows', 'FRAME_INVALID', (honest, rest) => (says(rest, 'COMMIT') ? Promise.resolve(refused('WHATEVER')) : honest())],
  ['a list that says nothing', 'MISSING_EXTENTS', listing((answer) => ({ ...answer, outstanding: 3, pages: [], names: [] }))],
  ['a list of another round', 'FRAME_INVALID', listing((answer) => ({ ...answer, round: answer.round + 1 }))],
  [
    'a snapshot that is withheld for ever',
    'MISSING_EXTENTS',
    (honest, rest) => (says(rest, 'COMMIT') ? Promise.resolve([{ kind: 'WITHHELD', subtrees: [0] }]) : honest()),
  ],
  [
    'another snapshot under its id',
    'ROOT_DIFFERS',
    (honest, rest) => (says(rest, 'COMMIT') ? Promise.resolve([{ kind: 'COMMITTED', root: '1'.repeat(64) }]) : honest()),
  ],
  ['silence where answers are due', 'FRAME_INVALID', (honest, rest) => (rest.length > 0 ? Promise.resolve([]) : honest())],
])('the call ends: %s', async (_, code, answering) => {
  await expect(runSession(await partsOf(await next(), answering))).rejects.toMatchObject({ code });
});
