/** Frames of every kind, as fast-check makes them: what the two sides may say to one another. */
import fc from 'fast-check';
import { lineage, snapshotId } from '../../../../src/domain/ids.ts';
import { PROOF_LEVELS, type AnswerFrame, type RequestFrame } from '../../../../src/engine/replication/frames.ts';

const whole = (bits: number) => fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n }).map(Number);
const u16 = whole(16);
const u32 = whole(32);
const u48 = whole(48);
const page = fc.nat(511);
const pages = fc.uniqueArray(page, { maxLength: 40 }).map((some) => some.sort((a, b) => a - b));
const name = fc.oneof(
  fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  fc.constant('0'.repeat(64)),
);
const nameNotZeros = name.map((hex) => (/^0+$/.test(hex) ? '1'.repeat(64) : hex));
const words = fc.string({ unit: 'grapheme', maxLength: 30 });
const snapshot = fc.stringMatching(/^0[0-9a-hjkmnp-tv-z]{25}$/).map(snapshotId);
const aLineage = fc
  .tuple(fc.stringMatching(/^[a-z0-9][a-zA-Z0-9._-]{0,62}$/), fc.integer({ min: 1, max: 999 }))
  .map(([v, n]) => lineage(`${v}@${n}`));
const base = fc.record({ snapshot, root: name });
const ascending = <T>(key: fc.Arbitrary<number>, maxLength: number, row: (at: number) => fc.Arbitrary<T>) =>
  fc.uniqueArray(key, { maxLength }).chain((keys) => fc.tuple(...keys.sort((a, b) => a - b).map(row)));
const kind = <K extends string>(of: K) => fc.constant(of);

const open = fc.record({
  kind: kind('OPEN'),
  version: fc.constant(1),
  proof: fc.constantFrom(...PROOF_LEVELS),
  sealedBySender: fc.boolean(),
  consistency: fc.constantFrom('application' as const, 'crash' as const, 'fuzzy' as const),
  attempt: u32,
  seen: u48,
  takenMs: u48,
  sizeBytes: whole(46),
  extentBytes: fc.integer({ min: 14, max: 22 }).map((power) => 2 ** power),
  ...{ snapshot, lineage: aLineage, owner: words, label: words, bases: fc.array(base, { maxLength: 255 }) },
});

export const anyFirst = fc.oneof(open, fc.record({ kind: kind('SESSION'), epoch: u48, snapshot, lineage: aLineage }));

const references = fc.boolean().chain((isWhole) =>
  fc.record({
    kind: kind('REFERENCES'),
    whole: fc.constant(isWhole),
    ...{ turn: u32, subtree: u16, page },
    rows: ascending(fc.nat(255), 256, (child) => fc.record({ child: fc.constant(child), name: isWhole ? nameNotZeros : name })),
  }),
);

export const anyData = fc.record({
  kind: kind('DATA'),
  ...{ asked: fc.boolean(), turn: u32, name, codec: fc.constantFrom(0 as const, 1 as const) },
  body: fc
    .tuple(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(1, 1, 1, 200))
    .map(([bytes, times]) => Buffer.concat(Array.from({ length: times }, () => Buffer.from(bytes)))),
});

export const anyRequest: fc.Arbitrary<RequestFrame> = fc.oneof(
  anyFirst,
  references,
  anyData,
  fc.record({ kind: kind('PUSH_INQUIRY'), underWay: fc.boolean(), subtree: u16, round: u32.map((n) => n || 1), pages }),
  fc.record({ kind: kind('COMMIT'), root: name }),
  fc.record({ kind: kind('NAME_GONE'), names: fc.array(fc.record({ subtree: u16, at: u16, name }), { maxLength: 40 }) }),
  fc.record({ kind: kind('ABORT'), reason: words }),
);

const missing = fc.record({
  kind: kind('MISSING'),
  ...{ subtree: u16, round: u32, pages, outstanding: fc.integer({ min: 600, max: 2 ** 32 - 1 }) },
  names: ascending(u16, 60, (at) => fc.record({ at: fc.constant(at), name })),
});

export const anyAnswer: fc.Arbitrary<AnswerFrame> = fc.oneof(
  fc.record({
    kind: kind('OPENED'),
    ...{ fresh: fc.boolean(), countsNothing: fc.boolean(), epoch: u48, base: fc.option(base), exchangeBytes: u32, exchanges: fc.nat(255) },
  }),
  fc.record({ kind: kind('TAKEN'), epoch: u48, owner: words }),
  fc.record({ kind: kind('NOTED'), turn: u32, subtree: u16, page }),
  fc.record({ kind: kind('KEPT'), turn: u32, accepted: u32, dropped: u32 }),
  missing,
  fc.record({ kind: kind('COMMITTED'), root: name }),
  fc.record({ kind: kind('WITHHELD'), subtrees: fc.array(u16, { maxLength: 100 }) }),
  fc.constant({ kind: 'ENDED' as const }),
  fc.record({ kind: kind('REFUSED'), code: fc.constantFrom('CLAIM_LOST', 'NAME_FALSE'), message: words }),
);
