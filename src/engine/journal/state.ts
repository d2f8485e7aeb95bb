/**
 * The state of a journal: a pure fold of its log (docs/journal.md, section 7).
 *
 * Invariants, each kept by a refusal here: only the current epoch is closed, once, and the next joins it (J1, J4, J5); members
 * are distinct (J7); bases of a region rise and belong to a region that is whole above the one before (J10); the floor rises to
 * where a base is finished, and never passes a pin (J11); nothing that the log has named is given up without consent, and
 * nothing below the floor ever (J13). The fold ignores an entry that is in the log all the same.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { BaseEntry, EpochEnd, JournalEntry, Member, OpenEntry, PinEntry } from './entries.ts';
import { isWhole } from './holdings.ts';

export interface Epoch {
  /** The record that opened it. */
  readonly epoch: number;
  readonly owner: string;
  readonly mode: OpenEntry['mode'];
  readonly members: readonly Member[];
  /** Its first number, and the digest before its first batch. */
  readonly start: number;
  readonly before: string;
  /** Null while it is the current one. */
  readonly end: EpochEnd | null;
  /** Regions that hold all of it. */
  readonly full: readonly string[];
}

export interface JournalState {
  readonly n: number;
  readonly head: string;
  readonly current: number | null;
  /** Ascending. */
  readonly epochs: ReadonlyMap<number, Epoch>;
  /** By region, ascending. */
  readonly bases: ReadonlyMap<string, readonly BaseEntry[]>;
  /** By region, the highest base that it ever had: no lower one is admissible, even after that one was dropped. */
  readonly highest: ReadonlyMap<string, { readonly epoch: number; readonly index: number; readonly from: number }>;
  readonly floor: number;
  readonly pins: ReadonlyMap<string, PinEntry>;
}

const NO_DIGEST = '0'.repeat(64);

export const EMPTY_JOURNAL: JournalState = {
  n: 0,
  head: '',
  current: null,
  epochs: new Map(),
  bases: new Map(),
  highest: new Map(),
  floor: 0,
  pins: new Map(),
};

export const currentEpoch = (state: JournalState): Epoch | undefined =>
  state.current === null ? undefined : state.epochs.get(state.current);

const refused = (message: string, details: Record<string, string | number> = {}): HoldfastError =>
  new HoldfastError('RECORD_REFUSED', message, details);

/** What stands against an entry in this state. */
export function refusalOf(state: JournalState, entry: JournalEntry): HoldfastError | null {
  switch (entry.kind) {
    case 'OPEN':
      return openRefusal(state, entry);
    case 'HELD': {
      const epoch = state.epochs.get(entry.epoch);
      return epoch?.end ? null : refused(`epoch ${entry.epoch} is not closed`, { epoch: entry.epoch });
    }
    case 'BASE':
      return placeRefusal(state, entry) ?? orderRefusal(state, entry) ?? regionRefusal(state, entry);
    case 'FLOOR':
      return floorRefusal(state, entry.seq);
    case 'PIN':
      return pinRefusal(state, entry);
    case 'UNPIN':
      return state.pins.has(entry.pin) ? null : refused(`there is no pin ${entry.pin}`, { pin: entry.pin });
  }
}

function openRefusal(state: JournalState, entry: OpenEntry): HoldfastError | null {
  const { previous, end, members, full, mode } = entry;
  if (previous !== state.current) return refused('another epoch was opened meanwhile', { current: state.current ?? 0 });
  if (previous === state.n + 1) return refused('an epoch was opened in this record', { epoch: previous });
  if (distinct(members.map(({ region }) => region)) < members.length || distinct(members.map(({ domain }) => domain)) < members.length)
    return refused('the members are not in distinct regions and failure domains');
  if (mode === 'pair' && members.length !== 2) return refused('a pair has two members', { members: members.length });
  const closing = currentEpoch(state);
  if (closing === undefined) return end === null && full.length === 0 ? null : refused('the first epoch closes none');
  if (end === null) return refused('the end of the epoch before is not given', { epoch: closing.epoch });
  const strangers = full.filter((region) => !closing.members.some((member) => member.region === region));
  if (strangers.length > 0 || full.length === 0 || distinct(full) < full.length)
    return refused('nobody, or somebody else than its members, is said to hold the epoch before', { epoch: closing.epoch });
  return endRefusal(state, closing, end, entry.tailLost);
}

const distinct = (names: readonly string[]): number => new Set(names).size;

function endRefusal(state: JournalState, closing: Epoch, end: EpochEnd, tailLost: boolean): HoldfastError | null {
  const details = { epoch: closing.epoch, index: end.index, seq: end.seq };
  if (end.seq < closing.start - 1 || (end.index < 0 && !isBegin(closing, end)))
    return refused('the epoch would end before it begins', details);
  const lost = basesAbove(state, closing, end);
  if (end.seq < state.floor || lost.some(({ to }) => to <= state.floor))
    return refused('the journal would end below its floor: begin a new one', { ...details, floor: state.floor });
  if (tailLost || (lost.length === 0 && pinsAbove(state, closing, end).length === 0)) return null;
  return new HoldfastError('TAIL_LOST', `epoch ${closing.epoch} would end at ${end.seq}, and points above were named`, details);
}

/** Whether a place before the first batch is that of this epoch. */
const isBegin = ({ start, before }: Epoch, { seq, digest }: Pick<EpochEnd, 'seq' | 'digest'>): boolean =>
  seq === start - 1 && digest === before;

const basesAbove = (state: JournalState, { epoch }: Epoch, end: EpochEnd): readonly BaseEntry[] =>
  [...state.bases.values()].flat().filter(({ at, to }) => at.epoch === epoch && (to > end.seq || at.index > end.index));

const pinsAbove = (state: JournalState, { epoch }: Epoch, end: EpochEnd): readonly PinEntry[] =>
  [...state.pins.values()].filter((pin) => pin.epoch === epoch && pin.seq > end.seq);

/** Whether a base lies in the epoch that it names. */
function placeRefusal(state: JournalState, { at, from, to }: BaseEntry): HoldfastError | null {
  const epoch = state.epochs.get(at.epoch);
  const details = { epoch: at.epoch, index: at.index, from, to };
  if (epoch === undefined) return refused(`there is no epoch ${at.epoch}`, details);
  if (at.seq > from || from > to) return refused('a base is finished where it begins, or later', details);
  const { end } = epoch;
  const begins = at.index < 0 ? isBegin(epoch, at) : at.seq >= epoch.start - 1;
  const ends = end === null || (to <= end.seq && at.index <= end.index);
  const fits = end === null || at.index < end.index || (at.seq === end.seq && at.digest === end.digest) || at.index < 0;
  return begins && ends && fits ? null : refused(`the base is not of epoch ${at.epoch}`, details);
}

function orderRefusal(state: JournalState, { region, at, from }: BaseEntry): HoldfastError | null {
  const highest = state.highest.get(region);
  if (highest === undefined) return null;
  const above = at.epoch > highest.epoch || (at.epoch === highest.epoch && from > highest.from && at.index >= highest.index);
  return above ? null : refused(`${region} has had a newer base`, { region, epoch: at.epoch, from });
}

/** A base that the floor has not passed hides what is older: only a region that lacks nothing may have it. */
function regionRefusal(state: JournalState, { region, at, to }: BaseEntry): HoldfastError | null {
  if (to <= state.floor) return null;
  const epoch = state.epochs.get(at.epoch);
  const follows = epoch?.end !== null || epoch.members.some((member) => member.region === region);
  return follows && isWhole(state, region) ? null : refused(`${region} does not hold what is before the base`, { region });
}

function floorRefusal(state: JournalState, seq: number): HoldfastError | null {
  if (seq <= state.floor) return refused('the floor is there, or higher', { floor: state.floor });
  const pinned = [...state.pins.values()].find((pin) => pin.seq < seq);
  if (pinned !== undefined) return refused(`${pinned.pin} pins ${pinned.seq}`, { pin: pinned.pin, seq: pinned.seq });
  const finished = [...state.bases.values()].some((bases) => bases.some(({ to }) => to === seq));
  return finished ? null : refused('no base is finished there', { seq });
}

function pinRefusal(state: JournalState, { pin, epoch, seq }: PinEntry): HoldfastError | null {
  const known = state.epochs.get(epoch);
  const inside = known !== undefined && seq >= known.start && (known.end === null || seq <= known.end.seq);
  if (!inside || seq < state.floor) return refused('the point is gone, or never was', { epoch, seq });
  const before = state.pins.get(pin);
  const same = before === undefined || (before.epoch === epoch && before.seq === seq);
  return same ? null : refused(`${pin} pins another point`, { pin, seq: before.seq });
}

/** The state after an admissible entry of record `seq`, leaving `state` as it is. */
export function applyEntry(state: JournalState, entry: JournalEntry, record: { readonly seq: number }): JournalState {
  switch (entry.kind) {
    case 'OPEN':
      return opened(state, entry, record.seq);
    case 'HELD':
      return withEpoch(state, entry.epoch, ({ full }) => ({ full: [...new Set([...full, entry.region])] }));
    case 'BASE': {
      const { region, at, from } = entry;
      const bases = new Map(state.bases).set(region, [...(state.bases.get(region) ?? []), entry]);
      return { ...state, bases, highest: new Map(state.highest).set(region, { epoch: at.epoch, index: at.index, from }) };
    }
    case 'FLOOR':
      return { ...state, floor: entry.seq };
    case 'PIN':
      return { ...state, pins: new Map(state.pins).set(entry.pin, entry) };
    case 'UNPIN': {
      const pins = new Map(state.pins);
      pins.delete(entry.pin);
      return { ...state, pins };
    }
  }
}

function withEpoch(state: JournalState, epoch: number, change: (epoch: Epoch) => Partial<Epoch>): JournalState {
  const known = state.epochs.get(epoch);
  return known === undefined ? state : { ...state, epochs: new Map(state.epochs).set(epoch, { ...known, ...change(known) }) };
}

function opened(state: JournalState, entry: OpenEntry, epoch: number): JournalState {
  const { owner, mode, members, end, full } = entry;
  const closing = currentEpoch(state);
  const closed = closing && end ? closedAt(state, closing, end, full) : state;
  const begin = { start: (end?.seq ?? 0) + 1, before: end?.digest ?? NO_DIGEST };
  const next: Epoch = { epoch, owner, mode, members, ...begin, end: null, full: [] };
  return { ...closed, current: epoch, epochs: new Map(closed.epochs).set(epoch, next) };
}

/** The state with its current epoch closed, and without what is lost by that. */
function closedAt(state: JournalState, closing: Epoch, end: EpochEnd, full: readonly string[]): JournalState {
  const lost = new Set(basesAbove(state, closing, end));
  const bases = new Map([...state.bases].map(([region, some]) => [region, some.filter((base) => !lost.has(base))]));
  const lostPins = new Set(pinsAbove(state, closing, end).map(({ pin }) => pin));
  const pins = new Map([...state.pins].filter(([pin]) => !lostPins.has(pin)));
  return { ...withEpoch(state, closing.epoch, () => ({ end, full })), bases, pins };
}
