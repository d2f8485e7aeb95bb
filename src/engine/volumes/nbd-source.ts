/**
 * An NBD export as a source: a frozen view of a served volume, a disk of QEMU, a plugin of nbdkit.
 *
 * What the server says is not allocated and reads as zeros is not read. One source is opened for one stretch of the volume
 * (a subtree), and what is allocated there is asked once, in whole extents, so that memory follows the stretch.
 */
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import type { DataRange } from '../../ground/libc/libc.ts';
import { allEnded } from '../../ground/threads/all-ended.ts';
import type { SourceView } from '../transfer/contract.ts';
import type { NbdClient } from './nbd/client.ts';
import { STATE } from './nbd/protocol.ts';
import { ExtentSet } from './tracking/extent-set.ts';

const ALLOCATION = 'base:allocation';
/** The one flag of QEMU's dirty bitmaps, and of ours. */
const MARKED = 1;

export interface Stretch {
  readonly offset: number;
  readonly length: number;
}

const unreadable = (what: string, cause: unknown): HoldfastError =>
  new HoldfastError('SOURCE_UNREADABLE', `${what}: ${messageOf(cause)}`, {}, cause);

/** `client` is its user's to close, and so is `reader`, which reads the same from elsewhere. Memory: two bits for each extent of the stretch. */
export async function nbdSource(
  client: NbdClient,
  extentBytes: number,
  stretch: Stretch,
  reader: Pick<NbdClient, 'read'> = client,
): Promise<SourceView> {
  const { sizeBytes } = client;
  const data = await dataOf(client, extentBytes, stretch);
  const first = Math.floor(stretch.offset / extentBytes);
  return {
    sizeBytes,
    readBytes: 0,
    *dataRanges(offset, length): Generator<DataRange> {
      for (const [from, to] of data.runs()) {
        const start = Math.max(offset, (first + from) * extentBytes);
        const end = Math.min(offset + length, (first + to) * extentBytes);
        if (start < end) yield { offset: start, length: end - start };
      }
    },
    content: {
      kind: 'filled',
      async fill(into, extents, signal) {
        const reads: Promise<void>[] = [];
        let bytes = 0;
        for (const { place, extent, count } of runsOf(extents)) {
          signal.throwIfAborted();
          const offset = extent * extentBytes;
          const length = Math.min(count * extentBytes, sizeBytes - offset);
          bytes += length;
          reads.push(reader.read(into.subarray(place * extentBytes, place * extentBytes + length), offset));
        }
        await allEnded(reads).catch((cause: unknown) => {
          throw unreadable('the NBD export cannot be read', cause);
        });
        return bytes;
      },
    },
  };
}

/** Neighbours are read at once. */
function* runsOf(extents: readonly number[]): Generator<{ readonly place: number; readonly extent: number; readonly count: number }> {
  for (let place = 0; place < extents.length;) {
    const extent = extents[place] ?? 0;
    let count = 1;
    while (extents[place + count] === extent + count) count++;
    yield { place, extent, count };
    place += count;
  }
}

/** Extents of a stretch that may hold data; all of them where the server does not tell. */
async function dataOf(client: NbdClient, extentBytes: number, { offset, length }: Stretch): Promise<ExtentSet> {
  const end = Math.min(offset + length, client.sizeBytes);
  const first = Math.floor(offset / extentBytes);
  const data = new ExtentSet(Math.max(0, Math.ceil(end / extentBytes) - first));
  if (!client.contexts.includes(ALLOCATION)) {
    data.addRange(0, data.count);
    return data;
  }
  for (let at = offset; at < end;) {
    const runs = await client.status(ALLOCATION, at, end - at).catch((cause: unknown) => {
      throw unreadable('the NBD export does not say what is allocated', cause);
    });
    for (const run of runs) {
      const until = Math.min(end, at + run.length);
      if ((run.flags & STATE.ZERO) === 0) data.addRange(Math.floor(at / extentBytes) - first, Math.ceil(until / extentBytes) - first);
      at = until;
    }
  }
  return data;
}

/** Ranges of a stretch that a context marks, for instance as changed since a snapshot; null when the server does not have it. */
export async function markedRanges(client: NbdClient, context: string, { offset, length }: Stretch): Promise<readonly DataRange[] | null> {
  if (!client.contexts.includes(context)) return null;
  const ranges: DataRange[] = [];
  const end = Math.min(offset + length, client.sizeBytes);
  for (let at = offset; at < end;) {
    const runs = await client.status(context, at, end - at).catch((cause: unknown) => {
      throw unreadable('the NBD export does not say what has changed', cause);
    });
    for (const run of runs) {
      const last = ranges.at(-1);
      const goesOn = last !== undefined && last.offset + last.length === at;
      if ((run.flags & MARKED) !== 0 && goesOn) ranges[ranges.length - 1] = { offset: last.offset, length: last.length + run.length };
      else if ((run.flags & MARKED) !== 0) ranges.push({ offset: at, length: run.length });
      at += run.length;
    }
  }
  return ranges;
}
