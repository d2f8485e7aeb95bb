/**
 * Regions that really hold or lack batches and bases, under the real fold of a journal's log: what the log claims is compared
 * with what is there. Owners, backfill, folding and collection act by chance, collection on views of any age; entries are proposed
 * whether or not they are admissible, but never with a false word about what is held.
 */
import { hash } from 'node:crypto';
import { newSnapshotId } from '../../../src/domain/ids.ts';
import { mayDeleteBatch, mayDeleteSnapshot, type BaseSnapshot } from '../../../src/engine/journal/collection.ts';
import type { BaseEntry, JournalEntry, OpenEntry } from '../../../src/engine/journal/entries.ts';
import { holdsAll, isNeeded, keepOf, replayStart } from '../../../src/engine/journal/holdings.ts';
import { applyEntry, currentEpoch, EMPTY_JOURNAL, refusalOf, type Epoch, type JournalState } from '../../../src/engine/journal/state.ts';

const REGIONS = ['a', 'b', 'c', 'd'];

interface BatchOf {
  readonly epoch: number;
  readonly index: number;
  readonly last: number;
  readonly digest: string;
}

interface Region {
  readonly batches: Set<string>;
  readonly snapshots: Map<string, { readonly epoch: number; readonly from: number }>;
}

const keyOf = (epoch: number, index: number): string => `${epoch}/${index}`;

export class SmallWorld {
  state: JournalState = EMPTY_JOURNAL;
  readonly views: JournalState[] = [EMPTY_JOURNAL];
  readonly regions = new Map<string, Region>(REGIONS.map((name) => [name, { batches: new Set(), snapshots: new Map() }]));
  readonly written = new Map<number, BatchOf[]>();
  /** Every one that was ever made. */
  readonly snapshots: (BaseSnapshot & { readonly region: string })[] = [];
  readonly counts: Record<string, number> = {};
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  step(): void {
    const steps = [
      this.#write,
      this.#write,
      this.#write,
      this.#open,
      this.#backfill,
      this.#base,
      this.#base,
      this.#floor,
      this.#pin,
      this.#collect,
    ];
    this.#pick(steps).call(this);
  }

  // ---- what goes on

  #write(): void {
    const epoch = currentEpoch(this.state);
    if (epoch === undefined) return;
    const batches = this.written.get(epoch.epoch) ?? [];
    const before = batches.at(-1);
    const index = batches.length;
    const last = (before?.last ?? epoch.start - 1) + this.#upTo(2);
    const digest = hash('sha256', `${before?.digest ?? epoch.before} ${epoch.epoch} ${index} ${last}`);
    this.written.set(epoch.epoch, [...batches, { epoch: epoch.epoch, index, last, digest }]);
    // Members get batches in order, and not always at once; one of them always.
    const [always, ...others] = this.#shuffled(epoch.members);
    for (const { region } of [always, ...others.filter(() => this.#chance(0.7))].flatMap((one) => one ?? []))
      this.#catchUp(region, epoch.epoch);
  }

  #catchUp(region: string, epoch: number): void {
    for (const { index } of this.written.get(epoch) ?? []) if (isNeeded(this.state, region, epoch, index)) this.#put(region, epoch, index);
  }

  #open(): void {
    const closing = currentEpoch(this.state);
    const domains = this.#shuffled(REGIONS).slice(0, 1 + this.#upTo(2));
    const members = domains.map((region) => ({ region, domain: this.#chance(0.05) ? 'same' : region }));
    const first: OpenEntry = { kind: 'OPEN', previous: null, end: null, mode: 'local', owner: 'o', members, full: [], tailLost: false };
    if (closing === undefined) {
      this.propose(first);
      return;
    }
    const index = this.#chance(0.8) ? this.#heldIndex(closing) : this.#upTo(this.#heldIndex(closing) + 1) - 1;
    const end = { index, ...this.#at(closing, index) };
    const full = closing.members.map(({ region }) => region).filter((region) => this.#has(region, closing.epoch, index));
    const previous = this.#chance(0.95) ? closing.epoch : 1;
    this.propose({ ...first, previous, end, full, mode: members.length === 2 ? 'pair' : 'local', tailLost: this.#chance(0.3) });
  }

  /** The highest index up to which one member has all. */
  #heldIndex({ epoch, members }: Epoch): number {
    const count = this.written.get(epoch)?.length ?? 0;
    for (let index = count - 1; index >= 0; index--) if (members.some(({ region }) => this.#has(region, epoch, index))) return index;
    return -1;
  }

  /** Whether a region really has what is needed of an epoch up to a batch. */
  #has(region: string, epoch: number, through: number): boolean {
    const held = this.#region(region).batches;
    return (this.written.get(epoch) ?? [])
      .slice(0, through + 1)
      .every(({ index }) => held.has(keyOf(epoch, index)) || !isNeeded(this.state, region, epoch, index));
  }

  #backfill(): void {
    const region = this.#pick(REGIONS);
    for (const epoch of this.state.epochs.values()) {
      if (epoch.end === null || epoch.full.includes(region)) continue;
      for (let index = 0; index <= epoch.end.index; index++) {
        if (!isNeeded(this.state, region, epoch.epoch, index)) continue;
        if (!this.#somewhere(epoch.epoch, index)) return this.#copyBase(region);
        this.#put(region, epoch.epoch, index);
      }
      this.propose({ kind: 'HELD', epoch: epoch.epoch, region });
      if (this.#chance(0.5)) return;
    }
  }

  #copyBase(region: string): void {
    const source = this.#pick(REGIONS);
    const base = keepOf(this.state, source);
    if (base === undefined || source === region) return;
    this.#propose(region, base);
  }

  #base(): void {
    const region = this.#pick(REGIONS);
    const epoch = this.#pick([...this.state.epochs.values()].slice(-2));
    if (epoch === undefined) return;
    const most = epoch.end?.index ?? this.#heldIndex(epoch);
    if (most < 0) return;
    const index = this.#upTo(most);
    const { seq, digest } = this.#at(epoch, index);
    // A base that is made of the live volume needs no history in the region; its reading ends somewhere later.
    const to = this.#chance(0.5) ? seq : seq + this.#upTo(Math.max(0, this.#at(epoch, most).seq - seq));
    if (!this.#has(region, epoch.epoch, most)) return;
    this.#propose(region, { from: seq, to, at: { epoch: epoch.epoch, index, seq, digest } });
  }

  /** Puts the snapshot of a base, then its record, which may not come, or be refused. */
  #propose(region: string, { from, to, at }: Pick<BaseEntry, 'from' | 'to' | 'at'>): void {
    const id = newSnapshotId(1, this.#random);
    this.#region(region).snapshots.set(id, { epoch: at.epoch, from });
    this.snapshots.push({ region, id, epoch: at.epoch, from });
    if (this.#chance(0.9)) this.propose({ kind: 'BASE', region, snapshots: [{ volume: 0, id }], from, to, at });
  }

  #floor(): void {
    const bases = [...this.state.bases.values()].flat();
    const seq = bases.length > 0 && this.#chance(0.8) ? this.#pick(bases).to : this.#upTo(40);
    this.propose({ kind: 'FLOOR', seq });
  }

  #pin(): void {
    const epoch = this.#pick([...this.state.epochs.keys()]);
    const pin = this.#pick(['p', 'q']);
    if (this.#chance(0.6)) this.propose({ kind: 'UNPIN', pin });
    else if (epoch !== undefined) this.propose({ kind: 'PIN', pin, epoch, seq: this.#upTo(40), untilMs: 0, why: '' });
  }

  #collect(): void {
    const name = this.#pick(REGIONS);
    const view = this.#chance(0.5) ? this.state : this.#pick(this.views);
    const { batches, snapshots } = this.#region(name);
    for (const key of [...batches]) {
      const [epoch = 0, index = 0] = key.split('/').map(Number);
      if (mayDeleteBatch(view, name, epoch, index) && batches.delete(key)) this.#count('deleted batches');
    }
    for (const [id, label] of [...snapshots])
      if (mayDeleteSnapshot(view, name, { id, ...label }) && snapshots.delete(id)) this.#count('deleted snapshots');
  }

  propose(entry: JournalEntry): void {
    const against = refusalOf(this.state, entry);
    this.#count(against === null ? entry.kind : `${entry.kind} refused`);
    if (against !== null) return;
    const n = this.state.n + 1;
    this.state = { ...applyEntry(this.state, entry, { seq: n }), n };
    this.views.push(this.state);
  }

  // ---- what must be so

  /** Words about what is wrong; none when nothing is. */
  faults(): string[] {
    return [...this.#broken(), ...this.#lost(), ...this.#falselyHeld()];
  }

  /** The log says of itself what cannot be. */
  *#broken(): Generator<string> {
    let before: Epoch | undefined;
    for (const epoch of this.state.epochs.values()) {
      if (
        before !== undefined &&
        (before.end?.seq !== epoch.start - 1 || before.end.digest !== epoch.before || before.epoch >= epoch.epoch)
      )
        yield `epoch ${epoch.epoch} does not join the one before`;
      if (new Set(epoch.members.map(({ domain }) => domain)).size < epoch.members.length) yield `members of ${epoch.epoch} share a domain`;
      before = epoch;
    }
    for (const { pin, seq } of this.state.pins.values()) if (seq < this.state.floor) yield `the floor passed pin ${pin}`;
  }

  /** A point at or above the floor that no region can give, whoever lends it batches. */
  *#lost(): Generator<string> {
    for (const { epoch, end } of this.state.epochs.values())
      for (let index = 0; index <= (end?.index ?? -1); index++) {
        const { seq } = this.#at(this.#epoch(epoch), index);
        if (seq < this.state.floor || seq === 0) continue;
        if (!REGIONS.some((region) => this.#replays(region, seq, (e, i) => this.#somewhere(e, i))))
          yield `point ${seq} of epoch ${epoch} is lost`;
      }
  }

  /** A region that is said to hold what a point needs, and does not. */
  *#falselyHeld(): Generator<string> {
    for (const region of REGIONS)
      for (const { end } of this.state.epochs.values()) {
        if (end === null || end.seq < this.state.floor || end.seq === 0 || replayStart(this.state, region, end.seq) === null) continue;
        const said = [...this.state.epochs.values()].every(
          (one) => one.end === null || one.end.seq > end.seq || holdsAll(this.state, region, one),
        );
        if (said && !this.#replays(region, end.seq, (e, i) => this.#region(region).batches.has(keyOf(e, i))))
          yield `${region} cannot give point ${end.seq}`;
      }
  }

  #replays(region: string, seq: number, has: (epoch: number, index: number) => boolean): boolean {
    const start = replayStart(this.state, region, seq);
    if (start === null) return false;
    const at = start.kind === 'empty' ? { epoch: 0, index: -1 } : start.base.at;
    if (start.kind === 'base' && !start.base.snapshots.every(({ id }) => this.#region(region).snapshots.has(id))) return false;
    for (const epoch of this.state.epochs.values())
      for (let index = 0; index <= (epoch.end?.index ?? -1); index++) {
        if (epoch.start > seq || epoch.epoch < at.epoch || (epoch.epoch === at.epoch && index <= at.index)) continue;
        if (this.#at(epoch, index - 1).seq < seq && !has(epoch.epoch, index)) return false;
      }
    return true;
  }

  // ---- small words

  #at({ epoch, start, before }: Epoch, index: number): { readonly seq: number; readonly digest: string } {
    const batch = this.written.get(epoch)?.[index];
    return batch === undefined ? { seq: start - 1, digest: before } : { seq: batch.last, digest: batch.digest };
  }

  #epoch(number: number): Epoch {
    const epoch = this.state.epochs.get(number);
    if (epoch === undefined) throw new Error(`no epoch ${number}`);
    return epoch;
  }

  #region(name: string): Region {
    const region = this.regions.get(name);
    if (region === undefined) throw new Error(`no region ${name}`);
    return region;
  }

  #somewhere(epoch: number, index: number): boolean {
    return REGIONS.some((region) => this.#region(region).batches.has(keyOf(epoch, index)));
  }

  #put(region: string, epoch: number, index: number): void {
    this.#region(region).batches.add(keyOf(epoch, index));
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #upTo(n: number): number {
    return Math.floor(this.#random() * (n + 1));
  }

  #pick<T>(from: readonly T[]): T {
    // Of an empty list undefined, which those who may meet one look for.
    return from[Math.floor(this.#random() * from.length)] as T;
  }

  #shuffled<T>(from: readonly T[]): T[] {
    return from
      .map((one) => ({ one, at: this.#random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ one }) => one);
  }
}
