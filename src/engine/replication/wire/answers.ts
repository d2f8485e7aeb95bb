/** What a receiver answers, as bytes and back: the second table of docs/replication.md section 3. */
import { NAMES_MAX, type AnswerFrame, type MissingFrame } from '../frames.ts';
import { FRAME_KINDS, NAME_BYTES, PAGES_MAX, WORDS_MAX } from './bounds.ts';
import { invalid, type ContentReader } from './content-reader.ts';
import { ContentWriter } from './content-writer.ts';
import type { FrameReader } from './frame-decoder.ts';

const FRESH = 1;
const COUNTS_NOTHING = 2;
const CODE_PATTERN = /^[A-Z][A-Z_]{0,59}$/;
/** Extent and name. */
const ROW_BYTES = 2 + NAME_BYTES;

export function encodeAnswer(frame: AnswerFrame): Buffer {
  switch (frame.kind) {
    case 'OPENED':
      return new ContentWriter()
        .u48(frame.epoch)
        .base(frame.base)
        .u32(frame.exchangeBytes)
        .u8(frame.exchanges)
        .frame(FRAME_KINDS.OPENED, (frame.fresh ? FRESH : 0) | (frame.countsNothing ? COUNTS_NOTHING : 0));
    case 'TAKEN':
      return new ContentWriter().u48(frame.epoch).text(frame.owner).frame(FRAME_KINDS.TAKEN, 0);
    case 'NOTED':
      return new ContentWriter().u32(frame.turn).u16(frame.subtree).u16(frame.page).frame(FRAME_KINDS.NOTED, 0);
    case 'KEPT':
      return new ContentWriter().u32(frame.turn).u32(frame.accepted).u32(frame.dropped).frame(FRAME_KINDS.KEPT, 0);
    case 'MISSING':
      return encodeMissing(frame);
    case 'COMMITTED':
      return new ContentWriter().name(frame.root).frame(FRAME_KINDS.COMMITTED, 0);
    case 'WITHHELD': {
      const content = new ContentWriter(4 + 2 * frame.subtrees.length).u32(frame.subtrees.length);
      for (const subtree of frame.subtrees) content.u16(subtree);
      return content.frame(FRAME_KINDS.WITHHELD, 0);
    }
    case 'ENDED':
      return new ContentWriter(0).frame(FRAME_KINDS.ENDED, 0);
    case 'REFUSED':
      return new ContentWriter().text(frame.code).speech(frame.message).frame(FRAME_KINDS.REFUSED, 0);
  }
}

function encodeMissing(frame: MissingFrame): Buffer {
  const content = new ContentWriter(12 + PAGES_MAX / 8 + frame.names.length * ROW_BYTES);
  content.u16(frame.subtree).u32(frame.round).u32(frame.outstanding).pages(frame.pages).u16(frame.names.length);
  for (const { at, name } of frame.names) content.u16(at).name(name);
  return content.frame(FRAME_KINDS.MISSING, 0);
}

type ReaderOf<Frame> = Omit<FrameReader<Frame>, 'bytesMax'>;

const READERS = {
  OPENED: {
    flags: FRESH | COUNTS_NOTHING,
    read: (content, flags) => ({
      kind: 'OPENED',
      fresh: (flags & FRESH) !== 0,
      countsNothing: (flags & COUNTS_NOTHING) !== 0,
      epoch: content.u48(),
      base: content.baseOrNone(),
      exchangeBytes: content.u32(),
      exchanges: content.u8(),
    }),
  },
  TAKEN: { flags: 0, read: (content) => ({ kind: 'TAKEN', epoch: content.u48(), owner: content.words(WORDS_MAX) }) },
  NOTED: { flags: 0, read: (content) => ({ kind: 'NOTED', turn: content.u32(), subtree: content.u16(), page: readPage(content) }) },
  KEPT: {
    flags: 0,
    read: (content) => ({ kind: 'KEPT', turn: content.u32(), accepted: content.u32(), dropped: content.u32() }),
  },
  MISSING: { flags: 0, read: readMissing },
  COMMITTED: { flags: 0, read: (content) => ({ kind: 'COMMITTED', root: content.name() }) },
  WITHHELD: { flags: 0, read: readWithheld },
  ENDED: { flags: 0, read: () => ({ kind: 'ENDED' }) },
  REFUSED: { flags: 0, read: (content) => ({ kind: 'REFUSED', code: readCode(content), message: content.text() }) },
} as const satisfies { readonly [K in AnswerFrame['kind']]: ReaderOf<Extract<AnswerFrame, { readonly kind: K }>> };

export const ANSWER_READERS: ReadonlyMap<number, FrameReader<AnswerFrame>> = new Map(
  Object.entries(READERS).map(([kind, reader]) => {
    const { byte, bytesMax } = FRAME_KINDS[kind as AnswerFrame['kind']];
    return [byte, { bytesMax, ...reader }];
  }),
);

function readMissing(content: ContentReader): MissingFrame {
  const list = { subtree: content.u16(), round: content.u32(), outstanding: content.u32(), pages: content.pages() };
  const count = content.rows(content.u16(), ROW_BYTES);
  if (count > NAMES_MAX) throw invalid('too many names at once');
  if (list.outstanding < count + list.pages.length) throw invalid('more is listed than is outstanding');
  let before = -1;
  const names = Array.from({ length: count }, () => {
    const at = content.u16();
    if (at <= before) throw invalid('names do not ascend');
    before = at;
    return { at, name: content.name() };
  });
  return { kind: 'MISSING', ...list, names };
}

function readWithheld(content: ContentReader): Extract<AnswerFrame, { readonly kind: 'WITHHELD' }> {
  const count = content.rows(content.u32(), 2);
  return { kind: 'WITHHELD', subtrees: Array.from({ length: count }, () => content.u16()) };
}

function readPage(content: ContentReader): number {
  const page = content.u16();
  if (page >= PAGES_MAX) throw invalid('there is no such page');
  return page;
}

function readCode(content: ContentReader): string {
  const code = content.text();
  if (!CODE_PATTERN.test(code)) throw invalid('a code is not one');
  return code;
}
