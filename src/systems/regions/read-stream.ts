/**
 * Reads a stream: its bytes in order, from any region that has them, and none that is not acknowledged.
 *
 * Invariant: each piece goes on where the one before it ended. Whatever is not as it was written ends the reading with an error that names the first
 * byte that was not given; nothing of it is returned.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { BATCHES_AHEAD } from '../../domain/limits.ts';
import type { Batch, BatchHead } from '../../engine/journal/batch.ts';
import type { ChainMark } from '../../engine/journal/chain.ts';
import { fetchBatchNow } from '../../engine/journal/reading/copies.ts';
import { readHistory, type HistoryEnd } from '../../engine/journal/reading/history.ts';
import { inOrder } from '../../engine/journal/reading/in-order.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import { bytesOf, markBefore } from './stream-places.ts';

export interface StreamPlace {
  /** The next byte. */
  readonly offset: number;
  /** Where the journal is read on from; null: it is to be looked for. */
  readonly mark: ChainMark | null;
}

/**
 * What is acknowledged now of the bytes from a place up to `to`; returns where it goes on. STORE_UNREACHABLE, or DAMAGED, OBJECT_MISSING and the
 * like, each with `details.offset`: the bytes before it are whole.
 */
export async function* readStream(reading: Reading, from: StreamPlace, to = Infinity): AsyncGenerator<Buffer, StreamPlace> {
  let { offset } = from;
  try {
    const state = await reading.journal.log.sync();
    const mark = from.mark ?? (await markBefore(reading, state, offset));
    if (mark === null) return from;
    let end: HistoryEnd | null = null;
    const heads = async function* (): AsyncGenerator<BatchHead> {
      const history = readHistory(reading, state, mark);
      let met = await history.next();
      for (; met.done !== true; met = await history.next()) {
        const bytes = bytesOf(met.value.head);
        if (bytes !== null && bytes.from >= to) return;
        if (bytes !== null && bytes.to > from.offset) yield met.value.head;
      }
      end = met.value;
    };
    const batches = inOrder(heads(), BATCHES_AHEAD, async (head) => (await fetchBatchNow(reading, head, head.after)).batch);
    for await (const batch of batches)
      for (const { at, data } of writesOf(batch)) {
        if (offset >= to) break;
        if (at > offset) throw misplaced(batch, offset);
        const piece = data.subarray(offset - at, Math.max(0, to - at));
        if (piece.length === 0) continue;
        yield piece;
        offset += piece.length;
      }
    return { offset, mark: (end as HistoryEnd | null)?.mark ?? null };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw new HoldfastError(error.code, `from byte ${offset} on: ${error.message}`, { ...error.details, offset }, error);
  }
}

function* writesOf({ records }: Batch): Generator<{ readonly at: number; readonly data: Buffer }> {
  for (const record of records) if (record.kind === 'write') yield { at: record.offset, data: record.data as Buffer };
}

const misplaced = ({ epoch, index }: Batch, offset: number): HoldfastError =>
  new HoldfastError('CHAIN_BROKEN', `batch ${index} of epoch ${epoch} does not go on with the stream`, { epoch, index, offset });
