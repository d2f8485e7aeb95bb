/** What a sender says, as bytes and back: the first table of docs/replication.md section 3. */
import { HoldfastError } from '../../../domain/errors.ts';
import { EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, VOLUME_EXTENTS_MAX } from '../../../domain/limits.ts';
import { CONSISTENCIES } from '../../repository/entries.ts';
import { PAGE_NAMES, PROOF_LEVELS, type OpenFrame, type ReferencesFrame, type RequestFrame } from '../frames.ts';
import { DATA_HEAD_BYTES, FRAME_KINDS, NAME_BYTES, PAGES_MAX, PROTOCOL_VERSION, ROW_BYTES, WORDS_MAX } from './bounds.ts';
import { invalid, ZEROS, type ContentReader } from './content-reader.ts';
import { ContentWriter } from './content-writer.ts';
import type { FrameReader } from './frame-decoder.ts';

const PROOF_BITS = 0b0000_0011;
const SEALED = 0b0001_0000;
const FIRST_BIT = 1;

/** The bytes of a frame, in order; a body of data is one of them as it is. */
export function encodeRequest(frame: RequestFrame): Buffer[] {
  switch (frame.kind) {
    case 'OPEN':
      return [encodeOpen(frame)];
    case 'SESSION':
      return [new ContentWriter().u48(frame.epoch).latin(frame.snapshot).text(frame.lineage).frame(FRAME_KINDS.SESSION, 0)];
    case 'REFERENCES':
      return [encodeReferences(frame)];
    case 'DATA': {
      const head = new ContentWriter(DATA_HEAD_BYTES).u32(frame.turn).name(frame.name).u8(frame.codec);
      return [head.frame(FRAME_KINDS.DATA, Number(frame.asked), frame.body.length), frame.body];
    }
    case 'PUSH_INQUIRY': {
      const content = new ContentWriter().u16(frame.subtree).u32(frame.round).pages(frame.pages);
      return [content.frame(FRAME_KINDS.PUSH_INQUIRY, Number(frame.underWay))];
    }
    case 'COMMIT':
      return [new ContentWriter().name(frame.root).frame(FRAME_KINDS.COMMIT, 0)];
    case 'NAME_GONE': {
      const content = new ContentWriter().u16(frame.names.length);
      for (const { subtree, at, name } of frame.names) content.u16(subtree).u16(at).name(name);
      return [content.frame(FRAME_KINDS.NAME_GONE, 0)];
    }
    case 'ABORT':
      return [new ContentWriter().speech(frame.reason).frame(FRAME_KINDS.ABORT, 0)];
  }
}

function encodeOpen(frame: OpenFrame): Buffer {
  const content = new ContentWriter()
    .u8(frame.version)
    .u8(CONSISTENCIES.indexOf(frame.consistency))
    .u32(frame.attempt)
    .u48(frame.seen)
    .u48(frame.takenMs)
    .u64(frame.sizeBytes)
    .u32(frame.extentBytes)
    .latin(frame.snapshot)
    .text(frame.lineage)
    .text(frame.owner)
    .text(frame.label)
    .u8(frame.bases.length);
  for (const base of frame.bases) content.base(base);
  return content.frame(FRAME_KINDS.OPEN, PROOF_LEVELS.indexOf(frame.proof) | (frame.sealedBySender ? SEALED : 0));
}

function encodeReferences(frame: ReferencesFrame): Buffer {
  const content = new ContentWriter(10 + frame.rows.length * ROW_BYTES);
  content.u32(frame.turn).u16(frame.subtree).u16(frame.page).u16(frame.rows.length);
  for (const { child, name } of frame.rows) content.u8(child).name(name);
  return content.frame(FRAME_KINDS.REFERENCES, Number(frame.whole));
}

type ReaderOf<Frame> = Omit<FrameReader<Frame>, 'bytesMax'>;

const READERS = {
  OPEN: { flags: PROOF_BITS | SEALED, read: readOpen },
  SESSION: {
    flags: 0,
    read: (content) => ({ kind: 'SESSION', epoch: content.u48(), snapshot: content.snapshot(), lineage: content.lineage() }),
  },
  REFERENCES: { flags: FIRST_BIT, read: readReferences },
  DATA: {
    flags: FIRST_BIT,
    keepsContent: true,
    read: (content, flags) => ({
      kind: 'DATA',
      asked: flags === FIRST_BIT,
      turn: content.u32(),
      name: content.name(),
      codec: readCodec(content),
      body: content.rest(),
      isAlone: true,
    }),
  },
  PUSH_INQUIRY: {
    flags: FIRST_BIT,
    read: (content, flags) => ({
      kind: 'PUSH_INQUIRY',
      underWay: flags === FIRST_BIT,
      subtree: content.u16(),
      round: readRound(content),
      pages: content.pages(),
    }),
  },
  COMMIT: { flags: 0, read: (content) => ({ kind: 'COMMIT', root: content.name() }) },
  NAME_GONE: { flags: 0, read: readNameGone },
  ABORT: { flags: 0, read: (content) => ({ kind: 'ABORT', reason: content.text() }) },
} as const satisfies { readonly [K in RequestFrame['kind']]: ReaderOf<Extract<RequestFrame, { readonly kind: K }>> };

export const REQUEST_READERS: ReadonlyMap<number, FrameReader<RequestFrame>> = new Map(
  Object.entries(READERS).map(([kind, reader]) => {
    const { byte, bytesMax } = FRAME_KINDS[kind as RequestFrame['kind']];
    return [byte, { bytesMax, ...reader }];
  }),
);

/** An OPEN of another version is told so: what follows its version means something else, perhaps. */
function readOpen(content: ContentReader, flags: number): OpenFrame {
  const version = content.u8();
  if (version !== PROTOCOL_VERSION)
    throw new HoldfastError('UPGRADE_REQUIRED', `this receiver speaks version ${PROTOCOL_VERSION}`, { versions: [PROTOCOL_VERSION] });
  const proof = PROOF_LEVELS[flags & PROOF_BITS];
  const consistency = CONSISTENCIES[content.u8()];
  if (proof === undefined || consistency === undefined) throw invalid('a proof or a consistency is not one');
  const fields = { attempt: content.u32(), seen: content.u48(), takenMs: content.u48(), sizeBytes: content.u64() };
  const extentBytes = content.u32();
  const fits = extentBytes >= EXTENT_BYTES_MIN && extentBytes <= EXTENT_BYTES_MAX && Number.isInteger(Math.log2(extentBytes));
  if (!fits || fields.sizeBytes > extentBytes * VOLUME_EXTENTS_MAX) throw invalid('a size of extents or of a volume is not one');
  const names = {
    snapshot: content.snapshot(),
    lineage: content.lineage(),
    owner: content.words(WORDS_MAX),
    label: content.words(WORDS_MAX),
  };
  const bases = Array.from({ length: content.u8() }, () => content.base());
  return { kind: 'OPEN', version, proof, sealedBySender: (flags & SEALED) !== 0, consistency, ...fields, extentBytes, ...names, bases };
}

function readReferences(content: ContentReader, flags: number): ReferencesFrame {
  const whole = flags === FIRST_BIT;
  const page = { turn: content.u32(), subtree: content.u16(), page: content.u16() };
  if (page.page >= PAGES_MAX) throw invalid('there is no such page');
  const count = content.rows(content.u16(), ROW_BYTES);
  if (count > PAGE_NAMES) throw invalid('a page has too many rows');
  let before = -1;
  const rows = Array.from({ length: count }, () => {
    const child = content.u8();
    if (child <= before) throw invalid('rows do not ascend');
    before = child;
    const name = content.name();
    if (whole && name === ZEROS) throw invalid('a whole page lists an extent of zeros');
    return { child, name };
  });
  return { kind: 'REFERENCES', whole, ...page, rows };
}

function readNameGone(content: ContentReader): Extract<RequestFrame, { readonly kind: 'NAME_GONE' }> {
  const count = content.rows(content.u16(), 4 + NAME_BYTES);
  return {
    kind: 'NAME_GONE',
    names: Array.from({ length: count }, () => ({ subtree: content.u16(), at: content.u16(), name: content.name() })),
  };
}

function readCodec(content: ContentReader): 0 | 1 {
  const codec = content.u8();
  if (codec !== 0 && codec !== 1) throw invalid('a codec is not known here');
  return codec;
}

function readRound(content: ContentReader): number {
  const round = content.u32();
  if (round === 0) throw invalid('rounds begin with 1');
  return round;
}
