/**
 * The owner of an epoch: numbers records, puts them to its members as batches, and says when they are acknowledged
 * (docs/journal.md, sections 3 and 8).
 *
 *     append -> held (and the write-ahead file) -> batches of the epoch -> a lane a member -> confirmed -> dropped
 *
 * Invariants. `pair`: acknowledged is what all members have confirmed with everything before it, under the current epoch (J6). `local`:
 * acknowledged is what the write-ahead file has synced, and nothing is shipped that it has not. Whoever finds a stranger's object in the place of a batch
 * acknowledges nothing until the log has said whose the journal is; from a planned OPEN on, a pair acknowledges nothing until it is
 * known to have been won. Once another epoch is seen everything that waits, and everything that comes, is rejected with JOURNAL_FENCED.
 *
 * It has no timer of its own: while anything waits it looks about every so often, in the environment's time.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import {
  BATCHES_IN_FLIGHT,
  BATCH_MS,
  LOCAL_DELAY_MS_MAX,
  LOCAL_HELD_BYTES_MAX,
  MEMBER_ATTEMPTS_MAX,
  MEMBER_MS_MAX,
  PAIR_HELD_BYTES_MAX,
} from '../../../domain/limits.ts';
import type { EpochEnd, Member } from '../entries.ts';
import type { Journal } from '../journal.ts';
import { isHoldable, type JournalRecord } from '../records.ts';
import type { Opened } from '../takeover/opened.ts';
import { markedOwner, ownerName } from '../takeover/owner-mark.ts';
import { waitAfter } from '../takeover/patience.ts';
import type { JournalOp, MemberStatus, OwnerLimits, OwnerOptions, OwnerStatus } from './contract.ts';
import { EpochWriter } from './epoch-writer.ts';
import { HeldRecords } from './held-records.ts';
import { openAgain } from './open-again.ts';
import { Pace } from './pace.ts';
import { givenUp, replacements, requireMembers } from './replacing.ts';
import { createSteadyClock, type SteadyClock } from './steady-clock.ts';
import { Waiters } from './waiters.ts';
import type { WriteAheadPort } from './write-ahead-port.ts';

export type { JournalOp, MemberStatus, OwnerLimits, OwnerOptions, OwnerStatus } from './contract.ts';

/** The log does not answer; or, in mode `local`, it names what the members that stay do not have yet. */
const TO_BE_TRIED_AGAIN = ['STORE_UNREACHABLE', 'STORE_DENIED', 'STORE_FULL', 'CONTENTION', 'TAIL_LOST', 'RECORD_REFUSED'] as const;

/**
 * How long whoever has sealed has for its OPEN, the first time; twice as long each time after that, for with slow stores it takes long, and
 * an owner that is always faster would never be taken over from. An epoch that stood so long begins at the first again.
 */
const SEALED_MS = 500;
const SEALED_DOUBLED_MAX = 6;
const SEALED_FORGOTTEN_MS = 60_000;

/** Tries of an OPEN between two alarms: half a minute. */
const ALARM_EVERY = 30;

export class Owner implements AsyncDisposable {
  readonly #journal: Journal;
  readonly #writeAhead: WriteAheadPort | null;
  readonly #limits: OwnerLimits;
  readonly #level: number | null;
  readonly #clock: SteadyClock;
  readonly #held: HeldRecords;
  /** Of mode `local`. */
  readonly #pace = new Pace();
  /** Those that were given up come last. */
  #spares: readonly Member[];
  #writer: EpochWriter;
  #acknowledged: number;
  /** Of mode `local`: the write-ahead file has synced everything up to here. */
  #durable: number;
  /** A flush with this number waits. */
  #flushWanted = 0;
  #volumeThrough = 0;
  #freed = 0;
  #draining = 0;
  readonly #acknowledgements = new Waiters();
  readonly #changes = new Waiters();
  /** Under way while the owner does not know, or is changing, which epoch is its own. */
  #opening: Promise<void> | null = null;
  /** A stranger's object was found, and the log has not said yet what that means. */
  #doubted = false;
  /** Seals that were found since the journal was last left alone for a while, and when the newest epoch began. */
  #seals = 0;
  #openedAtMs: number;
  /** An OPEN was planned, and its end with it: what is confirmed from now on is past that, if it is won. */
  #planned = false;
  #shipping: Promise<void> | null = null;
  #judging = false;
  #looking = false;
  #ended: HoldfastError | null = null;

  constructor({ journal, opened, writeAhead, carried = [], spares = [], level = 1, limits }: OwnerOptions) {
    const local = opened.mode === 'local';
    if (local !== (writeAhead !== null)) throw new HoldfastError('INTERNAL', 'mode local has a write-ahead file, and pair none');
    this.#journal = journal;
    this.#writeAhead = writeAhead;
    this.#spares = spares;
    this.#level = level;
    this.#limits = {
      batchMs: BATCH_MS,
      heldBytesMax: local ? LOCAL_HELD_BYTES_MAX : PAIR_HELD_BYTES_MAX,
      memberAttemptsMax: MEMBER_ATTEMPTS_MAX,
      memberMsMax: MEMBER_MS_MAX,
      ...limits,
    };
    this.#clock = createSteadyClock(() => journal.environment.nowMs());
    this.#held = new HeldRecords(opened.start);
    for (const record of carried) this.#held.add(record, this.#clock.nowMs());
    if (writeAhead !== null && writeAhead.next !== this.next)
      throw new HoldfastError('INTERNAL', 'the write-ahead file does not go on where the epoch does', {
        writeAhead: writeAhead.next,
        next: this.next,
      });
    this.#durable = this.next - 1;
    this.#acknowledged = local ? this.#durable : opened.start - 1;
    this.#openedAtMs = this.#clock.nowMs();
    this.#writer = this.#writerOf(opened);
    this.#advance();
  }

  /** Changes when a member is replaced. */
  get epoch(): number {
    return this.#writer.opened.epoch;
  }

  /** Number that the next record gets. */
  get next(): number {
    return this.#held.next;
  }

  /**
   * Gives numbers in order, at once; their data is the owner's from then on. Resolves with the last number when there is room for more.
   * JOURNAL_FENCED, WRITE_AHEAD_FAILED.
   */
  async append(ops: readonly JournalOp[]): Promise<number> {
    const before = this.#held.bytesThrough(this.next - 1);
    const { last, written } = this.#take(ops);
    const bytes = this.#held.bytesThrough(last) - before;
    await written;
    await this.#room(bytes);
    return last;
  }

  /** Appends a flush; resolves with its number when everything up to it is acknowledged. JOURNAL_FENCED, WRITE_AHEAD_FAILED. */
  async flush(): Promise<number> {
    const { last, written } = this.#take([{ kind: 'flush' }]);
    this.#flushWanted = last;
    if (this.#writeAhead === null) this.#advance();
    else await Promise.all([written, this.#sync()]);
    await this.#acknowledgements.until(() => this.#acknowledged >= last && !this.#doubted);
    return last;
  }

  status(): OwnerStatus {
    this.#endIfFailed();
    const { opened } = this.#writer;
    const closed = this.#closed;
    const oldest = this.#held.after(closed);
    return {
      state: this.#ended === null ? (this.#opening === null ? 'owning' : 'opening') : 'ended',
      endedBy: this.#ended,
      epoch: opened.epoch,
      mode: opened.mode,
      members: opened.members.map((member, i) => ({ ...member, ...this.#laneStatus(i) })),
      next: this.next,
      acknowledged: this.#acknowledged,
      closed,
      oldestOpen: oldest && { seq: oldest.seq, ageMs: this.#clock.nowMs() - oldest.atMs },
      heldBytes: this.#held.bytes,
    };
  }

  /** `volumeThrough`: the volume has everything up to this number on its disk. What all members hold, too, leaves the write-ahead file. */
  release(volumeThrough: number): void {
    this.#volumeThrough = Math.max(this.#volumeThrough, volumeThrough);
    this.#advance();
  }

  /** Goes on with these members, in a new epoch; the regions must be known. Resolves with it. ARGUMENT_INVALID, JOURNAL_FENCED. */
  async changeMembers(members: readonly Member[]): Promise<number> {
    requireMembers(this.#journal, this.#writer.opened.mode, members);
    // One that is under way may have other members in mind.
    while (this.#opening !== null) await this.#opening;
    this.#refuseIfEnded();
    await this.#openWith(members);
    this.#refuseIfEnded();
    return this.epoch;
  }

  /** Resolves with the newest number when all members hold everything and say so. For a planned handover: nothing is appended meanwhile. */
  async drain(): Promise<number> {
    this.#refuseIfEnded();
    this.#draining++;
    try {
      if (this.#writeAhead !== null) await this.#sync();
      this.#advance();
      await this.#changes.until(() => this.#opening === null && this.#isPublished && this.#allConfirmed);
    } finally {
      this.#draining--;
    }
    return this.next - 1;
  }

  /** Stops; what is pending is rejected with JOURNAL_FENCED. The write-ahead file is the caller's. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new HoldfastError('JOURNAL_FENCED', 'the journal was closed'));
    await Promise.all([this.#writer.stop(), this.#opening, this.#shipping]);
  }

  // ---- intake

  #take(ops: readonly JournalOp[]): { readonly last: number; readonly written: Promise<void> } {
    this.#refuseIfEnded();
    // The kind stays what it was, and the number completes it.
    const records = ops.map((op, i) => ({ ...op, seq: this.next + i }) as JournalRecord);
    for (const record of records)
      if (!isHoldable(record))
        throw new HoldfastError('ARGUMENT_INVALID', 'a record that a journal cannot hold', { field: 'ops', kind: record.kind });
    const atMs = this.#clock.nowMs();
    for (const record of records) this.#held.add(record, atMs);
    const written = this.#writeAhead === null ? Promise.resolve() : this.#write(this.#writeAhead, records);
    this.#advance();
    return { last: this.next - 1, written };
  }

  async #write(writeAhead: WriteAheadPort, records: readonly JournalRecord[]): Promise<void> {
    try {
      await writeAhead.append(records);
    } catch (error) {
      this.#end(error);
    }
    this.#refuseIfEnded();
  }

  /** Everything that was taken so far is durable when this resolves. */
  async #sync(): Promise<void> {
    const through = this.next - 1;
    try {
      await this.#writeAhead?.sync();
    } catch (error) {
      this.#end(error);
    }
    this.#refuseIfEnded();
    this.#durable = Math.max(this.#durable, through);
    this.#advance();
  }

  /** Resolves when there is room for more than the bytes that were taken. */
  async #room(bytes: number): Promise<void> {
    const waitMs = this.#writeAhead === null ? 0 : Math.max(this.#paceMs(bytes), this.#delayMs());
    if (waitMs > 0) await this.#journal.environment.sleep(Math.ceil(waitMs));
    await this.#changes.until(() => this.#held.bytes <= this.#limits.heldBytesMax);
  }

  /** By what the regions take. */
  #paceMs(bytes: number): number {
    const isAnswered = this.#writer.lanes.some(({ healthySinceMs }) => healthySinceMs !== null);
    return isAnswered ? this.#pace.waitMs(bytes, this.#held.bytesThrough(this.next - 1), this.#clock.nowMs()) : 0;
  }

  /** By what the owner holds at the most. */
  #delayMs(): number {
    const over = this.#held.bytes / (this.#limits.heldBytesMax / 2) - 1;
    return LOCAL_DELAY_MS_MAX * Math.max(0, Math.min(over, 1));
  }

  #refuseIfEnded(): void {
    this.#endIfFailed();
    if (this.#ended !== null) throw this.#ended;
  }

  /** A file may fail while nobody waits for it: whoever asks or appends is told in that turn. */
  #endIfFailed(): void {
    const failed = this.#writeAhead?.failed ?? null;
    if (failed !== null) this.#end(failed);
  }

  // ---- what follows from what has happened

  /** Looks at everything that may have changed. */
  #advance(): void {
    if (this.#ended !== null) return;
    if (this.#writeAhead !== null) this.#acknowledged = this.#durable;
    if (this.#goesOn) this.#settle();
    this.#acknowledgements.look();
    this.#changes.look();
    if (this.#goesOn && this.#isDue()) this.#shipping ??= this.#ship();
    if (this.#opening === null) this.#judgeMembers();
    this.#look();
  }

  /** What all members have confirmed is acknowledged, of a pair, and held no longer. */
  #settle(): void {
    const seq = this.#writer.lastAfter(this.#writer.confirmedByAll);
    if (this.#writeAhead === null) this.#acknowledged = Math.max(this.#acknowledged, seq);
    else this.#pace.closed(this.#held.bytesThrough(this.#closed), this.#clock.nowMs());
    this.#held.dropThrough(seq);
    const free = Math.min(seq, this.#volumeThrough) + 1;
    if (this.#writeAhead === null || free <= this.#freed) return;
    this.#freed = free;
    this.#writeAhead.freeBelow(free).catch((error: unknown) => {
      // It is tried again with the next; that it grows is in what the file's owner measures.
      this.#journal.environment.alarm('a part of the write-ahead file cannot be removed', { below: free, error: String(error) });
    });
  }

  get #closed(): number {
    if (this.#writeAhead === null) return this.#acknowledged;
    return Math.max(this.#writer.lastAfter(this.#writer.confirmedByOne), this.#held.first - 1);
  }

  get #allConfirmed(): boolean {
    return this.#held.formed === this.next - 1 && this.#writer.confirmedByAll === this.#writer.count;
  }

  get #isPublished(): boolean {
    return this.#writer.published >= this.#acknowledged;
  }

  /** Forms batches while any is due; one at a time, for a file has to be synced first. */
  async #ship(): Promise<void> {
    // A turn later, so that what is appended in this one is in the batch.
    await Promise.resolve();
    try {
      while (this.#goesOn && this.#isDue()) {
        if (this.#writeAhead !== null && this.#held.formed === this.#durable && this.#durable < this.next - 1) await this.#sync();
        else this.#formOne();
      }
    } catch (error) {
      this.#end(error);
    }
    // In the same turn as the look at what is due: whoever comes next starts again.
    this.#shipping = null;
  }

  #formOne(): void {
    const through = this.#writeAhead === null ? this.next - 1 : this.#durable;
    this.#writer.form(this.#held.takeBatch(through), this.#acknowledged);
    if (this.#writeAhead !== null) this.#pace.formed(this.#held.bytesThrough(this.#held.formed), this.#clock.nowMs());
  }

  /** Whether batches of this epoch are formed, and their confirmations count. */
  get #goesOn(): boolean {
    return this.#ended === null && !this.#planned && !this.#doubted;
  }

  #isDue(): boolean {
    const { count, confirmedByAll, confirmedByOne } = this.#writer;
    if (count - (this.#writeAhead === null ? confirmedByAll : confirmedByOne) >= BATCHES_IN_FLIGHT) return false;
    const { batchMs } = this.#limits;
    const oldest = this.#held.after(this.#held.formed);
    if (oldest === null) return this.#allConfirmed && !this.#isPublished && (this.#draining > 0 || this.#writer.idleMs >= batchMs);
    const flushWaits = this.#writeAhead === null && this.#flushWanted > this.#held.formed;
    return flushWaits || this.#draining > 0 || this.#held.fillsBatch || this.#clock.nowMs() - oldest.atMs >= batchMs;
  }

  /** While anything waits there is one look to come. */
  #look(): void {
    const { batchMs } = this.#limits;
    const oldest = this.#held.after(this.#held.formed);
    if (this.#looking || this.#ended !== null || (oldest === null && this.#allConfirmed && this.#isPublished)) return;
    const waited = oldest === null ? this.#writer.idleMs : this.#clock.nowMs() - oldest.atMs;
    this.#looking = true;
    // What is due and cannot be formed yet is looked at when something is confirmed.
    void this.#journal.environment.sleep(waited >= batchMs ? batchMs : batchMs - waited).then(() => {
      this.#looking = false;
      this.#advance();
    });
  }

  // ---- epochs

  #writerOf(opened: Opened): EpochWriter {
    return new EpochWriter({
      journal: this.#journal,
      opened,
      level: this.#level,
      nowMs: () => this.#clock.nowMs(),
      onChange: () => this.#advance(),
      onStranger: () => this.#doubt(),
    });
  }

  /** Somebody has put into the epoch: nothing is acknowledged until the log has been read. */
  #doubt(): void {
    this.#doubted = true;
    if (this.#opening !== null || this.#ended !== null) return;
    if (this.#clock.nowMs() - this.#openedAtMs >= SEALED_FORGOTTEN_MS) this.#seals = 0;
    void this.#openWith(this.#writer.opened.members, SEALED_MS * 2 ** Math.min(this.#seals++, SEALED_DOUBLED_MAX));
  }

  #judgeMembers(): void {
    const lost = givenUp(this.#writer, this.#limits, this.#clock.nowMs());
    if (lost.size === 0 || this.#judging || (this.#writer.opened.mode === 'pair' && this.#spares.length === 0)) return;
    this.#judging = true;
    const asked = this.#writer;
    void replacements(this.#journal, asked, lost, this.#spares)
      .then((members) => {
        if (members !== null && this.#opening === null && this.#ended === null && this.#writer === asked) return this.#openWith(members);
      })
      .catch((error: unknown) => this.#end(error))
      .finally(() => (this.#judging = false));
  }

  /** Opens the next epoch with these members, however long it takes; or the owner has ended. */
  async #openWith(members: readonly Member[], afterMs = 0): Promise<void> {
    this.#opening = this.#opened(members, afterMs);
    await this.#opening;
  }

  async #opened(members: readonly Member[], afterMs: number): Promise<void> {
    const { environment } = this.#journal;
    const before = this.#writer;
    const owner = markedOwner(ownerName(before.opened.owner), environment);
    if (afterMs > 0) await environment.sleep(afterMs);
    let opened: Opened | null = null;
    for (let failures = 1; opened === null && this.#ended === null; failures++)
      try {
        opened = await openAgain({
          ...{ journal: this.#journal, owner, closing: before.opened, members },
          end: () => this.#endWith(members),
          labelUs: before.labelUs,
        });
      } catch (error) {
        if (!isHoldfastError(error, ...TO_BE_TRIED_AGAIN)) {
          this.#end(error);
          break;
        }
        if (failures % ALARM_EVERY === 1)
          environment.alarm('a journal cannot be opened again yet', { epoch: before.opened.epoch, code: error.code, failures });
        await waitAfter(environment, failures);
      }
    // However it went: who waits for it looks at this and at `#ended`, in a loop.
    this.#opening = null;
    if (opened !== null && this.#ended === null) this.#goOn(opened);
  }

  /** The end by what was confirmed: by all of a pair; by one that stays, in mode `local`, or by one at all. */
  #endWith(members: readonly Member[]): { readonly end: EpochEnd; readonly full: readonly string[] } {
    const { lanes, confirmedByAll } = this.#writer;
    const stay = lanes.filter(({ region }) => members.some((member) => member.region === region.name));
    const count =
      this.#writeAhead === null ? confirmedByAll : Math.max(...(stay.length > 0 ? stay : lanes).map(({ confirmed }) => confirmed));
    this.#planned = true;
    const full = lanes.filter(({ confirmed }) => confirmed >= count).map(({ region }) => region.name);
    return { end: this.#writer.endAfter(count), full };
  }

  #goOn(opened: Opened): void {
    const before = this.#writer;
    const gone = before.opened.members.filter(({ region }) => !opened.members.some((member) => member.region === region));
    this.#spares = [...this.#spares.filter(({ region }) => !gone.some((member) => member.region === region)), ...gone];
    // What is still under way there counts no more (J6).
    void before.stop();
    this.#writer = this.#writerOf(opened);
    this.#held.dropThrough(opened.start - 1);
    this.#held.rewind(opened.start - 1);
    this.#pace.rewind();
    this.#doubted = false;
    this.#planned = false;
    this.#openedAtMs = this.#clock.nowMs();
    this.#advance();
  }

  #end(cause: unknown): void {
    if (this.#ended !== null) return;
    this.#ended = cause instanceof HoldfastError ? cause : new HoldfastError('INTERNAL', 'the owner of a journal failed', {}, cause);
    void this.#writer.stop();
    this.#acknowledgements.reject(this.#ended);
    this.#changes.reject(this.#ended);
  }

  #laneStatus(i: number): Omit<MemberStatus, keyof Member> {
    const lane = this.#writer.lanes[i];
    if (lane === undefined) throw new HoldfastError('INTERNAL', 'a member without a lane', { member: i });
    const { confirmed, inFlight, failures, lastError } = lane;
    return { confirmed: this.#writer.lastAfter(confirmed), inFlight, failures, lastError };
  }
}
