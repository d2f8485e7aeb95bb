/**
 * A served volume: every write passes here, so what changed is known, and a moment can be frozen.
 *
 * A write first asks each frozen view to keep what it will overwrite, then the tracker to note it; when neither has to wait
 * it is made, in the same turn of the event loop. So a freeze, which is one turn too, lies between whole writes, and a
 * view is crash-consistent: it holds every write that was acknowledged before it, and none that was begun after.
 */
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { BLOCK_SIZES } from './file-export.ts';
import { FrozenView, type FrozenViewFigures } from './frozen-view.ts';
import type { Backend, Export, MetaContext, StatusRun } from './nbd/export.ts';
import type { ExtentSet } from './tracking/extent-set.ts';
import { openTracker, type Tracker } from './tracking/tracker.ts';
import type { RandomFile } from './tracking/tracking-file.ts';
import { inSteps, VolumeFile } from './volume-file.ts';

export interface ServedVolumeOptions {
  readonly name: string;
  /** The file or block device that holds it. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  /** Where its tracking file lies, and copies that views keep. */
  readonly stateFolder: string;
  /** Bytes that one view may keep before writers wait for it. */
  readonly preserveBytesMax: number;
}

/** A moment of the volume: served beside it as `<name>@<snapshot>` until it is closed. */
export interface Freeze {
  readonly export: Export;
  figures(): FrozenViewFigures;
  /** What changed between the freeze of an earlier snapshot and this one; null: not known. */
  changedSince(snapshot: string): ExtentSet | null;
  close(): Promise<void>;
}

export class ServedVolume implements AsyncDisposable {
  readonly #options: ServedVolumeOptions;
  readonly #file: VolumeFile;
  readonly #trackingFile: FileHandle;
  readonly #tracker: Tracker;
  readonly #views = new Map<string, FrozenView>();
  #stopped = false;

  private constructor(options: ServedVolumeOptions, file: VolumeFile, trackingFile: FileHandle, tracker: Tracker) {
    this.#options = options;
    this.#file = file;
    this.#trackingFile = trackingFile;
    this.#tracker = tracker;
  }

  static async open(options: ServedVolumeOptions): Promise<ServedVolume> {
    const { name, sizeBytes, extentBytes, stateFolder } = options;
    await using opening = new AsyncDisposableStack();
    await mkdir(stateFolder, { recursive: true, mode: 0o700 });
    const file = opening.use(await VolumeFile.open(options.path, 'r+'));
    const trackingFile = opening.use(await openOrCreate(path.join(stateFolder, `${name}.tracking`)));
    const tracker = await openTracker(randomFile(trackingFile), { volume: name, sizeBytes, extentBytes }, await file.stamp());
    opening.move();
    return new ServedVolume(options, file, trackingFile, tracker);
  }

  /** The volume itself, and the views of it that are open. */
  exports(): readonly Export[] {
    return [this.asExport(), ...[...this.#views.values()].map((view) => view.asExport())];
  }

  asExport(): Export {
    const { name, sizeBytes } = this.#options;
    return {
      ...{ name, sizeBytes, description: 'a served volume', readOnly: false, multiConn: true, fastZero: false, blockSizes: BLOCK_SIZES },
      contexts: () => [
        { name: 'base:allocation', status: (offset, length) => this.#file.allocation(offset, length) },
        ...this.#changedContexts(null),
      ],
      open: () => this.#backend(),
    };
  }

  /** Ends what changed so far, and gives the volume as it is now. */
  async freeze(snapshot: string): Promise<Freeze> {
    const { name, sizeBytes, extentBytes, stateFolder, preserveBytesMax } = this.#options;
    const view = await FrozenView.prepare(this.#file, {
      ...{ name: `${name}@${snapshot}`, sizeBytes, extentBytes, preserveBytesMax },
      preservePath: path.join(stateFolder, `${name}.${snapshot}.copies`),
      contexts: () => this.#changedContexts(snapshot),
    });
    // One turn: whatever is written after it is preserved first, and noted as changed since.
    this.#views.set(snapshot, view);
    const durable = this.#tracker.freeze(snapshot);
    const close = async (): Promise<void> => {
      this.#views.delete(snapshot);
      await view.close();
    };
    try {
      await durable;
    } catch (error) {
      await close();
      throw error;
    }
    return {
      export: view.asExport(),
      figures: () => view.figures,
      changedSince: (since) => this.#tracker.changedSince(since, snapshot),
      close,
    };
  }

  /** A clean stop: what is told afterwards is exact. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const view of this.#views.values()) await view.close();
    await this.#file.sync();
    await this.#tracker.stop(await this.#file.stamp());
    await this.#trackingFile.close();
    await this.#file[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** A context for each snapshot that it can answer for, in our name and in the one that QEMU's tools know. */
  #changedContexts(until: string | null): readonly MetaContext[] {
    const snapshots = this.#tracker.snapshots();
    const known = until === null ? snapshots : snapshots.slice(0, snapshots.indexOf(until));
    return known.flatMap((snapshot) => {
      const status = (offset: number, length: number): Iterable<StatusRun> => this.#changedRuns(snapshot, until, offset, length);
      return [
        { name: `holdfast:changed:${snapshot}`, status },
        { name: `qemu:dirty-bitmap:${snapshot}`, status },
      ];
    });
  }

  *#changedRuns(since: string, until: string | null, offset: number, length: number): Generator<StatusRun> {
    const changed = this.#tracker.changedSince(since, until);
    const { extentBytes } = this.#options;
    for (let at = offset; at < offset + length;) {
      const extent = Math.floor(at / extentBytes);
      const end = Math.min(offset + length, (extent + 1) * extentBytes);
      // Not known any more: all of it, for what is told is never less than what changed.
      yield { length: end - at, flags: changed === null || changed.has(extent) ? 1 : 0 };
      at = end;
    }
  }

  #backend(): Backend {
    const file = this.#file;
    const then = (change: void | Promise<void>, fua: boolean): void | Promise<void> =>
      fua ? Promise.resolve(change).then(() => file.sync()) : change;
    return {
      readNow: file.readCached,
      read: (into, offset) => file.read(into, offset),
      readsZero: (offset, length) => file.readsZero(offset, length),
      flush: () => file.sync(),
      cache: () => undefined,
      close: () => undefined,
      write: (parts, offset, fua) => {
        const length = parts.reduce((sum, part) => sum + part.length, 0);
        return then(
          this.#change(offset, length, () => file.write(parts, offset)),
          fua,
        );
      },
      trim: (offset, length, fua) =>
        then(
          inSteps(offset, length, (at, n) => this.#change(at, n, () => file.trim(at, n))),
          fua,
        ),
      zero: (offset, length, { fua, mayPunch }) =>
        then(
          inSteps(offset, length, (at, n) => this.#change(at, n, () => file.zero(at, n, mayPunch))),
          fua,
        ),
    };
  }

  #change(offset: number, length: number, make: () => void): void | Promise<void> {
    if (length === 0) return;
    const wait = this.#mayChange(offset, length);
    if (wait === null) return make();
    return (async () => {
      for (let again: Promise<void> | null = wait; again !== null; again = this.#mayChange(offset, length)) await again;
      make();
    })();
  }

  /** Null: nothing is in the way of a write to this range, in this turn. */
  #mayChange(offset: number, length: number): Promise<void> | null {
    const { extentBytes } = this.#options;
    const from = Math.floor(offset / extentBytes);
    const to = Math.ceil((offset + length) / extentBytes);
    for (const view of this.#views.values()) {
      const held = view.preserve(from, to);
      if (held !== null) return held;
    }
    return this.#tracker.touch(from, to);
  }
}

async function openOrCreate(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r+');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    return open(file, 'wx+', 0o600);
  }
}

/** What lies past the end of the file was never written: zeros. */
const randomFile = (file: FileHandle): RandomFile => ({
  async read(offset, length) {
    const out = Buffer.alloc(length);
    await file.read(out, 0, length, offset);
    return out;
  },
  async write(bytes, offset) {
    await file.write(bytes, 0, bytes.length, offset);
  },
  sync: () => file.datasync(),
});
