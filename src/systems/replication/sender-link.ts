/**
 * The link to a receiver as its record in the catalog says: address, token and certificates are looked up when it is opened, and
 * the bandwidth at each exchange, so that a window begins and ends while a call goes on.
 */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import type { ReceiverRecord } from '../../engine/catalog/receivers.ts';
import type { Link } from '../../engine/replication/frames.ts';
import { openLink, type LinkOptions } from '../../engine/replication/transport/client.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';

export interface SenderLink extends Link, AsyncDisposable {}

type Variables = Readonly<Record<string, string | undefined>>;

/** `rateNow`: bytes a second, null for no bound. */
export async function openSenderLink(record: ReceiverRecord, variables: Variables, rateNow: () => number | null): Promise<SenderLink> {
  const options: LinkOptions = { url: record.url, token: await resolvePassphrase(record.token, variables), ...(await tlsOf(record)) };
  const opened: AsyncDisposable[] = [];
  const openAt = (rate: number | null) => {
    const link = openLink({ ...options, bytesPerSecondMax: rate });
    // What is under way on the one before ends there.
    opened.push(link);
    return { rate, link };
  };
  let current = openAt(rateNow());
  return {
    exchange(first, rest, signal) {
      const rate = rateNow();
      if (rate !== current.rate) current = openAt(rate);
      return current.link.exchange(first, rest, signal);
    },
    async [Symbol.asyncDispose]() {
      for (const link of opened) await link[Symbol.asyncDispose]();
    },
  };
}

/** What the record says of certificates, read anew. */
export async function tlsOf({ ca, client }: ReceiverRecord): Promise<Pick<LinkOptions, 'tls'>> {
  if (ca === null && client === null) return {};
  return {
    tls: {
      ca: ca === null ? null : await pem(ca),
      client: client === null ? null : { cert: await pem(client.cert), key: await pem(client.key) },
    },
  };
}

const pem = (path: string): Promise<Buffer> =>
  readFile(path).catch((cause: unknown) => {
    throw new HoldfastError('CONFIG_INVALID', `${path} cannot be read: ${messageOf(cause)}`, { field: path }, cause);
  });

/**
 * A link on which no lineage is taken from a stranger: a claim of `owner`, left open by a run that was ended, is its own to take
 * over; anybody else's is CLAIM_LOST.
 */
export const takingOwn = (link: Link, owner: string): Link => ({
  async exchange(first, rest, signal) {
    const answers = await link.exchange(first, rest, signal);
    for (const answer of answers)
      if (answer.kind === 'TAKEN' && answer.owner !== owner)
        throw new HoldfastError('CLAIM_LOST', `the lineage is open at the receiver for ${JSON.stringify(answer.owner.slice(0, 100))}`, {
          owner: answer.owner.slice(0, 100),
        });
    return answers;
  },
});
