/**
 * What a thread can be asked to do, as plain messages.
 *
 * A message is a few hundred bytes of numbers; bytes of volumes and packs stay in shared buffers that the main thread
 * owns and lends for the length of one task, and bodies that come from a wire or go to one are moved, never copied. Tasks keep nothing between two calls that matters, so any thread can run
 * any of them, and an error is a value (a class does not survive the crossing).
 *
 * A slot holds one batch: plain extents side by side from offset 0, and their fingerprints from SLOT_FINGERPRINTS on. For
 * tasks that open blobs it holds stored bytes instead.
 */
import { BATCH_BYTES, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN, KIB } from '../../domain/limits.ts';
import type { ErrorCode, ErrorDetails } from '../../domain/errors.ts';
import type { Codec, PackKey } from '../sealing/blob.ts';
import type { Sealed } from '../sealing/opening.ts';

/** Stored bytes of the largest blob go beyond its plain bytes by a few: room for them, a page each. */
export const SLOT_FINGERPRINTS = Math.max(BATCH_BYTES, EXTENT_BYTES_MAX) + 8 * KIB;

/** Values of one task: as many as a slot has fingerprints. */
export const TASK_VALUES_MAX = BATCH_BYTES / EXTENT_BYTES_MIN;
export const FINGERPRINT_BYTES = 32;
export const SLOT_BYTES = SLOT_FINGERPRINTS + TASK_VALUES_MAX * FINGERPRINT_BYTES;

/** The i-th fingerprint of a slot. */
export const slotFingerprint = (slot: Buffer, i: number): Buffer =>
  slot.subarray(SLOT_FINGERPRINTS + i * FINGERPRINT_BYTES, SLOT_FINGERPRINTS + (i + 1) * FINGERPRINT_BYTES);

/** Extents of one batch. */
export const batchExtents = (extentBytes: number): number => Math.max(1, Math.floor(BATCH_BYTES / extentBytes));

/** Reads extents into a slot and fingerprints them. An extent of zeros gets a fingerprint of zeros. */
export interface HashTask {
  readonly slot: SharedArrayBuffer;
  /** Null: the slot holds the extents already. */
  readonly fd: number | null;
  readonly extentBytes: number;
  /** Size of the volume: what lies past it is zeros and is not read. */
  readonly sizeBytes: number;
  readonly extents: readonly number[];
}

export interface HashResult {
  readonly readBytes: number;
}

/** A destination's open pack, and which of a task's values go into it. */
export interface PackTarget {
  readonly buffer: SharedArrayBuffer;
  readonly offset: number;
  readonly key: PackKey;
  readonly codec: Codec;
  /** Positions in the task's list of values. */
  readonly wants: readonly number[];
}

/** Encodes values that lie in a slot once per codec and seals them into each pack that wants them. */
export interface SealTask {
  readonly slot: SharedArrayBuffer;
  readonly extentBytes: number;
  /** Places in the slot. */
  readonly values: readonly number[];
  readonly packs: readonly PackTarget[];
}

export interface SealResult {
  /** Stored lengths, by pack, in the order of its `wants`. */
  readonly lengths: readonly (readonly number[])[];
  /** Runs of a compressor. */
  readonly encoded: number;
}

/** A blob in a slot of stored bytes. */
export interface StoredBlob {
  /** Number of its fingerprint in the slot. */
  readonly place: number;
  /** In the pack. */
  readonly offset: number;
  readonly length: number;
  /** Where its plain bytes are written. */
  readonly targets: readonly number[];
}

export interface OpenTarget {
  readonly fd: number;
  readonly sizeBytes: number;
  /** The longest write. */
  readonly partBytes: number;
}

/** Opens blobs, checks each against its fingerprint, and writes what they hold to a descriptor. */
export interface OpenTask {
  readonly slot: SharedArrayBuffer;
  /** Offset in the pack of the slot's first byte. */
  readonly start: number;
  readonly key: PackKey;
  readonly blobs: readonly StoredBlob[];
  readonly target: OpenTarget | null;
}

export interface OpenResult {
  readonly plainBytes: number;
  readonly writtenBytes: number;
  readonly failures: readonly { readonly blob: number; readonly code: ErrorCode; readonly message: string }[];
}

/** Opens and checks blobs of one repository and seals them for others, in packs of theirs. */
export interface ResealTask extends Omit<OpenTask, 'target'> {
  readonly packs: readonly PackTarget[];
}

export interface ResealResult extends SealResult {
  readonly failures: OpenResult['failures'];
}

/** Opens blobs as far as their bodies (unseal-task.ts). */
export interface UnsealTask extends Omit<OpenTask, 'target'> {
  /** Whether what they hold is decoded and held against their fingerprints, too. */
  readonly inFull: boolean;
  /** A buffer for the bodies that was used before, of SLOT_BYTES, moved; fresh memory costs as much as opening does. Null: there is none. */
  readonly room: ArrayBuffer | null;
}

export interface UnsealResult {
  /** The bodies, one behind the other; of SLOT_BYTES. */
  readonly bytes: ArrayBuffer;
  /** Of the blobs that have opened, in order. */
  readonly bodies: readonly { readonly blob: number; readonly codec: number; readonly offset: number; readonly length: number }[];
  readonly failures: OpenResult['failures'];
}

/** An encoded value; its buffer is moved to the thread, and freed there. */
export interface TakenBody {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** As in a blob: 0 raw, 1 zstd. */
  readonly codec: number;
}

/** Decodes values that another party has encoded, checks each against its name, and seals those that are true into packs. */
export interface TakeTask {
  /** One behind the other, 32 bytes each, in the order of `bodies`. */
  readonly names: Uint8Array;
  /** Plain bytes that each has, exactly. */
  readonly extentBytes: number;
  readonly bodies: readonly TakenBody[];
  readonly packs: readonly PackTarget[];
}

export interface TakeResult extends SealResult {
  /** Positions in `bodies` of those that are not what their names say; they are in no pack. */
  readonly refused: readonly number[];
}

/** Pieces of one body, ascending by target and offset; none overlaps another. */
export interface ScatterPieces {
  readonly count: number;
  /** By its number among the task's descriptors. */
  readonly targets: Uint16Array;
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
  /** Where in the plain bytes each begins. */
  readonly places: Uint32Array;
}

/** Opens a sealed body and writes pieces of it. */
export interface ScatterTask {
  /** `sealed` is the thread's from now on: its buffer is moved there, opened in place, and freed. */
  readonly body: Sealed & { readonly sealed: Uint8Array<ArrayBuffer> };
  /** Whether its plain bytes are a zstd frame. */
  readonly isPacked: boolean;
  /** What it comes to, and its BLAKE3. */
  readonly plainBytes: number;
  readonly digest: Uint8Array;
  readonly pieces: ScatterPieces;
  readonly fds: readonly number[];
}

export type ScatterResult =
  | { readonly kind: 'written'; readonly bytes: number }
  /** It does not open, or is not what its digest says; nothing of it was written. */
  | { readonly kind: 'refused'; readonly why: 'sealed' | 'form' };

export interface Tasks {
  hash(task: HashTask): HashResult;
  seal(task: SealTask): SealResult;
  open(task: OpenTask): OpenResult;
  reseal(task: ResealTask): ResealResult;
  take(task: TakeTask): TakeResult;
  unseal(task: UnsealTask): UnsealResult;
  scatter(task: ScatterTask): ScatterResult;
}

export type TaskName = keyof Tasks;

/** What crosses back. */
export type TaskOutcome<Result> =
  | { readonly kind: 'done'; readonly result: Result }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly details: ErrorDetails };
