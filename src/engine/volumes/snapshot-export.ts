/**
 * A snapshot as an export: read-only, or writable over a local overlay that goes with its server.
 *
 * The overlay is a sparse file and a set of extents. A write to part of an extent fetches the rest of it first, then the
 * extent is the overlay's; the snapshot itself is never changed.
 */
import { Permits } from '../../ground/threads/permits.ts';
import { BLOCK_SIZES } from './file-export.ts';
import { NbdError, type Backend, type Export, type StatusRun } from './nbd/export.ts';
import { ERRNO } from './nbd/protocol.ts';
import type { SnapshotView } from './snapshot-view.ts';
import { ExtentSet } from './tracking/extent-set.ts';
import { inSteps, type VolumeFile } from './volume-file.ts';

export function readOnlyExport(name: string, view: SnapshotView): Export {
  const refuse = (): never => {
    throw new NbdError(ERRNO.EPERM, 'the export is read-only');
  };
  return {
    ...{ name, description: 'a snapshot', sizeBytes: view.sizeBytes, readOnly: true, multiConn: true, fastZero: false },
    blockSizes: BLOCK_SIZES,
    contexts: () => [{ name: 'base:allocation', status: (offset, length) => view.allocation(offset, length) }],
    open: (): Backend => ({
      readNow: () => false,
      read: (into, offset) => view.read(into, offset),
      readsZero: () => false,
      ...{ write: refuse, trim: refuse, zero: refuse },
      flush: () => undefined,
      cache: (offset, length) => warm(view, offset, length),
      close: () => undefined,
    }),
  };
}

/** Extents fetched for one NBD_CMD_CACHE: advice is not followed without end. */
const WARM_MAX = 64;

async function warm(view: SnapshotView, offset: number, length: number): Promise<void> {
  const from = Math.floor(offset / view.extentBytes);
  const to = Math.min(from + WARM_MAX, Math.ceil((offset + length) / view.extentBytes));
  for (let index = from; index < to; index++) await view.extent(index);
}

/** `file`: as large as the snapshot, all zeros. */
export function overlaidExport(name: string, view: SnapshotView, file: VolumeFile): Export {
  const { sizeBytes, extentBytes } = view;
  const owned = new ExtentSet(Math.ceil(sizeBytes / extentBytes));
  // One change at a time: two that take over one extent must not each begin with what the other has not yet written.
  const turn = new Permits(1);

  /** A range by whose its bytes are. */
  const pieces = function* (
    offset: number,
    length: number,
  ): Generator<{ readonly at: number; readonly length: number; readonly own: boolean }> {
    const end = offset + length;
    for (let at = offset; at < end;) {
      const own = owned.has(Math.floor(at / extentBytes));
      let until = at;
      while (until < end && owned.has(Math.floor(until / extentBytes)) === own)
        until = Math.min(end, (Math.floor(until / extentBytes) + 1) * extentBytes);
      yield { at, length: until - at, own };
      at = until;
    }
  };

  const read = async (into: Buffer, offset: number): Promise<void> => {
    for (const { at, length, own } of [...pieces(offset, into.length)]) {
      const part = into.subarray(at - offset, at - offset + length);
      if (own) await file.read(part, at);
      else await view.read(part, at);
    }
  };

  /** Takes over the extents that a change covers in part; those it covers whole need nothing of what they held. */
  const takeOver = async (offset: number, length: number): Promise<void> => {
    const end = offset + length;
    for (const index of new Set([Math.floor(offset / extentBytes), Math.floor((end - 1) / extentBytes)])) {
      const start = index * extentBytes;
      const stop = Math.min(sizeBytes, start + extentBytes);
      if (owned.has(index) || (offset <= start && end >= stop)) continue;
      const plain = await view.extent(index);
      if (plain !== null) file.write([plain.subarray(0, stop - start)], start);
      owned.add(index);
    }
  };

  const change = async (offset: number, length: number, fua: boolean, make: () => void): Promise<void> => {
    if (length === 0) return;
    await turn.take();
    try {
      await takeOver(offset, length);
      make();
      owned.addRange(Math.floor(offset / extentBytes), Math.ceil((offset + length) / extentBytes));
    } finally {
      turn.give();
    }
    if (fua) await file.sync();
  };

  const allocation = async function* (offset: number, length: number): AsyncGenerator<StatusRun> {
    for (const { at, length: n, own } of [...pieces(offset, length)])
      if (own) yield* file.allocation(at, n);
      else yield* view.allocation(at, n);
  };

  return {
    ...{ name, description: 'a snapshot, with changes of its own', sizeBytes, readOnly: false, multiConn: true, fastZero: false },
    blockSizes: BLOCK_SIZES,
    contexts: () => [{ name: 'base:allocation', status: allocation }],
    open: (): Backend => ({
      readNow(into, offset) {
        for (const { own } of pieces(offset, into.length)) if (!own) return false;
        return file.readCached(into, offset);
      },
      read,
      readsZero: () => false,
      write(parts, offset, fua) {
        const length = parts.reduce((sum, part) => sum + part.length, 0);
        return change(offset, length, fua, () => file.write(parts, offset));
      },
      trim: (offset, length, fua) => inSteps(offset, length, (at, n) => change(at, n, fua, () => file.zero(at, n, true))),
      zero: (offset, length, { fua, mayPunch }) => inSteps(offset, length, (at, n) => change(at, n, fua, () => file.zero(at, n, mayPunch))),
      flush: () => file.sync(),
      cache: (offset, length) => warm(view, offset, length),
      close: () => undefined,
    }),
  };
}
