/**
 * A journal that lives by chance, over real stores and the real log, with an oracle: what every volume held after every number.
 *
 * Owners put batches (some regions lag, some put what comes to lie past an end), lose order and read a base of the live volume,
 * others take over; regions are filled, folded and collected on views of any age; objects are damaged. The oracle knows the
 * official history alone: what an OPEN cut off is forgotten.
 */
import { hash } from 'node:crypto';
import { formBatch, readBatchHead } from '../../../../src/engine/journal/batch.ts';
import type { EpochEnd, Member } from '../../../../src/engine/journal/entries.ts';
import { openJournalLog } from '../../../../src/engine/journal/journal-log.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { backfillRegion } from '../../../../src/engine/journal/keeping/backfill.ts';
import { collectRegion } from '../../../../src/engine/journal/keeping/collecting.ts';
import { foldRegion } from '../../../../src/engine/journal/keeping/fold.ts';
import { recordFuzzyBase, type FuzzyBase } from '../../../../src/engine/journal/keeping/fuzzy-base.ts';
import { pinPoint, unpin } from '../../../../src/engine/journal/keeping/pins.ts';
import { applyRetention, datesOf } from '../../../../src/engine/journal/keeping/retention.ts';
import { batchName, copyName } from '../../../../src/engine/journal/object-names.ts';
import { readingOf, type Damage, type Reading } from '../../../../src/engine/journal/reading/reading.ts';
import { createOverlay } from '../../../../src/engine/journal/recovery/overlay.ts';
import { planRecovery, type Point } from '../../../../src/engine/journal/recovery/plan.ts';
import { replay } from '../../../../src/engine/journal/recovery/replay.ts';
import type { JournalRecord } from '../../../../src/engine/journal/records.ts';
import { formSeal } from '../../../../src/engine/journal/seal.ts';
import { currentEpoch, type JournalState } from '../../../../src/engine/journal/state.ts';
import { isHoldfastError } from '../../../../src/domain/errors.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { createRandom, type Random } from '../../../simulation/random.ts';
import { createMemoryStore } from '../../memory-store.ts';
import { environment, KEY } from '../../repository/world.ts';
import { createMemoryBases, type MemoryBases } from './memory-bases.ts';

export const REGIONS = ['a', 'b', 'c', 'd'];
export const VOLUMES = 2;
export const VOLUME_BYTES = 512;

export interface Written {
  readonly epoch: number;
  readonly index: number;
  readonly first: number;
  readonly records: readonly JournalRecord[];
  readonly after: Buffer;
  readonly stored: Buffer;
  readonly labelUs: number;
  readonly acknowledged: number;
}

type Content = readonly Buffer[];

export interface Expected {
  readonly epoch: number;
  readonly seq: number;
  readonly labelUs: number;
}

export class RandomJournal {
  readonly random: Random;
  readonly journal: Journal;
  readonly bases: ReadonlyMap<string, MemoryBases>;
  readonly damage: Damage[] = [];
  readonly counts: Record<string, number> = {};
  /** What the volumes held after each number of the official history. */
  readonly truth = new Map<number, Content>();
  /** Official batches of an epoch, in order; of the open one all that were formed. */
  readonly written = new Map<number, Written[]>();
  /** Objects that were made unreadable, by region. */
  readonly harmed = new Set<string>();
  readonly views: JournalState[] = [];
  nowUs = 1_000_000;
  readonly #stores = new Map<string, ObjectStore>();
  #live: Buffer[];
  #capturing: { readonly fuzzy: Omit<FuzzyBase, 'snapshots' | 'to'>; readonly content: Buffer[]; at: number } | null = null;
  #captured: { readonly fuzzy: FuzzyBase }[] = [];

  readonly #temper: Record<'write' | 'capture' | 'open' | 'backfill' | 'fold' | 'retain' | 'collect' | 'pin', number>;

  /** `stores`: where things are; `wrap`: how whoever reads and keeps the journal sees them. */
  constructor(
    seed: number,
    stores: (region: string) => ObjectStore = createMemoryStore,
    wrap = (store: ObjectStore): ObjectStore => store,
  ) {
    this.random = createRandom(seed);
    const [open, collect, backfill] = [this.random.pick([0.4, 1.5]), this.random.pick([2, 7]), this.random.pick([1.5, 8])];
    this.#temper = { write: 10, capture: 3, open, backfill, fold: 6, retain: 4, collect, pin: 0.5 };
    this.#live = Array.from({ length: VOLUMES }, () => Buffer.alloc(VOLUME_BYTES));
    this.truth.set(0, this.#copy());
    const own = { ...environment, nowMs: () => Math.floor(this.nowUs / 1000), random: (size: number) => this.random.bytes(size) };
    for (const name of REGIONS) this.#stores.set(name, stores(name));
    this.journal = {
      name: 'j',
      id: KEY.repositoryId,
      key: KEY,
      environment: own,
      log: openJournalLog({ store: stores('log'), key: KEY, environment: own }),
      regions: new Map(REGIONS.map((name) => [name, { name, domain: name, store: wrap(this.store(name)) }])),
    };
    this.bases = new Map(REGIONS.map((name) => [name, createMemoryBases(name, VOLUMES, VOLUME_BYTES)]));
  }

  get state(): JournalState {
    return this.journal.log.known();
  }

  reading(some: Partial<Reading> = {}): Reading {
    return readingOf(this.journal, { onDamage: (damage) => void this.damage.push(damage), ...some });
  }

  store(region: string): ObjectStore {
    return this.#stores.get(region)!;
  }

  async run(steps: number): Promise<void> {
    await this.open();
    for (let i = 0; i < steps; i++) await this.step();
  }

  async step(): Promise<void> {
    this.nowUs += this.random.between(1, 2000);
    const what = this.#capturing !== null && this.random.chance(0.3) ? 'capture' : this.random.weighted(this.#temper);
    const keeps = what === 'backfill' || what === 'fold' || what === 'retain' || what === 'collect';
    const before = keeps && this.harmed.size === 0 ? await this.expected() : [];
    await this[what]().catch((error: unknown) => {
      if (!isHoldfastError(error, 'STORE_UNREACHABLE')) throw error;
      this.#count('unreachable');
    });
    await this.#checkKept(before, what);
    this.views.push(await this.journal.log.sync());
  }

  /** Whatever keeps a journal takes no point at or above the floor. */
  async #checkKept(before: readonly Expected[], what: string): Promise<void> {
    if (before.length === 0) return;
    const after = new Set((await this.expected()).map(({ seq }) => seq));
    const gone = before.filter(({ seq }) => seq > this.state.floor && !after.has(seq));
    if (gone.length > 0) throw new Error(`${what} took ${gone.map(({ seq }) => seq).join(' ')}`);
  }

  // ---- owners

  /** Forms the next batch and puts it to members; those that lag get what they lack first. Acknowledged is what both, or one, have. */
  async write(gap = false): Promise<void> {
    const epoch = currentEpoch(this.state)!;
    const batches = this.written.get(epoch.epoch)!;
    const acknowledged = await this.acknowledged();
    this.#form(epoch.epoch, batches, this.#records(this.#next(), gap), acknowledged);
    const [always, ...others] = this.random.chance(0.5) ? epoch.members : [...epoch.members].reverse();
    for (const { region } of [always!, ...others.filter(() => this.random.chance(0.8))]) await this.#catchUp(region, epoch.epoch);
  }

  #next(): number {
    const epoch = currentEpoch(this.state)!;
    const last = this.written.get(epoch.epoch)!.at(-1);
    return last === undefined ? epoch.start : last.first + last.records.length;
  }

  #form(epoch: number, batches: Written[], records: readonly JournalRecord[], acknowledged: number): void {
    const before = batches.at(-1);
    const { start, before: begin } = this.state.epochs.get(epoch)!;
    const first = before === undefined ? start : before.first + before.records.length;
    const labelUs = this.nowUs;
    const place = { epoch, index: batches.length };
    const notes = {
      ...{ ...place, first, before: before?.after ?? Buffer.from(begin, 'hex'), labelUs, fold: Buffer.alloc(0) },
      ...{ acknowledged, acknowledgedBatches: batches.filter((one) => one.first + one.records.length - 1 <= acknowledged).length },
    };
    const level = this.random.chance(0.2) ? 1 : null;
    const formed = formBatch(KEY, notes, records, { level, salt: this.random.bytes(32) });
    batches.push({ ...place, first, records, ...formed, labelUs, acknowledged });
  }

  async #catchUp(region: string, epoch: number): Promise<void> {
    for (const { index, stored } of this.written.get(epoch)!)
      if (!this.#isCollected(region, epoch, index)) await this.store(region).put(batchName(epoch, index), stored, { ifAbsent: true });
  }

  #isCollected(region: string, epoch: number, index: number): boolean {
    const keep = this.state.bases.get(region)?.findLast(({ to }) => to <= this.state.floor);
    return keep !== undefined && keep.at.epoch === epoch && index <= keep.at.index;
  }

  /** The last number up to which all (pair) or one (local) of the members have everything. */
  async acknowledged(): Promise<number> {
    const epoch = currentEpoch(this.state)!;
    const held = await Promise.all(epoch.members.map(({ region }) => this.#heldIn(region, epoch.epoch)));
    const count = epoch.mode === 'pair' ? Math.min(...held) : Math.max(...held);
    const last = this.written.get(epoch.epoch)![count - 1];
    return last === undefined ? epoch.start - 1 : last.first + last.records.length - 1;
  }

  async #heldIn(region: string, epoch: number): Promise<number> {
    const batches = this.written.get(epoch)!;
    for (const { index } of batches) {
      if (this.#isCollected(region, epoch, index)) continue;
      if ((await this.store(region).head(batchName(epoch, index))) === null) return index;
    }
    return batches.length;
  }

  #records(first: number, gap: boolean): JournalRecord[] {
    const records: JournalRecord[] = [];
    const count = this.random.below(6) + (gap ? 1 : 0);
    const gapAt = gap ? first + this.random.below(count) : -1;
    for (let seq = first; seq < first + count; seq++) {
      const dice = seq === gapAt ? 1 : this.random.next();
      const volume = this.random.below(VOLUMES);
      const offset = this.random.below(VOLUME_BYTES - 1);
      const length = this.random.between(1, Math.min(64, VOLUME_BYTES - offset) + 1);
      if (dice === 1) records.push({ kind: 'gap', seq });
      else if (dice < 0.45) records.push({ kind: 'write', seq, volume, offset, data: this.random.bytes(length) });
      else if (dice < 0.6) records.push({ kind: 'zero', seq, volume, offset, length });
      else records.push({ kind: 'flush', seq });
      this.#apply(records.at(-1)!);
    }
    return records;
  }

  #apply(record: JournalRecord): void {
    if (record.kind === 'write') this.#live[record.volume]!.set(record.data, record.offset);
    if (record.kind === 'zero') this.#live[record.volume]!.fill(0, record.offset, record.offset + record.length);
    // What was written while order was lost is in the volume, and in no record.
    if (record.kind === 'gap') for (const volume of this.#live) volume.set(this.random.bytes(8), this.random.below(VOLUME_BYTES - 8));
    this.truth.set(record.seq, this.#copy());
  }

  #copy(): Content {
    return this.#live.map((volume) => Buffer.from(volume));
  }

  /** Order is lost, or a first baseline is made: a gap, then the live volume is read bit by bit, while it is written. */
  async capture(): Promise<void> {
    const epoch = currentEpoch(this.state)!;
    const capturing = this.#capturing;
    if (capturing === null && this.random.chance(0.2)) {
      await this.write(true);
      const from = this.written
        .get(epoch.epoch)!
        .at(-1)!
        .records.find(({ kind }) => kind === 'gap')!.seq;
      const { region } = this.random.pick(epoch.members);
      this.#capturing = { fuzzy: { region, epoch: epoch.epoch, from }, content: this.#live.map(() => Buffer.alloc(VOLUME_BYTES)), at: 0 };
      this.#count('gaps');
    } else if (capturing !== null && capturing.at < VOLUME_BYTES) {
      const until = Math.min(VOLUME_BYTES, capturing.at + this.random.between(1, 300));
      for (const [volume, bytes] of capturing.content.entries()) this.#live[volume]!.copy(bytes, capturing.at, capturing.at, until);
      capturing.at = until;
    } else if (capturing !== null) {
      const bases = this.bases.get(capturing.fuzzy.region)!;
      const notes = { ...capturing.fuzzy, takenMs: Math.floor(this.nowUs / 1000), consistency: 'fuzzy' as const };
      const snapshots = capturing.content.map((content, volume) => bases.keep(volume, content, notes));
      this.#captured.push({ fuzzy: { ...capturing.fuzzy, to: this.#next() - 1, snapshots } });
      this.#capturing = null;
    }
    for (const one of [...this.#captured]) {
      const told = await recordFuzzyBase(this.reading(), one.fuzzy);
      this.#count(`fuzzy ${told.kind}`);
      if (told.kind !== 'waits') this.#captured.splice(this.#captured.indexOf(one), 1);
    }
  }

  /** Another owner, or the same: seals, an end, other members. What was acknowledged stays; what was not may. */
  async open(): Promise<void> {
    const closing = currentEpoch(this.state);
    const regions = [...REGIONS].sort(() => this.random.next() - 0.5);
    const members: Member[] = regions.slice(0, this.random.chance(0.7) ? 2 : 1).map((region) => ({ region, domain: region }));
    const mode = members.length === 2 && this.random.chance(0.7) ? 'pair' : 'local';
    const open = {
      kind: 'OPEN' as const,
      previous: null,
      end: null,
      mode: mode as 'pair' | 'local',
      owner: 'o',
      members,
      full: [],
      tailLost: false,
    };
    if (closing === undefined) {
      await this.journal.log.append(() => open);
      this.written.set(this.state.current!, []);
      return;
    }
    const batches = this.written.get(closing.epoch)!;
    const held = new Map<string, number>();
    for (const { region } of closing.members) held.set(region, await this.#heldIn(region, closing.epoch));
    // Without a pair's promise the one that is asked may hold less.
    const asked = closing.mode === 'local' && this.random.chance(0.3) ? [...held.values()].slice(0, 1) : [...held.values()];
    const count = Math.max(...asked);
    const full = [...held].flatMap(([region, has]) => (has >= count ? [region] : []));
    const last = batches[count - 1];
    const end: EpochEnd =
      last === undefined
        ? { index: -1, seq: closing.start - 1, digest: closing.before }
        : { index: count - 1, seq: last.first + last.records.length - 1, digest: last.after.toString('hex') };
    try {
      await this.journal.log.append(() => ({ ...open, previous: closing.epoch, end, full, tailLost: this.random.chance(0.5) }));
    } catch (error) {
      if (!isHoldfastError(error, 'RECORD_REFUSED', 'TAIL_LOST')) throw error;
      return this.#count('OPEN refused');
    }
    // A chain that is sealed and not taken over would have its owner open it again.
    for (const [region, has] of held)
      if (this.random.chance(0.8)) {
        const place = { epoch: closing.epoch, index: has };
        const seal = formSeal(KEY, place, { by: 's', timeMs: 0 }, this.random.bytes(32));
        await this.store(region).put(batchName(closing.epoch, has), seal, { ifAbsent: true });
      }
    await this.#cutOff(closing.epoch, end);
    this.written.set(this.state.current!, []);
    this.#count('OPEN');
  }

  /** Forgets what lies past an end; the writer that was overtaken may still put some of it, in its member or another. */
  async #cutOff(epoch: number, end: EpochEnd): Promise<void> {
    const batches = this.written.get(epoch)!;
    if (this.random.chance(0.5)) this.#form(epoch, batches, this.#records(end.seq + 1 + this.#pastEnd(batches, end), false), end.seq);
    for (const { index, stored } of batches.splice(end.index + 1))
      for (const region of REGIONS)
        if (this.random.chance(0.3)) await this.store(region).put(batchName(epoch, index), stored, { ifAbsent: true });
    for (const seq of [...this.truth.keys()]) if (seq > end.seq) this.truth.delete(seq);
    this.#live = this.truth.get(end.seq)!.map((volume) => Buffer.from(volume));
    this.#capturing = null;
  }

  #pastEnd(batches: readonly Written[], end: EpochEnd): number {
    return batches.slice(end.index + 1).reduce((sum, { records }) => sum + records.length, 0);
  }

  // ---- keepers

  #oftenMember(): string {
    const members = currentEpoch(this.state)!.members.map(({ region }) => region);
    return this.random.pick(this.random.chance(0.8) ? members : REGIONS);
  }

  async backfill(): Promise<void> {
    const region = this.#oftenMember();
    try {
      const { held, basesCopied } = await backfillRegion(this.reading(), region, { bases: this.bases });
      this.#count('HELD', held.length);
      this.#count('bases copied', basesCopied);
    } catch (error) {
      if (!isHoldfastError(error, 'OBJECT_MISSING', 'DAMAGED')) throw error;
      this.#count('backfill in vain');
    }
  }

  async fold(): Promise<void> {
    const by = this.random.chance(0.5) ? Infinity : this.#next() - this.random.below(30);
    try {
      const region = this.#oftenMember();
      this.#count(`fold ${(await foldRegion(this.reading(), this.bases.get(region)!, { by })).kind}`);
    } catch (error) {
      if (this.harmed.size === 0 || !isHoldfastError(error, 'OBJECT_MISSING', 'DAMAGED')) throw error;
    }
  }

  async retain(): Promise<void> {
    const taken = await datesOf([...this.bases.values()]);
    const policy = { windowMs: this.random.between(0, 20), frozen: this.random.chance(0.1) };
    const before = await this.expected();
    const { floor, unpin: lapsed } = await applyRetention(this.journal, taken, policy);
    if (floor !== null) this.#count('FLOOR');
    const sinceUs = (Math.max(...taken.values()) - policy.windowMs) * 1000;
    const lost = before.filter(({ seq, labelUs }) => seq < this.state.floor && labelUs >= sinceUs + 1000 && floor !== null);
    if (lost.length > 0) throw new Error(`the floor took ${lost[0]!.seq}, which is in the window`);
    if (floor !== null && policy.frozen) throw new Error('the floor was frozen');
    this.#count('pins lapsed', lapsed.length);
  }

  async collect(): Promise<void> {
    const region = this.random.pick(REGIONS);
    const old = this.random.chance(0.4) && this.views.length > 0 ? { state: this.random.pick(this.views) } : {};
    const { batches, snapshots } = await collectRegion(this.journal, region, { bases: this.bases.get(region)!, ...old });
    this.#count('deleted batches', batches);
    this.#count('deleted snapshots', snapshots);
  }

  async pin(): Promise<void> {
    const pin = `p${this.random.below(3)}`;
    if (this.random.chance(0.4)) return unpin(this.journal, pin);
    const epoch = this.random.pick([...this.state.epochs.values()]);
    const point = { epoch: epoch.epoch, seq: this.state.floor + this.random.below(20) };
    try {
      await pinPoint(this.journal, { pin, point, untilMs: Math.floor(this.nowUs / 1000) + this.random.below(30), why: 'test' });
      this.#count('pins');
    } catch (error) {
      if (!isHoldfastError(error, 'RECORD_REFUSED')) throw error;
    }
  }

  /** Harms an object of a batch in one region: gone, flipped, cut, or another one's. */
  async harm(region: string, epoch: number, index: number): Promise<void> {
    for (const name of [batchName(epoch, index), copyName(epoch, index)]) {
      const stored = await this.store(region).get(name);
      if (stored === null || stored.length < 140) continue;
      const how = this.random.below(4);
      this.harmed.add(`${region}/${name}`);
      if (how === 0) await this.store(region).delete([name]);
      else if (how === 1) {
        const at = this.random.below(stored.length);
        stored[at] = stored[at]! ^ (1 << this.random.below(8));
        await this.store(region).put(name, stored);
      } else if (how === 2) await this.store(region).put(name, stored.subarray(0, this.random.below(stored.length)));
      else await this.store(region).put(name, this.written.get(epoch)!.find((one) => one.index !== index)?.stored ?? stored.subarray(1));
    }
  }

  // ---- what must be so

  /** The official history: all batches below ends, and of the open epoch what its own batches say is acknowledged. */
  history(): readonly Written[] {
    const all: Written[] = [];
    for (const { epoch, end } of this.state.epochs.values()) {
      const batches = this.written.get(epoch)!;
      const acknowledged = Math.max(0, ...batches.map((one) => one.acknowledged));
      all.push(...batches.filter((one) => (end === null ? lastOf(one) <= acknowledged : one.index <= end.index)));
    }
    return all;
  }

  /** Which points can be recovered, or as far as the heads tell, worked out batch by batch and base by base. */
  async expected(by: 'whole' | 'head' = 'whole'): Promise<readonly Expected[]> {
    const history = this.history();
    const there = new Set<Written>();
    for (const one of history) if (await this.#isThere(one, by)) there.add(one);
    const gaps = history.flatMap(({ records }) => records.flatMap(({ kind, seq }) => (kind === 'gap' ? [seq] : [])));
    const starts = REGIONS.flatMap((region) => {
      const all = this.state.bases.get(region) ?? [];
      const kept = all.slice(
        Math.max(
          0,
          all.findLastIndex(({ to }) => to <= this.state.floor),
        ),
      );
      const bases = kept.map(({ from, to, at }) => ({ from, to, epoch: at.epoch, index: at.index }));
      const dropped = bases.some(({ to }) => to <= this.state.floor);
      return dropped ? bases : [{ from: 0, to: 0, epoch: 0, index: -1 }, ...bases];
    }).map(({ from, to, epoch, index }) => {
      const after = history.findIndex((one) => one.epoch > epoch || (one.epoch === epoch && one.index > index));
      const begins = after < 0 ? history.length : after;
      const missing = history.findIndex((one, i) => i >= begins && !there.has(one));
      return { from, to, begins, reach: missing < 0 ? history.length : missing };
    });
    const points: Expected[] = [];
    for (const [i, one] of history.entries())
      for (const { kind, seq } of one.records) {
        if (kind !== 'flush' || seq < this.state.floor) continue;
        const leads =
          starts.some(({ begins, reach }) => begins <= i && i < reach) &&
          starts.some(({ from, to, reach }) => to <= seq && i < reach && !gaps.some((gap) => gap > from && gap <= seq));
        if (leads) points.push({ epoch: one.epoch, seq, labelUs: one.labelUs });
      }
    return points;
  }

  async #isThere({ epoch, index, stored, after }: Written, by: 'whole' | 'head'): Promise<boolean> {
    const open = this.state.epochs.get(epoch)!.end === null;
    for (const region of REGIONS)
      for (const name of open ? [batchName(epoch, index)] : [batchName(epoch, index), copyName(epoch, index)]) {
        const found = await this.store(region).get(name);
        if (found?.equals(stored) === true) return true;
        if (found === null || by === 'whole') continue;
        try {
          if (readBatchHead(KEY, { epoch, index }, name, found)?.after.equals(after) === true) return true;
        } catch (error) {
          if (!isHoldfastError(error)) throw error;
        }
      }
    return false;
  }

  /** The volumes at a point, recovered. */
  async recovered(point: Point, some: Partial<Reading> = {}): Promise<Content> {
    const reading = this.reading(some);
    const plan = await planRecovery(reading, { point });
    const on = plan.start.kind === 'base' ? plan.start.base.snapshots : [];
    const bases = this.bases.get(plan.region)!;
    const content = Array.from({ length: VOLUMES }, () => Buffer.alloc(VOLUME_BYTES));
    for (const { volume, id } of on) bases.stored.get(id)!.content.copy(content[volume]!);
    const overlay = createOverlay(reading, plan, async (volume, into, offset) => {
      content[volume]!.copy(into, 0, offset, offset + into.length);
    });
    const read = Array.from({ length: VOLUMES }, () => Buffer.alloc(VOLUME_BYTES));
    for (const [volume, into] of read.entries())
      for (let at = 0, next = 0; at < VOLUME_BYTES; at = next) {
        next = Math.min(VOLUME_BYTES, at + this.random.between(1, 200));
        await overlay.read(volume, into.subarray(at, next), at);
      }
    for await (const { volume, offset, length, data } of replay(reading, plan))
      if (data === null) content[volume]!.fill(0, offset, offset + length);
      else content[volume]!.set(data, offset);
    if (read.some((bytes, volume) => !bytes.equals(content[volume]!))) throw new Error('the overlay reads another state than the replay');
    return content;
  }

  #count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }
}

const lastOf = ({ first, records }: Written): number => first + records.length - 1;

export const digestOf = (content: Content | undefined): string => (content ?? []).map((volume) => hash('sha1', volume)).join(' ');
