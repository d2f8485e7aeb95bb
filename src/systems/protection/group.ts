/**
 * A protected group: opens its journal, however long that takes, keeps volumes and journal one, and says how it is
 * (docs/protection.md, section 4).
 *
 * What goes on by itself is looked at every LOOK_MS: whether the owner stands, whether there is room, whether volumes are to be synced,
 * whether a base has come. One of these things at a time: each changes the state that a crash finds.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError, messageOf, type ErrorCode } from '../../domain/errors.ts';
import {
  BITMAP_AFTER_MS,
  CHECKPOINT_BYTES,
  CHECKPOINT_MS,
  HAND_OVER_MS,
  PROTECTION_RETRY_MS,
  PROTECTION_RPO_MS,
  PROTECTION_STOP_MS,
  RESYNC_HELD_BYTES,
} from '../../domain/limits.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import type { OwnerLimits, OwnerStatus } from '../../engine/journal/owning/owner.ts';
import { currentEpoch } from '../../engine/journal/state.ts';
import type { GroupRecord } from '../../engine/volumes/disks/group-record.ts';
import type { JournalPlace, ProtectionState, ProtectionStatus } from '../../engine/volumes/disks/protection-port.ts';
import { NbdError } from '../../engine/volumes/nbd/export.ts';
import { ERRNO } from '../../engine/volumes/nbd/protocol.ts';
import type { ServedVolume } from '../../engine/volumes/served-volume.ts';
import type { GroupState } from './group-state.ts';
import { writeGroupState } from './group-state.ts';
import { openGroup, stateFileOf, writeAheadFolderOf, type OpenedGroup } from './opening.ts';
import { Places } from './places.ts';
import { Recorder, refusalFor } from './recorder.ts';
import { bytesIn } from './write-ahead-bytes.ts';

export interface GroupEvent {
  readonly kind: 'state';
  readonly journal: string;
  readonly state: ProtectionState;
  /** Why; null: nothing went wrong. */
  readonly error: unknown;
}

export interface GroupLimits {
  readonly owner?: Partial<OwnerLimits>;
  readonly bitmapAfterMs?: number;
  readonly resyncHeldBytes?: number;
  readonly checkpointMs?: number;
  readonly retryMs?: number;
  readonly handOverMs?: number;
}

export interface GroupOptions {
  readonly group: GroupRecord;
  readonly folder: string;
  readonly volumes: readonly ServedVolume[];
  readonly journalOf: (group: GroupRecord) => Promise<Journal>;
  readonly nowMs: () => number;
  readonly onEvent: (event: GroupEvent) => void;
  readonly limits?: GroupLimits;
}

const LOOK_MS = 250;
const POINT_MS = 1000;
/** The log is asked so often: whether a base has come, and whether somebody has taken the journal over, which who writes nothing is not told otherwise. */
const LOG_MS = 2000;

export class Group {
  readonly #options: GroupOptions;
  readonly #recorder: Recorder;
  readonly #places: Places;
  readonly #stop = new AbortController();
  #journal: Journal | null = null;
  #opened: OpenedGroup | null = null;
  #state: GroupState | null = null;
  #ended: { readonly state: 'FENCED' | 'FAILED'; readonly error: unknown } | null = null;
  #trouble: unknown = null;
  #overtakenBy: number | null = null;
  #told: ProtectionState = 'OPENING';
  #checkpointAtMs = 0;
  /** The newest point that nobody asked for. */
  #point = { seq: 0, atMs: 0 };
  #askedAtMs = 0;
  #isAsking = false;
  /** Why the log could not be read the last time, as far as somebody has to know. */
  #logTrouble: ErrorCode | null = null;
  #writeAheadBytes = 0;
  #isHandingOver = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: GroupOptions, places: Places) {
    this.#options = options;
    this.#places = places;
    const { volumes, nowMs } = options;
    this.#recorder = new Recorder({
      ...{ places, volumes, nowMs },
      onRefused: (error) => this.#end(error),
      onUnclear: (error) => this.#end(error),
    });
  }

  /** Goes on with a group: changes wait from this turn on, until it is open. */
  static async resume(options: GroupOptions, onReady: () => void): Promise<Group> {
    const group = await Group.#of(options);
    group.#running = (async () => {
      if (!(await group.#openAtLast())) return;
      onReady();
      await group.#watch();
    })();
    return group;
  }

  /** Begins with volumes that are in use: changes pass without a record until it is open. When that fails, all is as before. */
  static async begin(options: GroupOptions): Promise<Group> {
    const group = await Group.#of(options);
    group.#recorder.lose();
    try {
      await group.#open();
    } catch (error) {
      await group.release();
      throw error;
    }
    group.#running = group.#watch();
    return group;
  }

  static async #of(options: GroupOptions): Promise<Group> {
    await mkdir(options.folder, { recursive: true, mode: 0o700 });
    const group = new Group(options, Places.open(path.join(options.folder, 'places')));
    options.volumes.forEach((volume, number) => volume.tell(group.#recorder.portOf(number)));
    return group;
  }

  get record(): GroupRecord {
    return this.#options.group;
  }

  get volumes(): readonly ServedVolume[] {
    return this.#options.volumes;
  }

  status(): ProtectionStatus {
    const { group } = this.#options;
    const owner = this.#opened?.owner.status() ?? null;
    const error = this.#ended?.error ?? this.#trouble;
    return {
      group,
      state: this.#stateOf(owner),
      lastError: error === null ? null : { code: isHoldfastError(error) ? error.code : 'INTERNAL', message: messageOf(error) },
      epoch: this.#overtakenBy ?? owner?.epoch ?? null,
      next: owner?.next ?? 0,
      acknowledged: owner?.acknowledged ?? 0,
      closed: owner?.closed ?? 0,
      rpoMs: Math.round(owner?.oldestOpen?.ageMs ?? 0),
      members: (owner?.members ?? []).map(({ region, domain, confirmed, failures, lastError }) => ({
        ...{ region, domain },
        // Of a member that has recovered since, the error is history.
        lastError: failures > 0 ? lastError : null,
        lagRecords: (owner?.next ?? 1) - 1 - confirmed,
      })),
      heldBytes: owner?.heldBytes ?? 0,
      writeAheadBytes: this.#writeAheadBytes,
      gap: this.#state?.gap ?? null,
    };
  }

  async point(): Promise<JournalPlace> {
    const { owner } = this.#recording();
    const { seq, done } = this.#recorder.point(owner);
    await done;
    // Its epoch may have begun meanwhile.
    const epochs = [...(this.#journal?.log.known().epochs.values() ?? [])];
    const epoch = epochs.findLast(({ start }) => start <= seq)?.epoch ?? owner.epoch;
    return { journal: this.record.journal, epoch, seq };
  }

  /** In the turn of a moment of its volumes. */
  moment(): JournalPlace | null {
    if (this.#opened === null || !this.#recorder.isRecording) return null;
    const { owner } = this.#opened;
    const seq = this.#recorder.mark(owner, 'flush');
    return { journal: this.record.journal, epoch: owner.epoch, seq };
  }

  /** A clean stop, as far as the journal allows: the volumes are used no more. */
  async stop(): Promise<void> {
    await this.#halt();
    if (this.#opened !== null) {
      const { owner } = this.#opened;
      const last = owner.next - 1;
      if (await within(PROTECTION_STOP_MS, owner.flush())) await this.#noteClean(last);
      else for (const volume of this.#options.volumes) await volume.sync();
    }
    await this.#close();
  }

  /**
   * A stop with everything in the regions: whoever takes the journal over ends at this number. Changes wait meanwhile. Null: it is not this group's to
   * hand over, and it is stopped all the same. NOT_PROTECTED: no unbroken records are made; STORE_UNREACHABLE: not in time; it goes on as before.
   */
  async handOver(): Promise<number | null> {
    if (this.#ended !== null || this.#opened === null) {
      await this.stop();
      return null;
    }
    const { owner } = this.#recording();
    const { journal } = this.record;
    if (this.#state?.gap !== null)
      throw new HoldfastError('NOT_PROTECTED', `${journal} waits for a base: what its disks hold is in no region`, { journal });
    this.#isHandingOver = true;
    this.#recorder.wait();
    const drained = owner.flush().then(() => owner.drain());
    if (!(await within(this.#options.limits?.handOverMs ?? HAND_OVER_MS, drained))) {
      this.#isHandingOver = false;
      this.#recorder.record(owner);
      throw new HoldfastError('STORE_UNREACHABLE', `the regions of ${journal} do not take what is left in time`, { journal });
    }
    const last = owner.next - 1;
    await this.#halt();
    await this.#noteClean(last);
    await this.#close();
    return last;
  }

  async #halt(): Promise<void> {
    // What waits for a group that never opened is not made.
    this.#recorder.refuse(new NbdError(ERRNO.ESHUTDOWN, 'the disk is served no more'));
    this.#stop.abort();
    await this.#running;
  }

  /** The volumes hold everything up to `last`, and nobody writes to them from now on. */
  async #noteClean(last: number): Promise<void> {
    const { volumes, folder } = this.#options;
    for (const volume of volumes) await volume.sync();
    if (this.#ended !== null || this.#state === null) return;
    const clean = await Promise.all(volumes.map((volume) => volume.stamp()));
    const synced = this.#state.order === 'lost' ? this.#state.synced : last;
    await writeGroupState(stateFileOf(folder), { ...this.#state, synced, clean });
  }

  /** The volumes are without it from this turn on; what was recorded is shipped, if that can be done in a while. */
  async release(): Promise<void> {
    for (const volume of this.#options.volumes) volume.tell(null);
    this.#recorder.lose();
    this.#stop.abort();
    await this.#running;
    if (this.#opened !== null) await within(PROTECTION_STOP_MS, this.#opened.owner.drain());
    await this.#close();
  }

  async #close(): Promise<void> {
    await this.#opened?.owner[Symbol.asyncDispose]();
    await this.#opened?.writeAhead?.[Symbol.asyncDispose]();
    this.#places[Symbol.dispose]();
  }

  #recording(): OpenedGroup {
    if (this.#ended !== null) throw this.#ended.error;
    if (this.#opened !== null && this.#recorder.isRecording) return this.#opened;
    const { journal } = this.record;
    throw new HoldfastError('NOT_PROTECTED', `no records of ${journal} are made now`, { journal, state: this.#told });
  }

  #stateOf(owner: OwnerStatus | null): ProtectionState {
    if (this.#ended !== null) return this.#ended.state;
    if (owner === null || this.#state === null) return 'OPENING';
    if (this.#isHandingOver) return 'CATCHING_UP';
    if (!this.#recorder.isRecording) return 'BITMAP';
    if (this.#state.gap !== null || this.#state.order === 'lost') return 'RESYNC';
    return (owner.oldestOpen?.ageMs ?? 0) > PROTECTION_RPO_MS ? 'CATCHING_UP' : 'PROTECTED';
  }

  // ---- what goes on by itself

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#look().catch((error: unknown) => this.#end(error));
      this.#tell();
      await sleep(LOOK_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** False: it was told to stop, or is somebody else's, or cannot be opened by waiting. */
  async #openAtLast(): Promise<boolean> {
    const { group, limits, onEvent } = this.#options;
    while (!this.#stop.signal.aborted && this.#ended === null)
      try {
        await this.#open();
        return true;
      } catch (error) {
        if (!isPassing(error)) {
          this.#end(error);
          return false;
        }
        this.#trouble = error;
        onEvent({ kind: 'state', journal: group.journal, state: this.status().state, error });
        await sleep(limits?.retryMs ?? PROTECTION_RETRY_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    return false;
  }

  async #open(): Promise<void> {
    const { group, folder, volumes, journalOf, limits, nowMs } = this.#options;
    const journal = (this.#journal ??= await journalOf(group));
    this.#opened = await openGroup({ group, folder, journal, volumes, places: this.#places, limits: limits?.owner ?? {} });
    this.#state = this.#opened.state;
    this.#trouble = null;
    if (this.#state.order === 'lost') await this.#findOrder(this.#opened);
    else this.#recorder.record(this.#opened.owner);
    this.#checkpointAtMs = nowMs();
    this.#tell();
  }

  async #look(): Promise<void> {
    const { nowMs, limits } = this.#options;
    if (this.#opened === null || this.#state === null || this.#ended !== null) return;
    const { owner } = this.#opened;
    const status = owner.status();
    this.#askLog();
    const endedBy = status.endedBy ?? this.#overtaken(status);
    if (endedBy !== null) return this.#end(endedBy);
    this.#writeAheadBytes = await bytesIn(writeAheadFolderOf(this.#options.folder));
    if (this.#recorder.isLost) {
      if (status.heldBytes <= (limits?.resyncHeldBytes ?? RESYNC_HELD_BYTES)) await this.#findOrder(this.#opened);
    } else if (this.record.mode === 'local' && this.#recorder.fullMs > (limits?.bitmapAfterMs ?? BITMAP_AFTER_MS)) await this.#loseOrder();
    else if (nowMs() - this.#checkpointAtMs >= (limits?.checkpointMs ?? CHECKPOINT_MS) || this.#isFarBehind()) await this.#checkpoint();
    if (this.#recorder.isRecording) this.#pointNow(this.#opened);
    if (this.#state.gap !== null) await this.#lookForBase(this.#state.gap);
  }

  /** Beside everything else, for it may take long. A log that is away is no trouble: who has a journal does not need it to go on. */
  #askLog(): void {
    const { journal } = this.record;
    const log = this.#journal?.log;
    if (log === undefined || this.#isAsking || this.#options.nowMs() - this.#askedAtMs < LOG_MS) return;
    this.#askedAtMs = this.#options.nowMs();
    this.#isAsking = true;
    void log
      .sync()
      .then(
        () => (this.#logTrouble = null),
        (error: unknown) => {
          const code = isHoldfastError(error) ? error.code : 'INTERNAL';
          if ((isHoldfastError(error) && error.retryable) || code === this.#logTrouble) return;
          this.#logTrouble = code;
          this.#journal?.environment.alarm('the log of a protected group cannot be read', { journal, code });
        },
      )
      .finally(() => (this.#isAsking = false));
  }

  /** Whether the log names an epoch after the owner's. One that opens another itself is told by the log then. */
  #overtaken({ state, epoch }: OwnerStatus): HoldfastError | null {
    const current = this.#journal === null || state !== 'owning' ? undefined : currentEpoch(this.#journal.log.known());
    if (current === undefined || current.epoch <= epoch) return null;
    return new HoldfastError('JOURNAL_FENCED', 'the journal was taken over by somebody else', {
      epoch: current.epoch,
      owner: current.owner,
    });
  }

  /** Who never flushes has points, too: one a second, if anything has changed. */
  #pointNow({ owner }: OpenedGroup): void {
    const nowMs = this.#options.nowMs();
    if (owner.next - 1 === this.#point.seq || nowMs - this.#point.atMs < POINT_MS) return;
    this.#point = { seq: this.#recorder.mark(owner, 'flush'), atMs: nowMs };
  }

  #isFarBehind(): boolean {
    return this.#writeAheadBytes >= 2 * CHECKPOINT_BYTES;
  }

  /** The volumes have everything up to here on their disks: the write-ahead file need not. */
  async #checkpoint(): Promise<void> {
    if (this.#opened === null || this.#state === null) return;
    const { owner } = this.#opened;
    const through = owner.next - 1;
    this.#checkpointAtMs = this.#options.nowMs();
    if (through === this.#state.synced) return;
    await Promise.all(this.#options.volumes.map((volume) => volume.sync()));
    await this.#note({ synced: through });
    owner.release(through);
  }

  /** Too much waits for the regions: changes go to the volumes alone until that has shrunk. */
  async #loseOrder(): Promise<void> {
    this.#recorder.wait();
    await this.#checkpoint();
    // Before the first change without a record: records are not written over it again.
    await this.#note({ order: 'lost' });
    // Told before it, too.
    this.#tell();
    this.#recorder.lose();
  }

  /** Records are made again from this turn on; what they follow is not known, but for a blank volume in a new journal. */
  async #findOrder({ owner }: OpenedGroup): Promise<void> {
    const isBlank = owner.next === 1 && this.#options.volumes.every((volume) => volume.readsZero(0, volume.sizeBytes));
    const gap = isBlank ? null : this.#recorder.mark(owner, 'gap');
    this.#recorder.record(owner);
    await this.#recorder.flush();
    await this.#note({ order: 'kept', gap });
  }

  async #lookForBase(gap: number): Promise<void> {
    const bases = [...(this.#journal?.log.known().bases.values() ?? [])];
    if (bases.some((some) => some.some(({ from }) => from >= gap))) await this.#note({ gap: null });
  }

  async #note(change: Partial<GroupState>): Promise<void> {
    if (this.#state === null) return;
    const state = { ...this.#state, ...change };
    await writeGroupState(stateFileOf(this.#options.folder), state);
    this.#state = state;
  }

  #end(error: unknown): void {
    if (this.#ended !== null || this.#stop.signal.aborted) return;
    const isFenced = isHoldfastError(error, 'JOURNAL_FENCED');
    const { epoch } = isHoldfastError(error) ? error.details : {};
    if (isFenced && typeof epoch === 'number') this.#overtakenBy = epoch;
    this.#ended = { state: isFenced ? 'FENCED' : 'FAILED', error };
    this.#recorder.refuse(refusalFor(error));
    this.#tell();
  }

  #tell(): void {
    const { onEvent, group } = this.#options;
    const { state } = this.status();
    if (state === this.#told) return;
    this.#told = state;
    onEvent({ kind: 'state', journal: group.journal, state, error: this.#ended?.error ?? null });
  }
}

/** What may be otherwise in a while: a store that is away, a secret that is not there yet, a consent that is asked for. */
const isPassing = (error: unknown): boolean =>
  isHoldfastError(error) && (error.retryable || isHoldfastError(error, 'TAIL_LOST', 'STORE_DENIED', 'PASSPHRASE_MISSING'));

/** Whether it resolved in time. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const done = work.then(
    () => true,
    () => false,
  );
  const stop = new AbortController();
  const late = sleep(ms, false, { signal: stop.signal }).catch(() => false);
  const outcome = await Promise.race([done, late]);
  stop.abort();
  return outcome;
}
