/**
 * A snapshot as an export: read-only, or writable over a local overlay that goes with its server.
 *
 * The overlay is a sparse file and a set of extents. A write to part of an extent fetches the rest of it first, then the
 * extent is the overlay's; the snapshot itself is never changed.
 */
import { BLOCK_SIZES } from './file-export.ts';
import { LocalExtents } from './hydration/local-extents.ts';
import { NbdError, type Backend, type Export, type StatusRun } from './nbd/export.ts';
import { ERRNO } from './nbd/protocol.ts';
import type { SnapshotView } from './snapshot-view.ts';
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
  const owned = new LocalExtents({ sizeBytes, extentBytes, file, fetch: (extent) => view.extent(extent) });

  // What is only read stays the snapshot's: the overlay holds what was changed, and not a copy of all that was looked at.
  const read = async (into: Buffer, offset: number): Promise<void> => {
    for (const { at, length, inside } of [...owned.set.pieces(offset, into.length, extentBytes)]) {
      const part = into.subarray(at - offset, at - offset + length);
      if (inside) await file.read(part, at);
      else await view.read(part, at);
    }
  };

  const change = async (offset: number, length: number, fua: boolean, make: () => void): Promise<void> => {
    if (length === 0) return;
    for (let wait = owned.mayChange(offset, length); wait !== null; wait = owned.mayChange(offset, length)) await wait;
    make();
    owned.changed(offset, length);
    if (fua) await file.sync();
  };

  const allocation = async function* (offset: number, length: number): AsyncGenerator<StatusRun> {
    for (const { at, length: n, inside } of [...owned.set.pieces(offset, length, extentBytes)])
      if (inside) yield* file.allocation(at, n);
      else yield* view.allocation(at, n);
  };

  return {
    ...{ name, description: 'a snapshot, with changes of its own', sizeBytes, readOnly: false, multiConn: true, fastZero: false },
    blockSizes: BLOCK_SIZES,
    contexts: () => [{ name: 'base:allocation', status: allocation }],
    open: (): Backend => ({
      readNow: (into, offset) => {
        const [from, to] = [Math.floor(offset / extentBytes), Math.ceil((offset + into.length) / extentBytes)];
        return owned.isLocal(from, to) && file.readCached(into, offset);
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
