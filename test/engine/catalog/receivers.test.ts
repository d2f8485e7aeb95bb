/** Receivers and tokens in the catalog: entered, changed, removed; seen by another process; refused where they do not fit. */
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { storeName } from '../../../src/domain/ids.ts';
import { openCatalog, printableCatalog, type Catalog, type CatalogEntry } from '../../../src/engine/catalog/catalog.ts';
import { findReceiver, receiverRecord, type ReceiverRecord } from '../../../src/engine/catalog/receivers.ts';
import { authorise, mintToken, tokenRecord, type TokenRecord } from '../../../src/engine/replication/tokens.ts';
import { createMemoryStore, type MemoryStore } from '../memory-store.ts';
import { environment, KEY } from '../repository/world.ts';

const minted = mintToken(randomBytes);
const token: TokenRecord = tokenRecord.parse({
  ...{ id: minted.id, digest: minted.digest, store: 'cloud', repository: 'shared', prefix: 'acme-', rights: ['add', 'hide'] },
  ...{ quotaBytes: null, retentionFloorMs: null, proof: 'listed', untilMs: null, certificate: null },
});
const receiver: ReceiverRecord = receiverRecord.parse({
  ...{ name: 'vault', url: 'https://vault.example:7443', token: 'file:/etc/holdfast/vault.token', ca: '/etc/holdfast/ca.pem' },
  ...{ client: null, seal: { by: 'receiver' }, bytesPerSecondMax: null },
});
const store = {
  ...{ name: storeName('cloud'), url: 'file:///tmp/cloud', endpoint: null, region: null, credentials: null },
  ...{ passphrase: 'env:P', codec: 'zstd-1', bytesPerSecondMax: null },
};

describe('the catalog', () => {
  let home: MemoryStore;
  let catalog: Catalog;
  const append = (entry: CatalogEntry) => catalog.append(() => entry);

  beforeEach(async () => {
    home = createMemoryStore();
    catalog = openCatalog(home, KEY, environment);
    await append({ kind: 'STORE_ADD', store });
  });

  test('knows receivers by name, as they are now', async () => {
    await append({ kind: 'RECEIVER_ADD', receiver });
    await expect(append({ kind: 'RECEIVER_ADD', receiver })).rejects.toMatchObject({ code: 'RECEIVER_EXISTS' });
    const sealed = receiverRecord.parse({ ...receiver, seal: { by: 'sender', passphrase: 'env:SEAL' }, bytesPerSecondMax: 1000 });
    await append({ kind: 'RECEIVER_SET', receiver: sealed });
    expect(findReceiver(await catalog.sync(), 'vault')).toEqual(sealed);
    expect(printableCatalog(catalog.known()).receivers).toEqual([sealed]);

    await append({ kind: 'RECEIVER_REMOVE', name: 'vault' });
    expect(() => findReceiver(catalog.known(), 'vault')).toThrow(expect.objectContaining({ code: 'RECEIVER_NOT_FOUND' }));
    for (const entry of [{ kind: 'RECEIVER_SET', receiver } as const, { kind: 'RECEIVER_REMOVE', name: 'vault' } as const])
      await expect(append(entry)).rejects.toMatchObject({ code: 'RECEIVER_NOT_FOUND' });
  });

  test('a token is taken by whoever follows the catalog, and no more once it is withdrawn', async () => {
    const other = openCatalog(home, KEY, environment);
    const speaks = async () => authorise((await other.sync()).tokens, `Bearer ${minted.token}`, null, 0)?.prefix ?? null;
    expect(await speaks()).toBeNull();
    await append({ kind: 'TOKEN_ADD', token });
    expect(await speaks()).toBe('acme-');
    await append({ kind: 'TOKEN_REMOVE', id: token.id });
    expect(await speaks()).toBeNull();
  });

  test('a token is entered once, for a store that is there, which then stays', async () => {
    await append({ kind: 'TOKEN_ADD', token });
    await expect(append({ kind: 'TOKEN_ADD', token })).rejects.toMatchObject({ code: 'RECORD_REFUSED' });
    const elsewhere = { ...token, id: '0123456789abcdef', store: storeName('elsewhere') };
    await expect(append({ kind: 'TOKEN_ADD', token: elsewhere })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' });
    await expect(append({ kind: 'STORE_REMOVE', name: store.name })).rejects.toMatchObject({ code: 'STORE_EXISTS' });
    await append({ kind: 'TOKEN_REMOVE', id: token.id });
    await expect(append({ kind: 'TOKEN_REMOVE', id: token.id })).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' });
    await append({ kind: 'STORE_REMOVE', name: store.name });
  });

  test('a prefix is nobody else’s name space: none begins another, but two tokens may have the same', async () => {
    const another = (prefix: string, id: string) => append({ kind: 'TOKEN_ADD', token: { ...token, prefix, id: id.padStart(16, '0') } });
    await another('acme-', '1');
    await another('acme-', '2');
    for (const [prefix, id] of [
      ['acme-b', '3'],
      ['ac', '4'],
    ] as const)
      await expect(another(prefix, id)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID', details: { field: 'prefix' } });
    await another('acne-', '5');
    expect([...catalog.known().tokens.values()].map(({ prefix }) => prefix).sort()).toEqual(['acme-', 'acme-', 'acne-']);
  });

  test('secrets come by reference alone', () => {
    for (const wrong of [{ token: minted.token }, { seal: { by: 'sender', passphrase: 'hunter2' } }, { seal: { by: 'sender' } }])
      expect(receiverRecord.safeParse({ ...receiver, ...wrong }).success).toBe(false);
  });
});
