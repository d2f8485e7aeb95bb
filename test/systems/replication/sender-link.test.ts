import { expect, test } from '@jest/globals';
import type { ReceiverRecord } from '../../../src/engine/catalog/receivers.ts';
import type { Link } from '../../../src/engine/replication/frames.ts';
import { openSenderLink, takingOwn } from '../../../src/systems/replication/sender-link.ts';
import { data, listenAs, SESSION } from '../../engine/replication/transport/an-ear.ts';

const KIB = 1024;
const signal = new AbortController().signal;
/** An exchange at 32 KiB/s takes longer, and one without a bound never so long, not on a slow machine either. */
const BOUNDED_MS = 2500;

const recordOf = (url: string, changes: Partial<ReceiverRecord> = {}): ReceiverRecord => ({
  ...{ name: 'far', url, token: 'env:TOKEN', ca: null, client: null, seal: { by: 'receiver' }, bytesPerSecondMax: null },
  ...changes,
});

const takes = async (link: Link): Promise<number> => {
  const begun = performance.now();
  await link.exchange(SESSION, [data(128 * KIB)], signal);
  return performance.now() - begun;
};

test('a bandwidth that changes while a link is open is kept from the next exchange on', async () => {
  await using ear = await listenAs();
  let rate: number | null = null;
  await using link = await openSenderLink(recordOf(ear.url), { TOKEN: ear.token() }, () => rate);
  await takes(link);
  rate = 32 * KIB;
  expect(await takes(link)).toBeGreaterThan(BOUNDED_MS);
  rate = null;
  expect(await takes(link)).toBeLessThan(BOUNDED_MS);
});

test('what is named and is not there says which, and never what is in it', async () => {
  await using ear = await listenAs();
  const token = ear.token();
  const open = (changes: Partial<ReceiverRecord>) =>
    openSenderLink(recordOf(ear.url, changes), { TOKEN: token, OTHER: `${token}x` }, () => null);
  await expect(open({ token: 'env:NOT_SET' })).rejects.toMatchObject({ code: 'PASSPHRASE_MISSING' });
  await expect(open({ ca: '/nowhere/ca.pem' })).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { field: '/nowhere/ca.pem' } });
  const refused: unknown = await open({ token: 'env:OTHER' }).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'ARGUMENT_INVALID' });
  expect(JSON.stringify(refused)).not.toContain(token);
});

test('a lineage is taken over from a run of the same sender, and from nobody else', async () => {
  const openFor = (owner: string): Link => ({ exchange: () => Promise.resolve([{ kind: 'TAKEN', epoch: 4, owner }]) });
  await expect(takingOwn(openFor('us'), 'us').exchange(SESSION, [], signal)).resolves.toMatchObject([{ kind: 'TAKEN' }]);
  await expect(takingOwn(openFor('them'), 'us').exchange(SESSION, [], signal)).rejects.toMatchObject({ code: 'CLAIM_LOST' });
});
