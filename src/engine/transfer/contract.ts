/**
 * The two ends of the pipeline: where values come from and where they go.
 *
 *     source ──▶ hash ──▶ offer: which of these does each destination lack? ──▶ encode once ──▶ seal ──▶ pack ──▶ put
 *
 * Work is cut into subtrees of 65,536 extents; one subtree is one call of shipSubtree, resumable by itself. A destination
 * is one open claim in one repository. Its base may differ from the others'; what is read is the union of what each lacks.
 */
import type { Codec, PackKey } from '../../ground/sealing/blob.ts';
import type { ByteRange } from '../../ground/stores/object-store.ts';
import type { Location } from '../repository/location.ts';
import type { PackEntry } from '../repository/pack.ts';

/** One open claim in one repository, as the pipeline sees it. */
export interface Destination {
  /** The store's name: for progress, errors and metrics. */
  readonly store: string;
  readonly codec: Codec;
  /** The base's values at leaf `leaf` (256 x 32 bytes, zero where absent), or null when the base has nothing there. */
  baseLeaf(leaf: number): Promise<Buffer | null>;
  /** Whether the repository counts this value, so that its name is enough. */
  has(fingerprint: Buffer): boolean;
  /** Packs that earlier tries of this claim, or claims that it adopted, have put for this subtree. */
  adopted(subtree: number, signal?: AbortSignal): AsyncIterable<AdoptedPack>;
  /** Starts a pack of extents of this try. */
  beginPack(subtree: number): OpenPack;
  /** Puts a finished pack. Resolves when the store has confirmed it. */
  putPack(pack: OpenPack, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Turns what changed in a subtree into map nodes and a change part, and puts both. */
  finishSubtree(outcome: ShippedSubtree, signal?: AbortSignal): Promise<SubtreeReceipt>;
}

export interface OpenPack {
  readonly id: Buffer;
  readonly name: string;
  readonly packKey: PackKey;
}

export interface AdoptedPack {
  readonly id: Buffer;
  readonly entries: readonly PackEntry[];
}

/** What the pipeline found in one subtree, for one destination. */
export interface ShippedSubtree {
  readonly subtree: number;
  /** Extent number -> new fingerprint (ABSENT: now zeros), ascending, only where it differs from the base. */
  readonly changes: readonly ExtentChange[];
  /** Locations of the values brought, by fingerprint in hex: own packs and adopted ones, confirmed by the store. */
  readonly brought: ReadonlyMap<string, Location>;
  /** Stored size of each pack that `brought` points into, by pack id in hex. */
  readonly packs: ReadonlyMap<string, PackSize>;
}

export interface ExtentChange {
  readonly extent: number;
  readonly fingerprint: Buffer;
}

export interface PackSize {
  readonly bytes: number;
  readonly blobs: number;
}

/** What a finished subtree leaves for the commit: small, printable, fit for a workflow's history. */
export interface SubtreeReceipt {
  readonly subtree: number;
  /** Fingerprint of the subtree's node (level 2) in hex, or null when it is all zeros; with a hint where it lies. */
  readonly node: string | null;
  readonly nodeLocation: string | null;
  /** Name and BLAKE3 (hex) of the change part, or null when nothing changed. */
  readonly part: { readonly name: string; readonly digest: string } | null;
  readonly changedExtents: number;
  readonly newExtents: number;
  /** Bytes put to the store for this subtree, packs and change part. */
  readonly sentBytes: number;
}

/** One repository to read values from, as the pipeline sees it. */
export interface ValueReader {
  /** The store's name: for errors and metrics. */
  readonly store: string;
  /** Name and key of a pack by its 16-byte id. */
  packOf(id: Buffer): { readonly name: string; readonly packKey: PackKey };
  /**
   * Bytes of an object, or null when it is not there. A shorter answer than asked for means that the object ends. The
   * answer is the caller's alone: its memory is given back as soon as it has been copied into a slot.
   */
  read(name: string, range: ByteRange, signal?: AbortSignal): Promise<Buffer | null>;
  /** Where a value lies after looking again (syncing first), or null when the repository does not hold it. */
  locate(fingerprint: Buffer, signal?: AbortSignal): Promise<Location | null>;
}

/** A value at a position, as a walk of a map yields it. */
export interface PlacedValue {
  readonly extent: number;
  readonly fingerprint: Buffer;
  /** The locator beside the leaf: a hint, perhaps stale, perhaps unknown. */
  readonly location: Location | null;
}

/** Where the bytes of a source come from. */
export type SourceContent =
  /** A descriptor that worker threads can pread from. */
  | { readonly kind: 'descriptor'; readonly fd: number }
  /** Fills `into` with extents side by side; what lies past the end of the volume is left as it is. Answers the bytes read. */
  | { readonly kind: 'filled'; fill(into: Buffer, extents: readonly number[], signal: AbortSignal): Promise<number> };

/** A frozen or plain view of a volume, open for reading. */
export interface SourceView {
  readonly sizeBytes: number;
  readonly content: SourceContent;
  /** Ranges within [offset, offset + length) that may hold data, ascending, holes left out (SEEK_DATA / SEEK_HOLE). */
  dataRanges(offset: number, length: number): Iterable<{ readonly offset: number; readonly length: number }>;
  /** Bytes read so far by all threads; the pipeline adds to it. */
  readBytes: number;
}
