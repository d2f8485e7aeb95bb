/**
 * A replay into files: what a plan says is written over its base, in threads.
 *
 *     batch ──get──▶ head checked ──▶ a thread opens the body, holds it against its digest, writes its stretches ──▶ targets
 *
 * Invariant: nothing is written of a body that is not what was sealed in its place of the chain; another region's copy is taken then. When
 * this has ended, well or not, nothing is written any more.
 *
 * Memory: BATCHES_AHEAD stored batches, and what a thread keeps to unpack one.
 */
import { setImmediate } from 'node:timers/promises';
import { HoldfastError } from '../../../domain/errors.ts';
import { BATCHES_AHEAD, MIB } from '../../../domain/limits.ts';
import { dataRanges } from '../../../ground/libc/libc.ts';
import { allEnded } from '../../../ground/threads/all-ended.ts';
import { writeFully } from '../../../ground/threads/target-writes.ts';
import type { ScatterPieces } from '../../../ground/threads/tasks.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { syncEarly } from '../../transfer/early-sync.ts';
import type { RestoreTarget } from '../../transfer/restore-target.ts';
import type { ClosedBody } from '../batch.ts';
import { useBodyNow } from '../reading/copies.ts';
import type { Reading } from '../reading/reading.ts';
import { refusedObject } from '../sealed-object.ts';
import type { RecoveryPlan } from './plan.ts';
import { byBatch, placeOf, plannedBatch } from './replay.ts';
import { ZEROS, type Stretches } from './stretches.ts';

export type ReplayTarget = Pick<RestoreTarget, 'fd' | 'sizeBytes' | 'sync'>;

export interface ReplayInto {
  /** By volume; what goes to others is left out. They hold what the plan's base does. */
  readonly targets: ReadonlyMap<number, ReplayTarget>;
  readonly threads: Threads;
  readonly onWritten: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/** Errors as of `replay`; TARGET_FULL, TARGET_UNWRITABLE; ARGUMENT_INVALID when the journal wrote past the end of a target. */
export async function replayInto(reading: Reading, plan: RecoveryPlan, into: ReplayInto): Promise<void> {
  const { stretches } = plan;
  const { targets, threads } = into;
  refusePastEnd(stretches, targets);
  await writeZeros(stretches, into);
  const { order, batches } = byBatch(stretches, (volume) => targets.has(volume));
  const numbers = new Map([...targets.keys()].map((volume, i) => [volume, i]));
  const fds = [...targets.values()].map(({ fd }) => fd);
  const stop = new AbortController();
  const signal = into.signal === undefined ? stop.signal : AbortSignal.any([into.signal, stop.signal]);
  const syncAll = async (): Promise<void> => allEnded([...targets.values()].map((target) => target.sync()));
  const early = syncEarly({ sync: syncAll }, (error) => stop.abort(error));
  const todo = batches.values();
  const lane = async (): Promise<void> => {
    for (const batch of todo) {
      signal.throwIfAborted();
      const planned = plannedBatch(plan, batch.number);
      const pieces = piecesOf(stretches, order.subarray(batch.from, batch.to), numbers);
      await useBodyNow({ ...reading, signal }, planned, planned.after, (body, object) => scatter(threads, body, object, pieces, fds));
      const bytes = pieces.lengths.reduce((sum, length) => sum + length, 0);
      early.wrote(bytes);
      into.onWritten(bytes);
    }
  };
  // The first that fails has the others end with the batch at hand, and with its error.
  const lanes = Array.from({ length: BATCHES_AHEAD }, () => lane().catch((error: unknown) => stop.abort(error)));
  await allEnded(lanes);
  await early.ended();
  signal.throwIfAborted();
}

/** Opens a body in a thread, which writes pieces of it. */
async function scatter(
  threads: Threads,
  { sealed, isZstd, dataBytes, dataDigest }: ClosedBody,
  object: string,
  pieces: ScatterPieces,
  fds: readonly number[],
): Promise<void> {
  if (sealed === null) throw refusedObject('DAMAGED', object, 'form');
  // A view takes all of its buffer with it: what is small goes as a copy.
  const [key, nonce] = [new Uint8Array(sealed.key), new Uint8Array(sealed.nonce)];
  const [associated, digest] = [new Uint8Array(sealed.associated), new Uint8Array(dataDigest)];
  const { buffer, byteOffset, length } = sealed.sealed;
  if (!(buffer instanceof ArrayBuffer)) throw new HoldfastError('INTERNAL', 'a body that cannot be moved');
  const body = { key, nonce, associated, sealed: new Uint8Array(buffer, byteOffset, length) };
  const result = await threads.run('scatter', { body, isPacked: isZstd, plainBytes: dataBytes, digest, pieces, fds }, [buffer]);
  if (result.kind === 'refused') throw refusedObject('DAMAGED', object, result.why);
}

function piecesOf(of: Stretches, order: Uint32Array, numbers: ReadonlyMap<number, number>): ScatterPieces {
  const count = order.length;
  const targets = new Uint16Array(count);
  const [offsets, lengths, places] = [new Float64Array(count), new Uint32Array(count), new Uint32Array(count)];
  for (let at = 0; at < count; at++) {
    const i = order[at] ?? 0;
    targets[at] = numbers.get(of.volumes[i] ?? 0) ?? 0;
    offsets[at] = of.offsets[i] ?? 0;
    lengths[at] = of.lengths[i] ?? 0;
    places[at] = of.places[i] ?? 0;
  }
  return { count, targets, offsets, lengths, places };
}

function refusePastEnd(stretches: Stretches, targets: ReplayInto['targets']): void {
  for (let i = 0; i < stretches.count; i++) {
    const { volume, offset, length } = placeOf(stretches, i);
    if (offset + length > (targets.get(volume)?.sizeBytes ?? Infinity))
      throw new HoldfastError('ARGUMENT_INVALID', `the journal wrote past the end of volume ${volume}`, {
        ...{ field: 'sizeBytes', volume, offset },
      });
  }
}

const ZERO_BYTES = Buffer.alloc(MIB);
/** A turn of zeros: some milliseconds. */
const ZEROS_A_TURN = 1024;

/** Zeros are written where the base left anything else; a hole stays one. */
async function writeZeros(stretches: Stretches, { targets, signal, onWritten }: ReplayInto): Promise<void> {
  for (let i = 0, done = 0; i < stretches.count; i++) {
    const { volume, offset, length } = placeOf(stretches, i);
    const target = targets.get(volume);
    if (stretches.places[i] !== ZEROS || target === undefined) continue;
    for (const range of dataRanges(target.fd, offset, length))
      for (let at = range.offset; at < range.offset + range.length; at += MIB)
        writeFully(target.fd, [ZERO_BYTES.subarray(0, Math.min(MIB, range.offset + range.length - at))], at);
    onWritten(length);
    if (++done % ZEROS_A_TURN !== 0) continue;
    signal?.throwIfAborted();
    await setImmediate();
  }
}
