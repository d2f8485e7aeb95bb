/** Frames as bytes: what is said is what is heard, however it is cut; whatever else comes is refused, within bounds. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { snapshotId, lineage } from '../../../../src/domain/ids.ts';
import type { DataFrame, OpenFrame, RequestFrame } from '../../../../src/engine/replication/frames.ts';
import { ANSWER_READERS, encodeAnswer } from '../../../../src/engine/replication/wire/answers.ts';
import { FRAME_KINDS, HEAD_BYTES } from '../../../../src/engine/replication/wire/bounds.ts';
import { FrameDecoder } from '../../../../src/engine/replication/wire/frame-decoder.ts';
import { encodeRequest, REQUEST_READERS } from '../../../../src/engine/replication/wire/requests.ts';
import { anyAnswer, anyRequest } from './any-frame.ts';

const NAME = 'ab'.repeat(32);

const encoded = (...frames: readonly RequestFrame[]): Buffer => Buffer.concat(frames.flatMap(encodeRequest));

const cutAt = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const cut of cuts) pieces.push(bytes.subarray(at, (at += cut)));
  pieces.push(bytes.subarray(at));
  return pieces;
};

const said = (frame: DataFrame): DataFrame => ({ ...frame, isAlone: undefined });

const heard = (pieces: readonly Buffer[]): RequestFrame[] => {
  const decoder = new FrameDecoder(REQUEST_READERS);
  const frames = pieces.flatMap((piece) => [...decoder.push(piece)]);
  decoder.end();
  // As it was said: it says nothing of whose memory it is in.
  return frames.map((frame) => (frame.kind === 'DATA' ? said(frame) : frame));
};

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'heard';
  } catch (error) {
    // Anything else that is thrown is what these tests look for.
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
};

const frame = (kind: number, flags: number, content: Buffer, { zero = 0, length = content.length } = {}): Buffer => {
  const head = Buffer.from([kind, flags, zero >> 8, zero & 255, 0, 0, 0, 0]);
  head.writeUInt32BE(length, 4);
  return Buffer.concat([head, content]);
};

const open: OpenFrame = {
  ...{ kind: 'OPEN', version: 1, proof: 'sampled', sealedBySender: false, consistency: 'crash', attempt: 1, seen: 0, takenMs: 5 },
  ...{
    sizeBytes: 2 ** 40,
    extentBytes: 262_144,
    snapshot: snapshotId('0'.repeat(26)),
    lineage: lineage('db@1'),
    owner: 'o',
    label: 'l',
    bases: [],
  },
};

test('what is said is what is heard, however it is cut', () => {
  fc.assert(
    fc.property(fc.array(anyRequest, { maxLength: 8 }), fc.array(fc.oneof(fc.nat(12), fc.nat(2000)), { maxLength: 60 }), (frames, cuts) => {
      expect(heard(cutAt(encoded(...frames), cuts))).toEqual(frames);
    }),
    { numRuns: 400 },
  );
});

test('answers, too', () => {
  fc.assert(
    fc.property(fc.array(anyAnswer, { maxLength: 8 }), fc.array(fc.nat(400), { maxLength: 60 }), (frames, cuts) => {
      const decoder = new FrameDecoder(ANSWER_READERS);
      expect(cutAt(Buffer.concat(frames.map(encodeAnswer)), cuts).flatMap((piece) => [...decoder.push(piece)])).toEqual(frames);
      decoder.end();
    }),
    { numRuns: 400 },
  );
});

describe('garbage', () => {
  /** All that may come of bytes: frames, or one of two refusals; and what is kept meanwhile. */
  const judge = (pieces: readonly Buffer[], readers: ConstructorParameters<typeof FrameDecoder<unknown>>[0]): void => {
    const decoder = new FrameDecoder(readers);
    let came = 0;
    const code = codeOf(() => {
      for (const piece of pieces) {
        came += piece.length;
        for (const _ of decoder.push(piece));
        // A buffer is as long as its frame, which is within the bound of its kind and has begun to come.
        expect(decoder.keptBytes).toBeLessThanOrEqual(came === 0 ? 0 : FRAME_KINDS.DATA.bytesMax + HEAD_BYTES);
      }
      decoder.end();
    });
    expect(['heard', 'FRAME_INVALID', 'UPGRADE_REQUIRED']).toContain(code);
  };

  test('conversations with some bytes changed, or cut off', () => {
    fc.assert(
      fc.property(
        fc.array(anyRequest, { minLength: 1, maxLength: 5 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.array(fc.nat(400), { maxLength: 20 }),
        fc.nat(),
        (frames, changes, cuts, end) => {
          const bytes = Buffer.from(encoded(...frames));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          judge(cutAt(bytes.subarray(0, end % (bytes.length + 1)), cuts), REQUEST_READERS);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('answers with some bytes changed, or cut off', () => {
    fc.assert(
      fc.property(
        fc.array(anyAnswer, { minLength: 1, maxLength: 5 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.array(fc.nat(400), { maxLength: 20 }),
        (frames, changes, cuts) => {
          const bytes = Buffer.concat(frames.map(encodeAnswer));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          judge(cutAt(bytes, cuts), ANSWER_READERS);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('frames of a known kind with any content', () => {
    const kinds = Object.values(FRAME_KINDS).map(({ byte }) => byte);
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.nat(3), fc.uint8Array({ maxLength: 200 }), (kind, flags, content) => {
        for (const readers of [REQUEST_READERS, ANSWER_READERS]) judge([frame(kind, flags, Buffer.from(content))], readers);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('refused by its head alone', () => {
  const data = Buffer.alloc(0);
  test.each([
    ['an unknown kind', frame(0x09, 0, data)],
    ['an answer, where a message is expected', frame(FRAME_KINDS.NOTED.byte, 0, data)],
    ['an unknown flag', frame(FRAME_KINDS.DATA.byte, 2, data)],
    ['bytes that are not zero', frame(FRAME_KINDS.DATA.byte, 0, data, { zero: 1 })],
    ['data that is too long', frame(FRAME_KINDS.DATA.byte, 0, data, { length: FRAME_KINDS.DATA.bytesMax + 1 })],
    ['a page that is too long', frame(FRAME_KINDS.REFERENCES.byte, 0, data, { length: 8459 })],
    ['another that is too long', frame(FRAME_KINDS.ABORT.byte, 0, data, { length: 16_385 })],
  ])('%s', (_, bytes) => {
    const decoder = new FrameDecoder(REQUEST_READERS);
    expect(codeOf(() => [...decoder.push(bytes.subarray(0, HEAD_BYTES))])).toBe('FRAME_INVALID');
    expect(decoder.keptBytes).toBe(0);
    // And nothing is heard any more.
    expect(codeOf(() => [...decoder.push(encoded(open))])).toBe('FRAME_INVALID');
  });

  test('a head that promises much costs nothing until it is kept', () => {
    const decoder = new FrameDecoder(REQUEST_READERS);
    expect([...decoder.push(frame(FRAME_KINDS.DATA.byte, 0, Buffer.alloc(0), { length: 4 * 1024 * 1024 }))]).toEqual([]);
    expect(decoder.keptBytes).toBe(0);
    expect(codeOf(() => decoder.end())).toBe('FRAME_INVALID');
  });
});

describe('refused by its content', () => {
  const row = (child: number, name = NAME): Buffer => Buffer.concat([Buffer.from([child]), Buffer.from(name, 'hex')]);
  const page = (count: number, rows: readonly Buffer[], { flags = 0, of = 0 } = {}): Buffer => {
    const head = Buffer.alloc(10);
    head.writeUInt16BE(of, 6);
    head.writeUInt16BE(count, 8);
    return frame(FRAME_KINDS.REFERENCES.byte, flags, Buffer.concat([head, ...rows]));
  };
  const changed = (of: RequestFrame, at: number, ...bytes: readonly number[]): Buffer => {
    const buffer = encoded(of);
    buffer.set(bytes, HEAD_BYTES + at);
    return buffer;
  };
  const sizeAt = 1 + 1 + 4 + 6 + 6;
  const session: RequestFrame = { kind: 'SESSION', epoch: 1, snapshot: open.snapshot, lineage: open.lineage };

  test.each<[string, Buffer]>([
    ['rows that do not ascend', page(2, [row(5), row(5)])],
    ['more rows than the length holds', page(3, [row(1), row(2)])],
    ['fewer rows than the length holds', page(1, [row(1), row(2)])],
    ['a page that cannot be', page(0, [], { of: 512 })],
    ['zeros in a whole page', page(1, [row(1, '00'.repeat(32))], { flags: 1 })],
    ['a proof that is none', Buffer.concat([Buffer.from([1, 3]), encoded(open).subarray(2)])],
    ['a consistency that is none', changed(open, 1, 3)],
    ['a size beyond what is safe', changed(open, sizeAt, 255)],
    ['a size beyond what a volume has', changed(open, sizeAt, 0, 16)],
    ['extents that are too small', changed(open, sizeAt + 8, 0, 0, 32, 0)],
    ['extents of no power of two', changed(open, sizeAt + 8, 0, 4, 128, 0)],
    ['a snapshot id that is none', changed(session, 6, 0x69)],
    ['a lineage that is none', changed(session, 6 + 26 + 2, 0x2f)],
    ['a text that is not UTF-8', changed({ kind: 'ABORT', reason: 'why' }, 2, 0xff)],
    ['a text beyond its frame', changed({ kind: 'ABORT', reason: 'why' }, 0, 255)],
    ['something behind the content', frame(FRAME_KINDS.COMMIT.byte, 0, Buffer.alloc(33))],
    ['a codec that is none', changed({ kind: 'DATA', asked: false, turn: 0, name: NAME, codec: 0, body: Buffer.alloc(1) }, 36, 2)],
    ['round 0', frame(FRAME_KINDS.PUSH_INQUIRY.byte, 0, Buffer.alloc(70))],
  ])('%s', (_, bytes) => {
    expect(codeOf(() => heard([bytes]))).toBe('FRAME_INVALID');
  });

  test('another version is told so, whatever follows', () => {
    expect(codeOf(() => heard([frame(FRAME_KINDS.OPEN.byte, 0, Buffer.from([2, 77]))]))).toBe('UPGRADE_REQUIRED');
  });
});

test('a body refers to no piece: whoever brought that may free it; and the body is alone in its buffer', () => {
  const data: DataFrame = { kind: 'DATA', asked: true, turn: 7, name: NAME, codec: 1, body: Buffer.alloc(100_000, 7) };
  const parts = encodeRequest(data);
  expect(parts[1]).toBe(data.body);
  const bytes = Buffer.concat(parts);
  const [frameHeard] = new FrameDecoder(REQUEST_READERS).push(bytes);
  if (frameHeard?.kind !== 'DATA') throw new Error('it is data');
  const before = Buffer.from(frameHeard.body);
  bytes.fill(0);
  expect(frameHeard.body.equals(before)).toBe(true);
  expect(frameHeard.isAlone).toBe(true);
});

test('what is said to people is cut between characters, and never too long', () => {
  const [bytes] = encodeRequest({ kind: 'ABORT', reason: `${'x'.repeat(997)}\u{1f511}${'y'.repeat(5000)}` });
  const [abort] = heard([bytes!]);
  expect(abort).toEqual({ kind: 'ABORT', reason: 'x'.repeat(997) });
});

test('what does not fit is a mistake of ours, and is not sent', () => {
  const wrong: RequestFrame[] = [
    { kind: 'COMMIT', root: 'ab' },
    { kind: 'COMMIT', root: 'zz'.repeat(32) },
    { kind: 'PUSH_INQUIRY', underWay: false, subtree: 65_536, round: 1, pages: [] },
    { kind: 'PUSH_INQUIRY', underWay: false, subtree: 0, round: 1, pages: [512] },
    { ...open, sizeBytes: 1.5 },
    { kind: 'DATA', asked: false, turn: 0, name: NAME, codec: 0, body: Buffer.alloc(FRAME_KINDS.DATA.bytesMax) },
  ];
  for (const one of wrong) expect(codeOf(() => encodeRequest(one))).toBe('INTERNAL');
});
