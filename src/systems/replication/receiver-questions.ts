/** What senders ask a receiver beside their exchanges: how their sessions stand, how a snapshot does, and that it be hidden. */
import type { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { Peer } from '../../engine/replication/frames.ts';
import { hideFor, hideWish, lookFor, lookWish } from '../../engine/replication/receiving/hiding.ts';
import type { SessionStatus } from '../../engine/replication/receiving/receiving.ts';
import type { Questions } from '../../engine/replication/transport/questions.ts';

/** A session as its sender is told of it: under its own names. */
export type OwnSession = Pick<SessionStatus, 'lineage' | 'snapshot' | 'epoch' | 'status' | 'sizeBytes' | 'heardMs' | 'figures'>;

/** A token has 16 open at the most; of those that have ended it hears of the last few. */
const SESSIONS_TOLD_MAX = 32;

/** `sessions`: of all tokens, open ones first, then the newest. */
export const questionsTo = (home: Home, sessions: () => readonly SessionStatus[]): Questions =>
  new Map([
    [
      '/v1/session',
      {
        ...{ method: 'GET', right: null },
        answer: (peer) => Promise.resolve({ sessions: ownSessions(sessions(), peer) }),
      },
    ],
    ['/v1/snapshot', { ...{ method: 'POST', right: 'hide' }, answer: async (peer, input) => lookFor(home, peer, judged(lookWish, input)) }],
    [
      '/v1/hide',
      {
        ...{ method: 'POST', right: 'hide' },
        async answer(peer, input) {
          const wish = judged(hideWish, input);
          await hideFor(home, peer, wish);
          return { hidden: wish.snapshot };
        },
      },
    ],
  ]);

function judged<T>(schema: z.ZodType<T>, input: unknown): T {
  const wish = schema.safeParse(input);
  if (wish.success) return wish.data;
  throw new HoldfastError('ARGUMENT_INVALID', 'a lineage and a snapshot are to be said, and to hide it which version was seen', {
    field: 'body',
  });
}

const ownSessions = (all: readonly SessionStatus[], { id, prefix }: Peer): readonly OwnSession[] =>
  all
    .filter(({ peer }) => peer === id)
    .slice(0, SESSIONS_TOLD_MAX)
    .map(({ lineage, snapshot, epoch, status, sizeBytes, heardMs, figures }) => ({
      ...{ lineage: lineage.slice(prefix.length) as SessionStatus['lineage'], snapshot, epoch, status, sizeBytes, heardMs, figures },
    }));
