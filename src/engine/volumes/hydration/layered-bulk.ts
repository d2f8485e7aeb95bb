/**
 * The background of a hydration from two layers: a snapshot, or zeros, and over it what a journal wrote (docs/hydration.md).
 *
 *     base into the place of every extent that is cold ──▶ the layer over it, there ──▶ what both have been laid in is local
 *
 * What lies in the place of a cold extent is nobody's, so both may be written straight into the file, each once. Invariant: an extent that
 * the layer touches becomes local by this only when its base was laid before anything of the layer, and then all of the layer. What others make
 * local meanwhile is let alone from that turn on.
 */
import { setImmediate } from 'node:timers/promises';
import { SUBTREE_EXTENTS } from '../../../domain/limits.ts';
import type { HoldfastError } from '../../../domain/errors.ts';
import { ExtentSet } from '../tracking/extent-set.ts';
import { inSteps } from '../volume-file.ts';
import { isLoss, type Bulk, type BulkPort, type ExtentsToFill, type SnapshotBulk } from './bulk.ts';
import type { LocalExtents } from './local-extents.ts';

/** A stretch of the layer; null: zeros. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer | null;
}

export interface LostPiece extends Omit<Piece, 'data'> {
  readonly lost: HoldfastError;
}

/** What lies over the base. */
export interface Layer {
  /**
   * What was not taken before of the places that are wanted, in any order; what cannot be had any more as lost. One is taken when the next one is
   * asked for.
   */
  pieces(isWanted: (offset: number, length: number) => boolean): AsyncIterable<Piece | LostPiece>;
}

/** How far it is, kept over failures; of one layer over one base, and one opened file. */
export interface Laid {
  /** What the layer touches. */
  readonly touched: ExtentSet;
  /** Of these, the extents whose base is in place, or that need none. */
  readonly base: ExtentSet;
  isBaseDone: boolean;
}

/** `places` of the layer: ascending, none overlapping. */
export function nothingLaid(
  { places }: { readonly places: () => Iterable<Omit<Piece, 'data'>> },
  { sizeBytes, extentBytes }: { readonly sizeBytes: number; readonly extentBytes: number },
): Laid {
  const count = Math.ceil(sizeBytes / extentBytes);
  const [touched, base] = [new ExtentSet(count), new ExtentSet(count)];
  /** Of the extent that the last place ends in, what places cover. */
  let [open, covered] = [-1, 0];
  for (const { offset, length } of places()) {
    const [from, to] = [Math.floor(offset / extentBytes), Math.ceil((offset + length) / extentBytes)];
    touched.addRange(from, to);
    for (let extent = from; extent < to; extent++) {
      const start = extent * extentBytes;
      const end = Math.min(sizeBytes, start + extentBytes);
      covered = (extent === open ? covered : 0) + Math.min(end, offset + length) - Math.max(start, offset);
      open = extent;
      if (covered === end - start) base.add(extent);
    }
  }
  return { touched, base, isBaseDone: false };
}

/** Turns of the event loop are this long at the most while pieces are laid. */
const TURN_BYTES = 1024 * 1024;

/** `base`: null for zeros. */
export function layeredBulk({
  base,
  layer,
  laid,
}: {
  readonly base: SnapshotBulk | null;
  readonly layer: Layer;
  readonly laid: Laid;
}): Bulk {
  return {
    async fill(port) {
      const under = underOf(port.extents, laid);
      if (base === null) await fillZeros(under, port.signal);
      else await base.fill({ ...port, extents: under });
      // What the base lacks was told; from here on nothing of it is laid over what the layer has.
      laid.isBaseDone = true;
      const lost = await layLayer(layer, port);
      for (const [from, to] of [...laid.touched.runs()])
        for (let extent = from; extent < to; extent++)
          if (!laid.base.has(extent)) await bringLate(extent, port);
          else if (!lost.has(extent)) port.extents.settle(extent);
    },
    [Symbol.asyncDispose]: async () => base?.[Symbol.asyncDispose](),
  };
}

/** What the base could not give when it was laid, and may give now. */
async function bringLate(extent: number, { extents, onLost }: BulkPort): Promise<void> {
  try {
    await extents.bring(extent);
  } catch (error) {
    if (!isLoss(error)) throw error;
    onLost(error);
  }
}

/** The extents as the base fills them: one that the layer touches is laid, and stays cold. */
function underOf(extents: LocalExtents, { touched, base, isBaseDone }: Laid): ExtentsToFill {
  const has = (extent: number): boolean => extents.set.has(extent) || (touched.has(extent) && (isBaseDone || base.has(extent)));
  const allOf = (from: number, to: number): boolean => {
    for (let extent = from; extent < to; extent++) if (!has(extent)) return false;
    return true;
  };
  return {
    set: { count: extents.set.count, has },
    isLocal: allOf,
    putZeros(from, to) {
      for (let at = from; at < to;) {
        const begin = at;
        while (at < to && !touched.has(at)) at++;
        extents.putZeros(begin, at);
        for (; at < to && touched.has(at); at++) if (!has(at) && extents.layZeros(at)) base.add(at);
      }
    },
    claim(wanted) {
      const claim = extents.claim([...wanted].filter((extent) => !has(extent)));
      return {
        extents: claim.extents,
        end(written) {
          const all = [...written];
          claim.end(all.filter((extent) => !touched.has(extent)));
          for (const extent of all) if (touched.has(extent)) base.add(extent);
        },
        [Symbol.dispose]: () => claim[Symbol.dispose](),
      };
    },
  };
}

async function fillZeros(under: ExtentsToFill, signal: AbortSignal): Promise<void> {
  for (let from = 0; from < under.set.count; from += SUBTREE_EXTENTS / 16) {
    signal.throwIfAborted();
    under.putZeros(from, Math.min(under.set.count, from + SUBTREE_EXTENTS / 16));
    await setImmediate();
  }
}

/** What of the layer cannot be had, in extents. */
async function layLayer(layer: Layer, { extents, signal, proceed, onWritten, onLost, progress }: BulkPort): Promise<ExtentSet> {
  const lost = new ExtentSet(extents.set.count);
  let bytes = 0;
  for await (const piece of layer.pieces((offset, length) => !extents.isLocalAt(offset, length))) {
    signal.throwIfAborted();
    const { offset, length } = piece;
    if ('lost' in piece) {
      onLost(piece.lost);
      lost.addRange(...extents.spanOf(offset, length));
      continue;
    }
    const { data } = piece;
    await inSteps(offset, length, (at, n) => extents.lay(at, n, data === null ? null : data.subarray(at - offset, at - offset + n)));
    onWritten(0, length);
    progress({ kind: 'written', bytes: length });
    bytes += length;
    if (bytes < TURN_BYTES) continue;
    bytes = 0;
    await setImmediate();
    await proceed(signal);
  }
  return lost;
}
