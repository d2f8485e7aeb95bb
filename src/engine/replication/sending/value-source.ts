/**
 * Reads values of a repository as they go over the wire: opened on threads, the stored body kept as it is.
 *
 * Compressing again would be two thirds of the work, and the receiver keeps zstd when it wants zstd. Buffers are taken when
 * something is read for the first time: a session in which nothing is asked for needs none. `deliver` waits when enough is
 * ready to be sent; a range keeps its slot until all of it is delivered, so that is what bounds reading ahead.
 */
import type { HoldfastError } from '../../../domain/errors.ts';
import type { Reservation } from '../../../ground/threads/buffers.ts';
import { freeBuffer } from '../../../ground/threads/free-buffer.ts';
import { SLOT_BYTES, type UnsealResult } from '../../../ground/threads/tasks.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { Batches } from '../../transfer/batches.ts';
import type { ValueReader } from '../../transfer/contract.ts';
import { fetchSlots, fetchValues, type FetchedRange, type UseRange } from '../../transfer/fetch.ts';
import type { FetchValue } from '../../transfer/read-plan.ts';
import type { Name } from '../messages.ts';
import type { ReadValue } from './content.ts';

export interface ValueSource {
  /** Answers the names that cannot be read; `inFull`: or are not what they should be. STORE_UNREACHABLE and the like end it. */
  read(
    values: readonly FetchValue[],
    deliver: (values: readonly ReadValue[]) => Promise<void>,
    signal: AbortSignal,
    inFull: boolean,
  ): Promise<readonly Name[]>;
}

export interface ValueSourceDeps {
  readonly reader: ValueReader;
  readonly extentBytes: number;
  readonly threads: Threads;
  /** Told of each value that cannot be read, and why. */
  readonly onLost?: (error: HoldfastError) => void;
}

/** Buffers for bodies that are used again: as many as exchanges are ready or on their way over a short line, 4 MiB each. */
const ROOMS_KEPT = 8;

export function createValueSource({ reader, extentBytes, threads, onLost }: ValueSourceDeps): ValueSource {
  const slots = fetchSlots(threads.count);
  const rooms: ArrayBuffer[] = [];
  const giveBack = (room: ArrayBuffer): void => {
    if (rooms.length < ROOMS_KEPT) rooms.push(room);
    else freeBuffer(Buffer.from(room));
  };

  const readInto = async (
    reservation: Reservation,
    values: readonly FetchValue[],
    deliver: (values: readonly ReadValue[]) => Promise<void>,
    signal: AbortSignal,
    inFull: boolean,
  ): Promise<readonly Name[]> => {
    const batches = new Batches(reservation, slots, signal);
    const gone: Name[] = [];
    const use: UseRange = async (range) => {
      const { slot, start, key } = range;
      const blobs = range.values.map(({ location }, place) => ({ place, offset: location.offset, length: location.length, targets: [] }));
      const room = rooms.pop() ?? null;
      const unsealed = await threads.run('unseal', { slot, start, key, blobs, inFull, room }, room === null ? [] : [room]);
      await deliver(readValues(range, unsealed, giveBack));
      return unsealed.failures;
    };
    try {
      await fetchValues(
        {
          ...{ reader, extentBytes, batches, use },
          progress: () => undefined,
          onLost({ value, error }) {
            gone.push(value.fingerprint.toString('hex'));
            onLost?.(error);
          },
        },
        values,
      );
      return gone;
    } catch (error) {
      batches.stop(error);
      throw batches.signal.reason;
    } finally {
      await batches.ended();
    }
  };

  return {
    async read(values, deliver, signal, inFull) {
      using reservation = await threads.buffers.reserve(slots * SLOT_BYTES, signal);
      return await readInto(reservation, values, deliver, signal, inFull);
    },
  };
}

/** The bodies lie in one buffer, which is given back when the last of them was heard. */
function readValues({ values }: FetchedRange, { bytes, bodies }: UnsealResult, giveBack: (room: ArrayBuffer) => void): ReadValue[] {
  let left = bodies.length;
  const release = (): void => {
    if (--left === 0) giveBack(bytes);
  };
  return bodies.flatMap(({ blob, codec, offset, length }) => {
    const value = values[blob];
    if (value === undefined) return [];
    const name = value.fingerprint.toString('hex');
    return [{ name, extent: value.extents[0] ?? 0, codec: codec === 0 ? 0 : 1, body: Buffer.from(bytes, offset, length), release }];
  });
}
