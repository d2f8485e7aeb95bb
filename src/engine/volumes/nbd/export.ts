/**
 * What a server serves: the contract between the protocol and whatever holds the bytes.
 *
 * An operation may answer at once or with a promise. The replies to all requests that came in one piece and are answered at
 * once leave in one piece: that is what makes a server on a page cache fast.
 */
import { ERRNO, type Errno } from './protocol.ts';

/** A run of bytes that have one status in a context; lengths are more than zero. */
export interface StatusRun {
  readonly length: number;
  /** The context's own; for `base:allocation` see STATE. */
  readonly flags: number;
}

/** What a client may ask of ranges, by a name such as `base:allocation`. */
export interface MetaContext {
  readonly name: string;
  /** The status of [offset, offset + length), ascending and without gaps; a caller may stop early. */
  status(offset: number, length: number): Iterable<StatusRun> | AsyncIterable<StatusRun>;
}

export interface BlockSizes {
  /** Powers of two but for the last; requests are multiples of the first and not longer than the last. */
  readonly minimumBytes: number;
  readonly preferredBytes: number;
  readonly maximumBytes: number;
}

export interface ZeroOptions {
  /** Durable before the answer. */
  readonly fua: boolean;
  /** The range may become a hole. */
  readonly mayPunch: boolean;
  /** Rather fail (ENOTSUP) than write zeros out. */
  readonly fast: boolean;
}

type MaybePromise<T> = T | Promise<T>;

/** The bytes behind an export, as one connection uses them. Offsets and lengths are inside the export: the server checks. */
export interface Backend {
  /** Fills `into` from `offset` if that needs no waiting; false: `read` shall do it. */
  readNow(into: Buffer, offset: number): boolean;
  /** Fills `into` from `offset`. */
  read(into: Buffer, offset: number): Promise<void>;
  /** Whether all of a range is known to read as zeros, at no cost to speak of. */
  readsZero(offset: number, length: number): boolean;
  /** Writes `parts`, one after another; they are the server's again once it has answered. */
  write(parts: readonly Buffer[], offset: number, fua: boolean): MaybePromise<void>;
  /** Makes durable what was answered before, on any connection. */
  flush(): MaybePromise<void>;
  /** These bytes are not needed any more; what they read as from now on is the backend's choice. */
  trim(offset: number, length: number, fua: boolean): MaybePromise<void>;
  zero(offset: number, length: number, options: ZeroOptions): MaybePromise<void>;
  /** These bytes will be read soon. */
  cache(offset: number, length: number): MaybePromise<void>;
  /** The connection has ended. */
  close(): MaybePromise<void>;
}

export interface Export {
  /** Empty: the default export. */
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** A flush on one connection covers what was answered on all of them. */
  readonly multiConn: boolean;
  /** It tells zeros that cost no more than a request does from those that have to be written (`fast`). */
  readonly fastZero: boolean;
  readonly blockSizes: BlockSizes;
  /** As of now: contexts may come and go while a volume is served. */
  contexts(): readonly MetaContext[];
  open(): MaybePromise<Backend>;
}

/** A failure that the client is told by its number; any other one is EIO to it. */
export class NbdError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno, message: string) {
    super(message);
    this.name = 'NbdError';
    this.errno = errno;
  }
}

/** The number for whatever a backend has thrown. */
export function errnoOf(error: unknown): Errno {
  if (error instanceof NbdError) return error.errno;
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : null;
  return code === 'ENOSPC' || code === 'EDQUOT' ? ERRNO.ENOSPC : ERRNO.EIO;
}
