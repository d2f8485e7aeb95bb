/**
 * A served volume: every write passes here, so what changed is known, and a moment can be frozen.
 *
 * A write first asks each frozen view to keep what it will overwrite, then the tracker to note it; when neither has to wait
 * it is made, in the same turn of the event loop. So a freeze, which is one turn too, lies between whole writes, and a
 * view is crash-consistent: it holds every write that was acknowledged before it, and none that was begun after.
 */
import { mkdir } from 'node:fs/promises';
import { systemClock, type Clock } from './clock.ts';
import { BLOCK_SIZES } from './file-export.ts';
import { fileGround, type LiveFile, type VolumeGround } from './live-file.ts';
import { freezeMoment, freezeOne, Moments, type Freeze } from './moments.ts';
import { NbdError, type Backend, type Export } from './nbd/export.ts';
import { ERRNO } from './nbd/protocol.ts';
import type { OpenRandomFile } from './tracking/random-file.ts';
import { openTracker, type Tracker } from './tracking/tracker.ts';
import { VolumeCounts, type VolumeEvent, type VolumeFigures } from './volume-events.ts';
import { inSteps } from './volume-file.ts';

export type { OpenedOrigin, Origin } from './hydration/origin.ts';
export type { Freeze } from './moments.ts';
export type { VolumeEvent } from './volume-events.ts';

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
  readonly onEvent?: (event: VolumeEvent) => void;
  readonly clock?: Clock;
}

/** A volume, and the snapshot that its moment is frozen for. */
export interface FreezePair {
  readonly volume: ServedVolume;
  readonly snapshot: string;
}

interface Parts {
  readonly ground: VolumeGround;
  readonly file: LiveFile;
  readonly trackingFile: OpenRandomFile;
  readonly tracker: Tracker;
}

export class ServedVolume implements AsyncDisposable {
  readonly #options: ServedVolumeOptions;
  readonly #parts: Parts;
  readonly #counts: VolumeCounts;
  readonly #moments: Moments;
  #stopped = false;

  private constructor(options: ServedVolumeOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#counts = new VolumeCounts(options.onEvent);
    this.#moments = new Moments({ volume: options, ...parts, clock: options.clock ?? systemClock, counts: this.#counts });
  }

  /** `ground`: where its files are, if not where the options say. */
  static async open(options: ServedVolumeOptions, ground: VolumeGround = fileGround(options)): Promise<ServedVolume> {
    const { name, sizeBytes, extentBytes, stateFolder } = options;
    await using opening = new AsyncDisposableStack();
    await mkdir(stateFolder, { recursive: true, mode: 0o700 });
    const file = opening.use(await ground.openVolume());
    const trackingFile = opening.use(await ground.openTracking());
    const tracker = await openTracker(trackingFile, { volume: name, sizeBytes, extentBytes }, await file.stamp());
    opening.move();
    return new ServedVolume(options, { ground, file, trackingFile, tracker });
  }

  get name(): string {
    return this.#options.name;
  }

  /** The volume itself, and the views of it that are open. */
  exports(): readonly Export[] {
    return [this.asExport(), ...[...this.#moments.views.values()].map((view) => view.asExport())];
  }

  asExport(): Export {
    const { name, sizeBytes } = this.#options;
    return {
      ...{ name, sizeBytes, description: 'a served volume', readOnly: false, multiConn: true, fastZero: false, blockSizes: BLOCK_SIZES },
      contexts: () => [
        { name: 'base:allocation', status: (offset, length) => this.#parts.file.allocation(offset, length) },
        ...this.#moments.changedContexts(null),
      ],
      open: () => this.#backend(),
    };
  }

  figures(): VolumeFigures {
    const views = [...this.#moments.views].map(([snapshot, view]) => ({ snapshot, ...view.figures }));
    return { views, ...this.#counts.figures(), hydration: null };
  }

  /** Ends what changed so far, and gives the volume as it is now; for a snapshot that has a view that stands, that. */
  freeze(snapshot: string): Promise<Freeze> {
    return freezeOne({ moments: this.#moments, snapshot });
  }

  /** Several volumes at one moment: all, or none. For exactly the pairs of a moment that stands, its views once more. */
  static freezeTogether(pairs: readonly FreezePair[]): Promise<readonly Freeze[]> {
    return freezeMoment(pairs.map(({ volume, snapshot }) => ({ moments: volume.#moments, snapshot })));
  }

  /** A clean stop: what is told afterwards is exact. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const { file, trackingFile, tracker } = this.#parts;
    await using closing = new AsyncDisposableStack();
    closing.use(file);
    closing.use(trackingFile);
    await this.#moments.close();
    await file.sync();
    await tracker.stop(await file.stamp());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #backend(): Backend {
    const { file } = this.#parts;
    const then = (change: void | Promise<void>, fua: boolean): void | Promise<void> =>
      fua ? Promise.resolve(change).then(() => file.sync()) : change;
    return {
      readNow: (into, offset) => {
        this.#checkServed();
        return file.readCached(into, offset);
      },
      read: async (into, offset) => {
        this.#checkServed();
        await file.read(into, offset);
      },
      readsZero: (offset, length) => {
        this.#checkServed();
        return file.readsZero(offset, length);
      },
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

  /** A descriptor that was closed may be another file's by now. */
  #checkServed(): void {
    if (this.#stopped) throw new NbdError(ERRNO.ESHUTDOWN, 'the volume is served no more');
  }

  #change(offset: number, length: number, make: () => void): void | Promise<void> {
    if (length === 0) return;
    this.#checkServed();
    const wait = this.#mayChange(offset, length);
    if (wait === null) return make();
    return (async () => {
      for (let again: Promise<void> | null = wait; again !== null; again = this.#mayChange(offset, length)) {
        await again;
        this.#checkServed();
      }
      make();
    })();
  }

  /** Null: nothing is in the way of a write to this range, in this turn. */
  #mayChange(offset: number, length: number): Promise<void> | null {
    const { extentBytes } = this.#options;
    const from = Math.floor(offset / extentBytes);
    const to = Math.ceil((offset + length) / extentBytes);
    for (const view of this.#moments.views.values()) {
      const held = view.preserve(from, to);
      if (held !== null) return held;
    }
    return this.#parts.tracker.touch(from, to);
  }
}
