/** Tokens: what is taken for one, who speaks with it, and that every refusal is the same. */
import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { storeName } from '../../../src/domain/ids.ts';
import { authorise, mintToken, parseToken, tokenRecord, type TokenRecord } from '../../../src/engine/replication/tokens.ts';

const NOW_MS = 1_000_000;
const CERTIFICATE = 'cd'.repeat(32);

const aRecord = (minted: { readonly id: string; readonly digest: string }, changes: Partial<TokenRecord> = {}): TokenRecord =>
  tokenRecord.parse({
    ...{ id: minted.id, digest: minted.digest, store: storeName('cloud'), repository: null, prefix: 'acme-', rights: ['add'] },
    ...{ quotaBytes: 5, retentionFloorMs: 7, proof: 'sampled', untilMs: null, certificate: null },
    ...changes,
  });

const minted = mintToken(randomBytes);
const records = (changes: Partial<TokenRecord> = {}) => new Map([[minted.id, aRecord(minted, changes)]]);
const bearer = (token: string = minted.token): string => `Bearer ${token}`;

test('a token says who speaks, and what is allowed', () => {
  expect(authorise(records(), bearer(), null, NOW_MS)).toEqual({
    ...{ id: minted.id, store: 'cloud', repository: null, prefix: 'acme-', rights: ['add'] },
    ...{ quotaBytes: 5, retentionFloorMs: 7, proof: 'sampled' },
  });
});

test('the record holds no secret, and the peer no digest', () => {
  const secret = minted.token.split('.')[2]!;
  expect(JSON.stringify([...records()])).not.toContain(secret);
  expect(JSON.stringify(authorise(records(), bearer(), null, NOW_MS))).not.toContain(minted.digest);
});

test.each<[string, () => unknown]>([
  ['no header', () => authorise(records(), undefined, null, NOW_MS)],
  ['another scheme', () => authorise(records(), `Basic ${minted.token}`, null, NOW_MS)],
  [
    'another secret',
    () => authorise(records(), bearer(mintToken(randomBytes).token.replace(/^hf1\.\w+/, `hf1.${minted.id}`)), null, NOW_MS),
  ],
  ['the id of nobody', () => authorise(new Map(), bearer(), null, NOW_MS)],
  ['the secret of zeros, for an id of nobody', () => authorise(records(), bearer(`hf1.${'0'.repeat(16)}.${'A'.repeat(43)}`), null, NOW_MS)],
  ['its end has come', () => authorise(records({ untilMs: NOW_MS }), bearer(), null, NOW_MS)],
  ['no certificate', () => authorise(records({ certificate: CERTIFICATE }), bearer(), null, NOW_MS)],
  ["another's certificate", () => authorise(records({ certificate: CERTIFICATE }), bearer(), 'ef'.repeat(32), NOW_MS)],
])('nobody speaks: %s', (_, judge) => {
  expect(judge()).toBeNull();
});

test('a token that ends later, or is brought with its certificate, is taken', () => {
  expect(authorise(records({ untilMs: NOW_MS + 1 }), bearer(), null, NOW_MS)).not.toBeNull();
  expect(authorise(records({ certificate: CERTIFICATE }), bearer(), CERTIFICATE, NOW_MS)).not.toBeNull();
});

test('a token with one character changed is no token, or another', () => {
  fc.assert(
    fc.property(fc.nat(minted.token.length - 1), fc.constantFrom('A', 'b', '0', '.', '-', ' '), (at, digit) => {
      const changed = minted.token.slice(0, at) + digit + minted.token.slice(at + 1);
      expect(authorise(records(), bearer(changed), null, NOW_MS) !== null).toBe(changed === minted.token);
    }),
    { numRuns: 500 },
  );
});

test('what is not a token is refused without being repeated', () => {
  expect(parseToken(minted.token).id).toBe(minted.id);
  const near = `${minted.token}x`;
  expect(() => parseToken(near)).toThrow('no token');
  try {
    parseToken(near);
  } catch (error) {
    expect(JSON.stringify(error) + String(error)).not.toContain(minted.token.split('.')[2]!);
  }
});
