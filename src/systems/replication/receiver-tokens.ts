/**
 * Who speaks to a receiver, by the tokens of the catalog.
 *
 * Every exchange is judged by a catalog that was looked at within seconds, so a token that was withdrawn, on whatever machine,
 * ends at the next exchange; one that was just added is taken at once. While the catalog does not answer, what was known goes on
 * for a minute; then nobody is let in, for nobody can say who still may.
 */
import type { Home } from '../../engine/catalog/home.ts';
import type { Peer } from '../../engine/replication/frames.ts';
import { authorise } from '../../engine/replication/tokens.ts';

export interface TokenBook {
  /** `certificate`: SHA-256 of one that was verified, hex. Null: nobody who is known. Rejects as the catalog's store does. */
  judge(header: string | undefined, certificate: string | null): Promise<Peer | null>;
}

/** How old what is known of the catalog may be. */
const KNOWN_MS = 2000;
/** For a token that is not known: so often may a stranger make us look. */
const UNKNOWN_MS = 250;
/** A catalog that is slow is not waited for ... */
const WAIT_MS = 1000;
/** ... as long as it has answered within this. */
const UNHEARD_MS_MAX = 60_000;

export function createTokenBook({ catalog, environment }: Pick<Home, 'catalog' | 'environment'>): TokenBook {
  let lookedMs = -Infinity;
  let looking: Promise<void> | null = null;

  const look = (): Promise<void> => {
    const begunMs = performance.now();
    looking ??= catalog
      .sync()
      .then(() => void (lookedMs = begunMs))
      .finally(() => (looking = null));
    return looking;
  };

  const lookUnless = async (withinMs: number): Promise<void> => {
    const oldMs = performance.now() - lookedMs;
    if (oldMs < withinMs) return;
    const looked = look();
    if (oldMs >= UNHEARD_MS_MAX) return await looked;
    // Whoever waits longest hears of it by the bound above.
    await Promise.race([looked.catch(() => undefined), environment.sleep(WAIT_MS)]);
  };

  return {
    async judge(header, certificate) {
      const known = (): Peer | null => authorise(catalog.known().tokens, header, certificate, environment.nowMs());
      await lookUnless(KNOWN_MS);
      const peer = known();
      if (peer !== null) return peer;
      await lookUnless(UNKNOWN_MS);
      return known();
    },
  };
}
