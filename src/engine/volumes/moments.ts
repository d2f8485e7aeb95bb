/**
 * The moments of served volumes: views that are frozen, read and closed, one volume's or several together.
 *
 * Views are prepared first, which takes time; then all begin in one turn of the event loop, between whole writes of every
 * volume. A moment is had whole or not at all. It is named by its snapshots: whoever asks again, because an answer was lost, gets the
 * same views while they stand, and new ones where an old one has fallen.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Clock } from './clock.ts';
import { CopiesFiles } from './copies.ts';
import type { Courtesy } from './courtesy.ts';
import { FrozenView } from './frozen-view.ts';
import type { LiveFile, VolumeGround } from './live-file.ts';
import type { Export, MetaContext, StatusRun } from './nbd/export.ts';
import type { ExtentSet } from './tracking/extent-set.ts';
import type { Tracker } from './tracking/tracker.ts';
import type { ViewFiles } from './view-beside.ts';
import type { ViewFigures, VolumeCounts } from './volume-events.ts';

/** A moment of one volume: served beside it as `<name>@<snapshot>` until it is closed. */
export interface Freeze {
  readonly snapshot: string;
  readonly export: Export;
  /** Where its bytes are on this host; null: only the export has them. */
  files(): Promise<ViewFiles | null>;
  figures(): ViewFigures;
  /** What changed between the freeze of an earlier snapshot and this one; null: not known. */
  changedSince(snapshot: string): ExtentSet | null;
  close(): Promise<void>;
}

export interface MomentsPort {
  readonly volume: { readonly name: string; readonly sizeBytes: number; readonly extentBytes: number; readonly preserveBytesMax: number };
  readonly file: LiveFile;
  readonly tracker: Tracker;
  readonly ground: VolumeGround;
  readonly clock: Clock;
  readonly courtesy: Courtesy;
  readonly counts: VolumeCounts;
  /** Whether the volume's file has all its bytes. */
  readonly isWhole: () => boolean;
}

/** The views of one volume. */
export class Moments {
  readonly #port: MomentsPort;
  readonly #copies: CopiesFiles;
  readonly #views = new Map<string, FrozenView>();
  /** What a snapshot was frozen in, if that was not closed since. */
  readonly #momentOf = new Map<string, Moment>();

  constructor(port: MomentsPort) {
    this.#port = port;
    this.#copies = new CopiesFiles(() => port.ground.createCopies(), port.clock);
  }

  get views(): ReadonlyMap<string, FrozenView> {
    return this.#views;
  }

  get clock(): Clock {
    return this.#port.clock;
  }

  momentOf(snapshot: string): Moment | undefined {
    return this.#momentOf.get(snapshot);
  }

  /** A context for each snapshot that it can answer for, in our name and in the one that QEMU's tools know. */
  changedContexts(until: string | null): readonly MetaContext[] {
    const snapshots = this.#port.tracker.snapshots();
    const known = until === null ? snapshots : snapshots.slice(0, Math.max(0, snapshots.indexOf(until)));
    return known.flatMap((snapshot) => {
      const status = (offset: number, length: number): Iterable<StatusRun> => this.#changedRuns(snapshot, until, offset, length);
      return [
        { name: `holdfast:changed:${snapshot}`, status },
        { name: `qemu:dirty-bitmap:${snapshot}`, status },
      ];
    });
  }

  *#changedRuns(since: string, until: string | null, offset: number, length: number): Generator<StatusRun> {
    const changed = this.#port.tracker.changedSince(since, until);
    // Not known any more: all of it, for what is told is never less than what changed.
    if (changed === null) yield { length, flags: 1 };
    for (const piece of changed?.pieces(offset, length, this.#port.volume.extentBytes) ?? [])
      yield { length: piece.length, flags: piece.inside ? 1 : 0 };
  }

  async prepare(snapshot: string): Promise<FrozenView> {
    const { volume, file, clock, counts } = this.#port;
    const copies = await this.#copies.take();
    const view: FrozenView = new FrozenView(file, copies, {
      ...volume,
      name: `${volume.name}@${snapshot}`,
      files: this.#copies,
      courtesy: this.#port.courtesy,
      clock,
      contexts: () => this.changedContexts(snapshot),
      onHeld: (ms) => counts.tell({ kind: 'held', volume: volume.name, snapshot, ms }),
      onGivenUp: () => counts.tell({ kind: 'gaveUp', volume: volume.name, snapshot, preservedBytes: view.figures.preservedBytes }),
    });
    await using preparing = new AsyncDisposableStack();
    preparing.defer(() => view.close());
    // Nobody waits for this one; the sync at the moment itself, behind which first touches of regions wait, has little left to do.
    await file.sync();
    preparing.move();
    return view;
  }

  enter(snapshot: string, moment: Moment): void {
    this.#momentOf.set(snapshot, moment);
  }

  /**
   * From this turn on the view is the volume of now. Resolves when that is known for good, and what the view holds is durable in the
   * volume: a crash that took some of it back would be a change that no write has told of, since a snapshot that may have it.
   */
  async begin(snapshot: string, view: FrozenView): Promise<void> {
    const { file, tracker, clock, counts, volume } = this.#port;
    const begunMs = clock.nowMs();
    this.#views.set(snapshot, view);
    const known = tracker
      .freeze(snapshot)
      .then(() => counts.tell({ kind: 'frozen', volume: volume.name, snapshot, pauseMs: clock.nowMs() - begunMs }));
    await Promise.all([known, file.sync()]);
  }

  asFreeze(snapshot: string, view: FrozenView, close: () => Promise<void>): Freeze {
    return {
      snapshot,
      export: view.asExport(),
      files: () => (this.#port.isWhole() ? this.#port.ground.viewFiles(view.copies) : Promise.resolve(null)),
      figures: () => view.figures,
      changedSince: (since) => this.#port.tracker.changedSince(since, snapshot),
      close,
    };
  }

  /** Forgets a view and its moment, unless the snapshot was frozen anew since. */
  leave(snapshot: string, moment: Moment, view: FrozenView | undefined): void {
    if (this.#momentOf.get(snapshot) === moment) this.#momentOf.delete(snapshot);
    if (this.#views.get(snapshot) === view) this.#views.delete(snapshot);
  }

  /** Closes what stands, also what is being frozen now. */
  async close(): Promise<void> {
    for (const [snapshot, moment] of [...this.#momentOf]) await moment.close(this, snapshot);
    await this.#copies[Symbol.asyncDispose]();
  }
}

/** A snapshot that a moment of a volume is frozen for. */
export interface MomentPair {
  readonly moments: Moments;
  readonly snapshot: string;
}

/** Views of one turn. */
class Moment {
  readonly freezes: Promise<readonly Freeze[]>;
  readonly #pairs: readonly MomentPair[];
  readonly #onMoment: () => void;
  readonly #views: FrozenView[] = [];

  constructor(pairs: readonly MomentPair[], onMoment: () => void) {
    this.#pairs = pairs;
    this.#onMoment = onMoment;
    for (const { moments, snapshot } of pairs) moments.enter(snapshot, this);
    this.freezes = this.#begin().catch(async (error: unknown) => {
      for (const place of pairs.keys()) await this.#closeAt(place);
      throw error;
    });
  }

  isOf(pairs: readonly MomentPair[]): boolean {
    return pairs.length === this.#pairs.length && pairs.every(({ moments, snapshot }) => moments.momentOf(snapshot) === this);
  }

  /** Whether its views, or the one of a pair, can be read; while they are being prepared they are said to. */
  stands(of: readonly MomentPair[] = this.#pairs): boolean {
    return of.every((pair) => this.#views[this.#placeOf(pair)]?.stands !== false);
  }

  async freezeOf(pair: MomentPair): Promise<Freeze> {
    const freeze = (await this.freezes)[this.#placeOf(pair)];
    if (freeze === undefined) throw new Error('a moment has a view for each of its pairs');
    return freeze;
  }

  async close(moments: Moments, snapshot: string): Promise<void> {
    await this.freezes.catch(() => undefined);
    await this.#closeAt(this.#placeOf({ moments, snapshot }));
  }

  #placeOf({ moments, snapshot }: MomentPair): number {
    return this.#pairs.findIndex((pair) => pair.moments === moments && pair.snapshot === snapshot);
  }

  async #begin(): Promise<readonly Freeze[]> {
    for (const { moments, snapshot } of this.#pairs) this.#views.push(await moments.prepare(snapshot));
    // One turn: whatever is written after it, to any of the volumes, is preserved first and noted as changed since.
    this.#onMoment();
    const durable = this.#pairs.map(({ moments, snapshot }, place) => moments.begin(snapshot, this.#viewAt(place)));
    for (const outcome of await Promise.allSettled(durable)) if (outcome.status === 'rejected') throw outcome.reason;
    return this.#pairs.map(({ moments, snapshot }, place) => moments.asFreeze(snapshot, this.#viewAt(place), () => this.#closeAt(place)));
  }

  #viewAt(place: number): FrozenView {
    const view = this.#views[place];
    if (view === undefined) throw new Error('a moment has a view for each of its pairs');
    return view;
  }

  async #closeAt(place: number): Promise<void> {
    const pair = this.#pairs[place];
    const view = this.#views[place];
    pair?.moments.leave(pair.snapshot, this, view);
    await view?.close();
  }
}

/** Freezes all, or none; for exactly the pairs of a moment that stands, its views once more. `onMoment` is called in the turn of a new one. */
export async function freezeMoment(pairs: readonly MomentPair[], onMoment: () => void = () => undefined): Promise<readonly Freeze[]> {
  const known = pairs.map(({ moments, snapshot }) => moments.momentOf(snapshot));
  const [first] = known;
  if (first?.isOf(pairs) === true && first.stands()) return Promise.all(pairs.map((pair) => first.freezeOf(pair)));
  if (known.some((moment, i) => moment?.stands(pairs.slice(i, i + 1)) === true))
    throw new HoldfastError('ARGUMENT_INVALID', 'some of these snapshots have views of another moment that are open', {
      field: 'snapshot',
      expected: 'snapshots that have no view, or exactly those of one moment',
    });
  // Those that have fallen make room, in this turn, so that who asks at the same time asks for the new ones.
  const closing = pairs.map(async ({ moments, snapshot }, i) => known[i]?.close(moments, snapshot));
  const { freezes } = new Moment(pairs, onMoment);
  await Promise.all(closing);
  return freezes;
}

/** One volume's; for a snapshot that has a view that stands, that. */
export async function freezeOne(pair: MomentPair): Promise<Freeze> {
  const known = pair.moments.momentOf(pair.snapshot);
  const freeze = known?.stands([pair]) === true ? await known.freezeOf(pair) : (await freezeMoment([pair]))[0];
  if (freeze === undefined) throw new Error('a moment has a view for each of its pairs');
  return freeze;
}
