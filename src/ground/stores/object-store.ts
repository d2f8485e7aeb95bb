/**
 * The contract of an object store: six calls, three guarantees.
 *
 * Asked of every store: read-after-write; a put is atomic (a reader sees nothing or the whole body, never a torn one);
 * of any number of racing `ifAbsent` puts to one name exactly one is told 'created'. They are written here, above the
 * implementations, and test/conformance proves them on each. Everything that Holdfast keeps is write-once, so there is
 * no update and no conditional delete.
 *
 * Names are `/`-separated, 1 to 512 characters of [A-Za-z0-9._-] in segments of 1 to 255 that do not begin with a full stop.
 * No name is the folder of another (`a` and `a/b`): a store may refuse the second of the two with ARGUMENT_INVALID.
 *
 * Errors are HoldfastErrors: STORE_UNREACHABLE (unclear: the call may or may not have taken effect; retryable),
 * STORE_DENIED, STORE_FULL, ARGUMENT_INVALID; DAMAGED when the store itself says that its bytes are not what was put;
 * STORE_UNFIT when it cannot do what is asked. A call whose signal is aborted rejects with the signal's reason, and a put
 * may then have taken effect. Whether an object is there is a return value, never an error.
 */

/** Bytes [offset, offset + length). A range that reaches past the end yields what is there. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface PutOptions {
  /** Create only: 'exists' when the name is taken, by whatever bytes. */
  readonly ifAbsent?: boolean;
  /** Epoch milliseconds until which the store should refuse deletion; ignored by stores that cannot. */
  readonly retainUntilMs?: number;
  readonly signal?: AbortSignal;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface ObjectInfo {
  readonly name: string;
  readonly sizeBytes: number;
}

export interface ListOptions extends CallOptions {
  /** Only names greater than this one (byte order). */
  readonly after?: string;
  /** At most this many; default 1,000, which is also the most. */
  readonly limit?: number;
}

export interface StoreCapabilities {
  /** The address without credentials, as a person would write it. */
  readonly url: string;
  readonly conditionalPut: boolean;
  readonly retention: boolean;
}

export interface ObjectStore {
  put(name: string, bytes: Uint8Array, options?: PutOptions): Promise<'created' | 'exists'>;
  /** The object's bytes (or the range of them), the caller's alone, or null when there is no such object. */
  get(name: string, options?: CallOptions & { readonly range?: ByteRange }): Promise<Buffer | null>;
  head(name: string, options?: CallOptions): Promise<ObjectInfo | null>;
  /** Names that begin with `prefix`, in byte order. Complete: a page shorter than `limit` is the last one. */
  list(prefix: string, options?: ListOptions): Promise<readonly ObjectInfo[]>;
  /** Removes what is there; names that are not there are no error. At most 1,000 names a call. */
  delete(names: readonly string[], options?: CallOptions): Promise<void>;
  describe(): StoreCapabilities;
}

/** Every object below `prefix`, page by page. */
export async function* listAll(store: ObjectStore, prefix: string, options: CallOptions = {}): AsyncGenerator<ObjectInfo> {
  const limit = 1000;
  for (let after: string | undefined; ;) {
    const page = await store.list(prefix, { ...options, limit, ...(after === undefined ? {} : { after }) });
    yield* page;
    if (page.length < limit) return;
    after = page.at(-1)?.name;
  }
}
