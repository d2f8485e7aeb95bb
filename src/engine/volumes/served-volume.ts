/**
 * A served volume: every write passes here, so what changed is known, and a moment can be frozen.
 *
 * A write first asks each frozen view to keep what it will overwrite, then the tracker to note it; when neither has to wait
 * it is made, in the same turn of the event loop. So a freeze, which is one turn too, lies between whole writes, and a
 * view is crash-consistent: it holds every write that was acknowledged before it, and none that was begun after.
 */
import type { OnProgress } from '../transfer/progress.ts';
import type { Change, ChangePort } from './change-port.ts';
import { NO_COURTESY, type Courtesy } from './courtesy.ts';
import { systemClock, type Clock } from './clock.ts';
import { BLOCK_SIZES } from './file-export.ts';
import { hydrate } from './hydration/hydrate.ts';
import { HydratingFile } from './hydration/hydrating-file.ts';
import { planHydration, type HydrationPlan } from './hydration/opening.ts';
import { OriginLink } from './hydration/origin-link.ts';
import type { Origin } from './hydration/origin.ts';
import { StateFile } from './hydration/state-file.ts';
import { fileGround, type LiveFile, type VolumeGround } from './live-file.ts';
import { freezeMoment, freezeOne, Moments, type Freeze } from './moments.ts';
import { NbdError, type Backend, type Export } from './nbd/export.ts';
import { ERRNO } from './nbd/protocol.ts';
import { ExtentSet } from './tracking/extent-set.ts';
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
  /** What it is being restored from, until its owner has noted that it stands alone; a file of zeros was made before. */
  readonly origin?: Origin | null;
  readonly onEvent?: (event: VolumeEvent) => void;
  readonly clock?: Clock;
  /** Whom those who read its views give way to. */
  readonly courtesy?: Courtesy;
}

const NO_MORE = 'the volume is served no more';

/** A volume, and the snapshot that its moment is frozen for. */
export interface FreezePair {
  readonly volume: ServedVolume;
  readonly snapshot: string;
}

interface Parts {
  readonly ground: VolumeGround;
  readonly file: LiveFile;
  /** The same file, while it lacks something of its origin. */
  readonly hydration: { readonly file: HydratingFile; readonly origin: OriginLink } | null;
  readonly counts: VolumeCounts;
  readonly clock: Clock;
  readonly trackingFile: OpenRandomFile;
  readonly tracker: Tracker;
}

export class ServedVolume implements AsyncDisposable {
  readonly #options: ServedVolumeOptions;
  readonly #parts: Parts;
  readonly #moments: Moments;
  readonly #stopping = new AbortController();
  #hydrating: Promise<void> | null = null;
  #port: ChangePort | null = null;
  #stopped = false;

  private constructor(options: ServedVolumeOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#moments = new Moments({
      volume: options,
      ...parts,
      courtesy: options.courtesy ?? NO_COURTESY,
      isWhole: () => parts.hydration?.file.isDone !== false,
    });
  }

  /** `ground`: where its files are, if not where the options say. */
  static async open(options: ServedVolumeOptions, ground: VolumeGround = fileGround(options)): Promise<ServedVolume> {
    const { name: volume, sizeBytes, extentBytes, origin = null, clock = systemClock } = options;
    await using opening = new AsyncDisposableStack();
    const counts = new VolumeCounts(options.onEvent);
    const tracked = { volume, sizeBytes, extentBytes };
    const raw = opening.use(await ground.openVolume());
    const plan = await planHydration({
      ...{ volume: tracked, identity: await ground.identity(), file: raw, place: ground.hydrationState },
      origin: origin?.name ?? null,
    });
    if (plan.kind === 'go on') opening.use(plan.state);
    if (plan.kind === 'begin') await ground.removeTracking();
    const trackingFile = opening.use(await ground.openTracking());
    const madeOf = plan.kind === 'begin' ? plan.hydrated.snapshot : null;
    const tracker = await openTracker(trackingFile, tracked, await raw.stamp(), { madeOf });
    const base = { ground, counts, clock, trackingFile, tracker };
    const hydration = origin === null ? null : await hydrationOf(plan, origin, { ...base, volume, file: raw });
    opening.move();
    return new ServedVolume(options, { ...base, hydration, file: hydration?.file ?? raw });
  }

  get name(): string {
    return this.#options.name;
  }

  get sizeBytes(): number {
    return this.#options.sizeBytes;
  }

  /** The volume itself, and the views of it that are open. */
  exports(): readonly Export[] {
    return [this.asExport(), ...[...this.#moments.views.values()].map((view) => view.asExport())];
  }

  asExport(): Export {
    const { name, sizeBytes } = this.#options;
    return {
      ...{ name, sizeBytes, description: 'a served volume', readOnly: false, multiConn: true, fastZero: true, blockSizes: BLOCK_SIZES },
      contexts: () => [
        { name: 'base:allocation', status: (offset, length) => this.#parts.file.allocation(offset, length) },
        ...this.#moments.changedContexts(null),
      ],
      open: () => this.#backend(),
    };
  }

  figures(): VolumeFigures {
    const views = [...this.#moments.views].map(([snapshot, view]) => ({ snapshot, ...view.figures }));
    const { counts, hydration } = this.#parts;
    return { views, ...counts.figures(), hydration: hydration === null || hydration.file.isDone ? null : hydration.file.figures };
  }

  /** Ends what changed so far, and gives the volume as it is now; for a snapshot that has a view that stands, that. */
  freeze(snapshot: string): Promise<Freeze> {
    return freezeOne({ moments: this.#moments, snapshot });
  }

  /**
   * Several volumes at one moment: all, or none. For exactly the pairs of a moment that stands, its views once more. `onMoment` is called in the
   * turn of a new one.
   */
  static freezeTogether(pairs: readonly FreezePair[], onMoment?: () => void): Promise<readonly Freeze[]> {
    return freezeMoment(
      pairs.map(({ volume, snapshot }) => ({ moments: volume.#moments, snapshot })),
      onMoment,
    );
  }

  /** Who is told of every change from this turn on; null: nobody. */
  tell(port: ChangePort | null): void {
    this.#port = port;
  }

  /** Makes a change that is told to nobody: one that the port itself has. It is tracked like any other, and answered when it is made. */
  async redo(change: Change): Promise<void> {
    const { file } = this.#parts;
    const { offset, length } = change;
    if (change.kind === 'write') await this.#track(offset, length, () => file.write(change.parts, offset));
    else await inSteps(offset, length, (at, n) => this.#track(at, n, () => file.zero(at, n, true)));
  }

  /** Makes durable what was written so far. */
  sync(): Promise<void> {
    return this.#parts.file.sync();
  }

  /** Fills `into` with what the volume holds in this turn. Waits for the disk with the whole thread. */
  readNow(into: Buffer, offset: number): void {
    this.#checkServed();
    this.#parts.file.readNow(into, offset);
  }

  /** Whether all of a range is known to read as zeros. */
  readsZero(offset: number, length: number): boolean {
    this.#checkServed();
    return this.#parts.file.readsZero(offset, length);
  }

  /** What its file looks like now: it is another one when somebody has written to it since. */
  stamp(): Promise<string> {
    return this.#parts.file.stamp();
  }

  /**
   * Fetches what the volume lacks. Resolves when all of it is local and durable; its owner may then note that it stands alone, and
   * open it without its origin. After a failure it may be called again; DAMAGED means that all that can be had is here.
   */
  hydrate(signal: AbortSignal, progress: OnProgress = () => undefined): Promise<void> {
    const { hydration, ground, clock } = this.#parts;
    if (hydration === null || hydration.file.isDone) return Promise.resolve();
    const { file, origin } = hydration;
    this.#hydrating ??= hydrate({
      ...{ file, origin, clock, progress },
      openBulk: (opened) => ground.openBulk(opened),
      signal: AbortSignal.any([signal, this.#stopping.signal]),
    }).finally(() => (this.#hydrating = null));
    return this.#hydrating;
  }

  /** A clean stop: what is told afterwards is exact. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const { file, hydration, trackingFile, tracker } = this.#parts;
    await using closing = new AsyncDisposableStack();
    closing.use(file);
    closing.use(trackingFile);
    this.#stopping.abort(new NbdError(ERRNO.ESHUTDOWN, NO_MORE));
    hydration?.file.stop();
    // How it ended is told to whoever called it.
    await this.#hydrating?.catch(() => undefined);
    await this.#moments.close();
    await (hydration?.file.persist() ?? file.sync());
    await tracker.stop(await file.stamp());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #backend(): Backend {
    const { file, hydration } = this.#parts;
    const flush = (): Promise<void> => this.#port?.flush() ?? file.sync();
    const then = (change: void | Promise<void>, fua: boolean): void | Promise<void> => (fua ? Promise.resolve(change).then(flush) : change);
    const zeros = (offset: number, length: number, make: () => boolean): void | Promise<void> =>
      this.#change({ kind: 'zero', offset, length }, make);
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
      flush,
      cache: (offset, length) => hydration?.file.cache(offset, length),
      close: () => undefined,
      write: (parts, offset, fua) => {
        const length = parts.reduce((sum, part) => sum + part.length, 0);
        const change = this.#change({ kind: 'write', offset, length, parts }, () => {
          file.write(parts, offset);
          return true;
        });
        return then(change, fua);
      },
      trim: (offset, length, fua) =>
        then(
          inSteps(offset, length, (at, n) => zeros(at, n, () => file.trim(at, n))),
          fua,
        ),
      zero: (offset, length, { fua, mayPunch, fast }) => {
        const make = (at: number, n: number): boolean => {
          if (fast) file.zeroFast(at, n, mayPunch);
          else file.zero(at, n, mayPunch);
          return true;
        };
        return then(
          inSteps(offset, length, (at, n) => zeros(at, n, () => make(at, n))),
          fua,
        );
      },
    };
  }

  /** A descriptor that was closed may be another file's by now. */
  #checkServed(): void {
    if (this.#stopped) throw new NbdError(ERRNO.ESHUTDOWN, NO_MORE);
  }

  #change(change: Change, make: () => boolean): void | Promise<void> {
    return this.#track(change.offset, change.length, () => (this.#port === null ? void make() : this.#port.make(change, make)), true);
  }

  /** Makes a change in a turn in which nothing is in its way. */
  #track(offset: number, length: number, make: () => void | Promise<void>, told = false): void | Promise<void> {
    if (length === 0) return;
    const wait = this.#wayTo(offset, length, told);
    if (wait === null) return make();
    return (async () => {
      for (let again: Promise<void> | null = wait; again !== null; again = this.#wayTo(offset, length, told)) await again;
      return make();
    })();
  }

  #wayTo(offset: number, length: number, told: boolean): Promise<void> | null {
    this.#checkServed();
    return (told ? this.#port?.mayChange() : null) ?? this.#mayChange(offset, length);
  }

  /** Null: nothing is in the way of a write to this range, in this turn. */
  #mayChange(offset: number, length: number): Promise<void> | null {
    const { extentBytes } = this.#options;
    const from = Math.floor(offset / extentBytes);
    const to = Math.ceil((offset + length) / extentBytes);
    const cold = this.#parts.hydration?.file ?? null;
    const inTheWay = cold?.extents.mayChange(offset, length) ?? null;
    if (inTheWay !== null) return inTheWay;
    for (const view of this.#moments.views.values()) {
      const held = cold?.bringFor(view, from, to) ?? view.preserve(offset, length);
      if (held !== null) return held;
    }
    return this.#parts.tracker.touch(from, to);
  }
}

async function hydrationOf(
  plan: HydrationPlan,
  origin: Origin,
  of: Pick<Parts, 'ground' | 'counts' | 'clock' | 'file'> & { readonly volume: string },
): Promise<Parts['hydration']> {
  if (plan.kind === 'alone') return null;
  const { ground, counts, clock, file, volume } = of;
  const link = new OriginLink(origin, clock, (error) => counts.tell({ kind: 'originFailed', volume, error }));
  const state = plan.kind === 'go on' ? plan.state : await StateFile.begin(ground.hydrationState, plan.hydrated);
  const local = plan.kind === 'go on' ? plan.local : new ExtentSet(Math.ceil(state.hydrated.sizeBytes / state.hydrated.extentBytes));
  return {
    origin: link,
    file: new HydratingFile({
      ...{ file, origin: link, state, local, clock },
      onFirstTouch: (extent, ms) => counts.tell({ kind: 'firstTouch', volume, extent, ms }),
      onFetchFailed: (extent, error) => counts.tell({ kind: 'fetchFailed', volume, extent, error }),
    }),
  };
}
