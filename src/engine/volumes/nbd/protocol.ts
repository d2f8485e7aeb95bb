/**
 * The numbers of the NBD protocol, with the names that its specification gives them
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). docs/nbd.md says which of it is implemented.
 * Everything on the wire is big-endian.
 */

export const INIT_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** Magic u64, option u32, length u32. */
export const OPTION_HEADER_BYTES = 16;
/** Magic u64, option u32, type u32, length u32. */
export const OPTION_REPLY_HEADER_BYTES = 20;
/** Magic u32, flags u16, type u16, cookie u64, offset u64, length u32. */
export const REQUEST_BYTES = 28;
/** Magic u32, error u32, cookie u64. */
export const SIMPLE_REPLY_BYTES = 16;
/** Magic u32, flags u16, type u16, cookie u64, length u32. */
export const CHUNK_HEADER_BYTES = 20;
/** Zeros after the answer to NBD_OPT_EXPORT_NAME, unless both sides agreed to do without. */
export const EXPORT_NAME_PADDING_BYTES = 124;
/** The longest string of the protocol, in bytes. */
export const STRING_BYTES_MAX = 4096;

export const HANDSHAKE = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const OPTION = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

const ERROR_BIT = 0x8000_0000;
export const OPTION_REPLY = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: ERROR_BIT + 1,
  ERR_POLICY: ERROR_BIT + 2,
  ERR_INVALID: ERROR_BIT + 3,
  ERR_TLS_REQD: ERROR_BIT + 5,
  ERR_UNKNOWN: ERROR_BIT + 6,
  ERR_SHUTDOWN: ERROR_BIT + 7,
  ERR_TOO_BIG: ERROR_BIT + 9,
} as const;

export const INFO = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

export const TRANSMISSION = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
} as const;

export const COMMAND = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, CACHE: 5, WRITE_ZEROES: 6, BLOCK_STATUS: 7 } as const;

export const COMMAND_FLAG = { FUA: 1 << 0, NO_HOLE: 1 << 1, DF: 1 << 2, REQ_ONE: 1 << 3, FAST_ZERO: 1 << 4 } as const;

export const CHUNK = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2, BLOCK_STATUS: 5, ERROR: 0x8001 } as const;
export const CHUNK_DONE = 1;

/** Flags of `base:allocation`. */
export const STATE = { HOLE: 1, ZERO: 2 } as const;

export const ERRNO = { EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, ENOSPC: 28, EOVERFLOW: 75, ENOTSUP: 95, ESHUTDOWN: 108 } as const;
export type Errno = (typeof ERRNO)[keyof typeof ERRNO];
