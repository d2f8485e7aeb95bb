/**
 * The memory of a receiver: buffers of packs that are being filled or put, for all sessions together.
 *
 * A session takes a buffer when it has something to put into it and keeps it until its pack is put, which may be long if its
 * sender goes quiet. So when the buffers are used up, whoever needs one has the pack sent that has waited longest: nobody is
 * kept waiting by somebody who is not working.
 */
import { PACK_BYTES_MAX } from '../../../domain/limits.ts';
import { BufferPool, type Reservation } from '../../../ground/threads/buffers.ts';
import { Permits } from '../../../ground/threads/permits.ts';

/** A pack that nobody is filling at this moment. */
export interface IdlePack {
  readonly idleSinceMs: number;
  /** Puts it, which gives its buffer back. */
  send(): void;
}

export interface Rooms extends Disposable {
  /** A buffer of PACK_BYTES_MAX. */
  takePack(signal: AbortSignal): Promise<SharedArrayBuffer>;
  givePack(buffer: SharedArrayBuffer): void;
  /** Packs that may be sent for the sake of others. */
  readonly idle: Set<IdlePack>;
}

export async function createRooms(threads: number, packsPerThread: number): Promise<Rooms> {
  const packs = threads * packsPerThread;
  const bytes = packs * PACK_BYTES_MAX;
  const reservation: Reservation = await new BufferPool(bytes).reserve(bytes);
  const freePacks = new Permits(packs);
  const idle = new Set<IdlePack>();
  let taken = 0;

  const relieve = (): void => {
    const [oldest] = [...idle].sort((a, b) => a.idleSinceMs - b.idleSinceMs);
    oldest?.send();
  };

  return {
    idle,
    async takePack(signal) {
      if (taken >= packs) relieve();
      taken++;
      try {
        await freePacks.take(signal);
      } catch (error) {
        taken--;
        throw error;
      }
      return reservation.take(PACK_BYTES_MAX);
    },
    givePack(buffer) {
      reservation.give(buffer);
      taken--;
      freePacks.give();
    },
    [Symbol.dispose]: () => reservation[Symbol.dispose](),
  };
}
