/**
 * The numbers of the protocol page: kinds of frames, and what each may come to. docs/replication.md sections 3 and 7.
 *
 * A frame says its kind and length in its first 8 bytes, so that one which is too long is refused before any of it is kept.
 */
import { EXTENT_BYTES_MAX, KIB, SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import { NAMES_MAX, PAGE_NAMES } from '../frames.ts';

/** The version of the protocol that OPEN carries. */
export const PROTOCOL_VERSION = 1;
export const CONTENT_TYPE = 'application/vnd.holdfast.replication';

/** Kind u8, flags u8, zero u16, length u32. */
export const HEAD_BYTES = 8;
export const NAME_BYTES = 32;
/** Pages of an inquiry or a list, a bit each: the snapshot's and the base's. */
export const PAGES_MAX = 512;
export const BASES_MAX = 255;
/** Of an owner or a label, as in the log's records. */
export const WORDS_MAX = 200;
/** Bytes of what is said to people: a reason, the message of a refusal. */
export const SPEECH_BYTES_MAX = 1000;

/** Turn, name, codec. */
export const DATA_HEAD_BYTES = 4 + NAME_BYTES + 1;
/** Child and name. */
export const ROW_BYTES = 1 + NAME_BYTES;

const OTHER_BYTES_MAX = 16 * KIB;
const REFERENCES_BYTES_MAX = 10 + PAGE_NAMES * ROW_BYTES;
/** With the largest extent: a value that zstd cannot make smaller is raw. */
const DATA_BYTES_MAX = DATA_HEAD_BYTES + EXTENT_BYTES_MAX + EXTENT_BYTES_MAX / 256 + KIB;
const MISSING_BYTES_MAX = 12 + PAGES_MAX / 8 + NAMES_MAX * (2 + NAME_BYTES);
const WITHHELD_BYTES_MAX = 4 + 2 * SUBTREE_EXTENTS;

export interface FrameKind {
  readonly byte: number;
  /** Content, without the 8 bytes before it. */
  readonly bytesMax: number;
}

export const FRAME_KINDS = {
  OPEN: { byte: 0x01, bytesMax: OTHER_BYTES_MAX },
  SESSION: { byte: 0x02, bytesMax: OTHER_BYTES_MAX },
  REFERENCES: { byte: 0x03, bytesMax: REFERENCES_BYTES_MAX },
  DATA: { byte: 0x04, bytesMax: DATA_BYTES_MAX },
  PUSH_INQUIRY: { byte: 0x05, bytesMax: OTHER_BYTES_MAX },
  COMMIT: { byte: 0x06, bytesMax: OTHER_BYTES_MAX },
  NAME_GONE: { byte: 0x07, bytesMax: OTHER_BYTES_MAX },
  ABORT: { byte: 0x08, bytesMax: OTHER_BYTES_MAX },
  OPENED: { byte: 0x81, bytesMax: OTHER_BYTES_MAX },
  TAKEN: { byte: 0x82, bytesMax: OTHER_BYTES_MAX },
  NOTED: { byte: 0x83, bytesMax: OTHER_BYTES_MAX },
  KEPT: { byte: 0x84, bytesMax: OTHER_BYTES_MAX },
  MISSING: { byte: 0x85, bytesMax: MISSING_BYTES_MAX },
  COMMITTED: { byte: 0x86, bytesMax: OTHER_BYTES_MAX },
  WITHHELD: { byte: 0x87, bytesMax: WITHHELD_BYTES_MAX },
  ENDED: { byte: 0x88, bytesMax: OTHER_BYTES_MAX },
  REFUSED: { byte: 0xff, bytesMax: OTHER_BYTES_MAX },
} as const satisfies Record<string, FrameKind>;

/** The least that an exchange must be able to hold: a first frame, and one of any kind. */
export const EXCHANGE_BYTES_LEAST = 2 * HEAD_BYTES + OTHER_BYTES_MAX + DATA_BYTES_MAX;
/** The largest answer, with its head. */
export const ANSWER_BYTES_MAX = HEAD_BYTES + MISSING_BYTES_MAX;
