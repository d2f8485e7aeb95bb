/**
 * The judge of a journal's run: it sees every object at the instant that it is put or deleted, and says what may not be.
 *
 * Beside the real fold of the log it knows each batch as it was first put, by place (J2: one payload a place), the history that each
 * record ends (histories.ts), and what was acknowledged to whom. It judges harm, not obedience: with a safeguard taken out of the
 * real code its fold lacks it, too, and what has to fail then is a byte or a promise.
 *
 *   at a put      one payload a place; a copy is the same to the byte; what it follows is known
 *   at a record   it stands at n + 1 and is admissible; epochs join in numbers and digests; whoever is said to hold an epoch holds it;
 *                 an exact base is the point
 *   at a delete   nothing that the region claims to have and needs; a seal that goes is missed when somebody writes in its place
 *   at an ack     below the end that the log gives, or in both members with all before it
 */
import { entriesOf } from './log-records.ts';
import { readBatch, lastOf, type Batch } from '../../../src/engine/journal/batch.ts';
import type { BaseEntry, JournalEntry } from '../../../src/engine/journal/entries.ts';
import { parseBatchName, type BatchName } from '../../../src/engine/journal/object-names.ts';
import { ownerName } from '../../../src/engine/journal/takeover/owner-mark.ts';
import { applyEntry, EMPTY_JOURNAL, refusalOf, type Epoch, type JournalState } from '../../../src/engine/journal/state.ts';
import type { SealingKey } from '../../../src/ground/sealing/envelope.ts';
import type { ObjectsObserver } from '../objects.ts';
import { Violation } from '../violation.ts';
import { sameContent, type Histories, type Moment } from './histories.ts';
import { isNeededBy } from './reference.ts';
import { readSnapshot } from './snapshots.ts';
import type { SimulatedRegion } from './world.ts';

/** A batch as it was first put. */
export interface Born extends Batch {
  readonly stored: Buffer;
  readonly last: number;
  /** After each of its records, and after all of it. */
  readonly moments: readonly Moment[];
  readonly moment: Moment;
}

type Waiting = Omit<Born, 'moments' | 'moment'>;

export interface Oracle {
  state(): JournalState;
  readonly log: ObjectsObserver;
  region(name: string): ObjectsObserver;
  /** A region that lost all it had: what must be held elsewhere. */
  destroyed(name: string): void;
  /** An owner of `epoch` has told its client that everything up to `seq` is durable. */
  acknowledged(epoch: number, seq: number, moment: Moment): void;
  /** An owner of `epoch` has ended, and says that all its members hold everything up to `seq` and say so. */
  drained(epoch: number, seq: number, moment: Moment): void;
  /** A reader was shown a record. */
  saw(seq: number, moment: Moment): void;
  /** The moment at a digest of the chain. */
  momentAt(digest: string): Moment;
  /** The moment of a number in an epoch, or right before its first; null: nobody has written it. */
  momentOf(epoch: number, seq: number): Moment | null;
  born(epoch: number, index: number): Born | undefined;
  /** The batch as a region holds it, by either name. */
  held(region: string, epoch: number, index: number): Born | undefined;
  /** The moments of closed epochs, by number. */
  readonly closed: readonly Moment[];
  /** An object of a region is there no more, and nobody was told. */
  vanished(region: string, place: BatchName): void;
  /** Whether these bytes are the batch that was first put there. */
  isBatch(place: BatchName, stored: Buffer): boolean;
  isGone(region: string): boolean;
}

const NOTHING = '0'.repeat(64);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const keyOf = ({ copy, epoch, index }: BatchName): string => `${copy ? 'b' : 'e'}${placeOf(epoch, index)}`;
const placeOf = (epoch: number, index: number): string => `${epoch}/${index}`;

export interface OracleOptions {
  readonly key: SealingKey;
  readonly histories: Histories;
  readonly regions: () => ReadonlyMap<string, SimulatedRegion>;
  readonly count: (what: string) => void;
  readonly trace: ((line: string) => void) | null;
}

export function createOracle({ key, histories, regions, count, trace }: OracleOptions): Oracle {
  /** The bytes that were first put at each place; and the batches whose whole history is known. */
  const first = new Map<string, Buffer>();
  const born = new Map<string, Born>();
  /** Batches that landed before the one that they follow, by the digest before them. */
  const waiting = new Map<string, readonly Waiting[]>();
  /** What each region holds as it was first put, by name and place. */
  const holding = new Map<string, Set<string>>();
  /** What has vanished from regions: no safeguard's fault. */
  const excused = new Map<string, Set<string>>();
  const moments = new Map<string, Moment>([[NOTHING, 0]]);
  const acknowledged = new Map<number, Moment>();
  const visible = new Map<number, Moment>();
  const closed: Moment[] = [0];
  const gone = new Set<string>();
  /** Epochs that somebody has closed with consent to a loss. */
  const consented = new Set<number>();
  /** The newest number of epochs that were handed over. */
  const handed = new Map<number, { readonly seq: number; readonly moment: Moment }>();
  let state: JournalState = EMPTY_JOURNAL;

  const regionOf = (region: string): SimulatedRegion => {
    const known = regions().get(region);
    if (known === undefined) throw new Error(`no region is called ${region}`);
    return known;
  };
  const momentAt = (digest: string): Moment => {
    const moment = moments.get(digest);
    if (moment === undefined) throw new Violation('a chain goes on from a digest that no batch has');
    return moment;
  };
  const held = (region: string, epoch: number, index: number): Born | undefined => {
    const place = placeOf(epoch, index);
    const is = (name: string): boolean => holding.get(region)?.has(name) === true || excused.get(region)?.has(name) === true;
    return is(`e${place}`) || is(`b${place}`) ? born.get(place) : undefined;
  };

  // ---- objects of regions

  const birth = (name: string, epoch: number, index: number, stored: Buffer): void => {
    const known = first.get(placeOf(epoch, index));
    if (known !== undefined) {
      if (!known.equals(stored) && readBatch(key, { epoch, index }, name, stored) !== null)
        throw new Violation(`two payloads under one name: ${name}`);
      return;
    }
    const batch = readBatch(key, { epoch, index }, name, stored);
    if (batch === null) return count('seals');
    first.set(placeOf(epoch, index), stored);
    count('batches');
    const one: Waiting = { ...batch, stored, last: lastOf(batch) };
    const before = hex(batch.before);
    // Several are under way at once, and land in any order.
    if (moments.has(before)) join(one);
    else waiting.set(before, [...(waiting.get(before) ?? []), one]);
  };

  /** Takes in a batch of which all before it is known, and those that waited for it. */
  const join = (one: Waiting): void => {
    let moment = momentAt(hex(one.before));
    const after = one.records.map((record) => {
      moment = histories.after(moment, record);
      histories.contentOf(moment);
      return moment;
    });
    const digest = hex(one.after);
    if ((moments.get(digest) ?? moment) !== moment) throw new Violation('one digest stands for two histories');
    moments.set(digest, moment);
    born.set(placeOf(one.epoch, one.index), { ...one, moments: after, moment });
    const next = waiting.get(digest) ?? [];
    waiting.delete(digest);
    for (const behind of next) join(behind);
  };

  const put = (region: string, name: string, stored: Buffer): void => {
    const place = parseBatchName(name);
    if (place === null) return;
    birth(name, place.epoch, place.index, stored);
    const isBatch = first.get(placeOf(place.epoch, place.index))?.equals(stored) === true;
    const there = holding.get(region) ?? new Set();
    holding.set(region, there);
    if (isBatch) there.add(keyOf(place));
    else there.delete(keyOf(place));
    if (place.copy && !isBatch) throw new Violation(`${name} in ${region} is no copy of what was put there`);
    if (place.copy) count('batches copied');
  };

  const deleted = (region: string, name: string): void => {
    const place = parseBatchName(name);
    if (place === null) return;
    const { epoch, index } = place;
    holding.get(region)?.delete(keyOf(place));
    excused.get(region)?.delete(keyOf(place));
    if (!place.copy && !first.has(placeOf(epoch, index))) return count('seals deleted');
    count('batches collected');
    const known = state.epochs.get(epoch);
    if (known === undefined) throw new Violation(`${name} of an epoch that nobody has opened was deleted in ${region}`);
    if (known.end !== null && index > known.end.index) return;
    if (claims(region, known) && isNeededBy(state, region, epoch, index) && held(region, epoch, index) === undefined)
      throw new Violation(`batch ${index} of epoch ${epoch} was deleted in ${region}, which needs it`);
  };

  const claims = (region: string, { end, full, members }: Epoch): boolean =>
    end === null ? members.some((member) => member.region === region) : full.includes(region);

  // ---- the log

  const record = (name: string, stored: Buffer): void => {
    const seq = Number(name.slice('log/'.length));
    if (seq !== state.n + 1) throw new Violation(`record ${seq} was accepted while the log stood at ${state.n}`);
    const { entries, digest } = entriesOf(key, name, stored);
    for (const entry of entries) {
      trace?.(`       record ${seq}: ${describe(entry)}`);
      const refusal = refusalOf(state, entry);
      if (refusal !== null) throw new Violation(`the log holds an inadmissible ${entry.kind}: ${refusal.message}`);
      const before = state;
      state = applyEntry(state, entry, { seq });
      admitted(entry, before);
      count(`record: ${entry.kind}`);
    }
    state = { ...state, n: seq, head: digest };
  };

  const admitted = (entry: JournalEntry, before: JournalState): void => {
    if (entry.kind === 'OPEN') {
      const epoch = before.current === null ? undefined : state.epochs.get(before.current);
      if (!entry.tailLost) checkKept(before);
      // An owner that goes on has what it leaves behind in hand; anybody else has to take what the members have, or to be allowed not to.
      const goesOn = epoch !== undefined && ownerName(epoch.owner) === ownerName(entry.owner);
      if (epoch !== undefined && entry.tailLost) consented.add(epoch.epoch);
      if (epoch !== undefined) checkClosed(epoch, epoch.mode === 'local' && !goesOn && !entry.tailLost);
      if (epoch !== undefined) checkHanded(epoch);
      checkAcknowledged();
    }
    if (entry.kind === 'HELD') {
      const epoch = state.epochs.get(entry.epoch);
      if (epoch !== undefined) checkHolder(epoch, entry.region);
    }
    if (entry.kind === 'BASE') checkBase(entry);
    if (entry.kind === 'FLOOR')
      for (const { seq, pin } of state.pins.values()) if (seq < entry.seq) throw new Violation(`the floor passed pin ${pin}`);
  };

  /** Nothing that the log has named went without consent. */
  const checkKept = (before: JournalState): void => {
    for (const [name, { seq }] of before.pins)
      if (!state.pins.has(name)) throw new Violation(`pin ${name} at ${seq} is lost, and nobody consented`);
    for (const [region, bases] of before.bases)
      if (state.bases.get(region)?.length !== bases.length) throw new Violation(`a base of ${region} is lost, and nobody consented`);
  };

  /** What an epoch has come to be, now that its end is known. */
  const checkClosed = (epoch: Epoch, promisedTail: boolean): void => {
    const { end } = epoch;
    if (end === null) throw new Violation(`epoch ${epoch.epoch} is not closed by the next`);
    if (closed.length !== epoch.start) throw new Violation(`epochs do not join at ${epoch.start}`);
    let digest = epoch.before;
    for (let index = 0; index <= end.index; index++) {
      const batch = born.get(placeOf(epoch.epoch, index));
      if (batch === undefined) throw new Violation(`the log names batch ${index} of epoch ${epoch.epoch}, which nobody has put`);
      if (batch.first !== closed.length || hex(batch.before) !== digest)
        throw new Violation(`the chain of epoch ${epoch.epoch} breaks at ${index}`);
      closed.push(...batch.moments);
      digest = hex(batch.after);
      checkSomewhere(epoch, index);
    }
    if (end.seq !== closed.length - 1 || end.digest !== digest)
      throw new Violation(`the end of epoch ${epoch.epoch} is not where its batches end`);
    for (const region of epoch.full) checkHolder(epoch, region);
    if (promisedTail)
      for (const { region } of epoch.members)
        if (!gone.has(region) && born.has(placeOf(epoch.epoch, end.index + 1)) && chainReaches(region, epoch, end.index + 1))
          throw new Violation(`epoch ${epoch.epoch} ends at ${end.index}, though ${region} holds more, and nobody consented`);
    for (let seq = epoch.start; seq < closed.length; seq++) see(epoch.mode, seq, closed[seq] ?? 0);
  };

  const chainReaches = (region: string, epoch: Epoch, index: number): boolean => {
    for (let i = index; i >= 0 && isNeededBy(state, region, epoch.epoch, i); i--)
      if (holding.get(region)?.has(`e${placeOf(epoch.epoch, i)}`) !== true) return false;
    return true;
  };

  const checkSomewhere = ({ epoch }: Epoch, index: number): void => {
    const living = [...regions().keys()].filter((region) => !gone.has(region));
    if (!living.some((region) => held(region, epoch, index) !== undefined || !isNeededBy(state, region, epoch, index)))
      throw new Violation(`batch ${index} of epoch ${epoch}, below its end, is nowhere`);
  };

  const checkHolder = ({ epoch, end }: Epoch, region: string): void => {
    if (gone.has(region)) return;
    for (let index = 0; index <= (end?.index ?? -1); index++)
      if (isNeededBy(state, region, epoch, index) && held(region, epoch, index) === undefined)
        throw new Violation(`${region} is said to hold epoch ${epoch}, and lacks batch ${index}`);
  };

  const checkBase = ({ region, snapshots, from, to, at }: BaseEntry): void => {
    if (at.index >= 0 && hex(born.get(placeOf(at.epoch, at.index))?.after ?? NEVER) !== at.digest)
      throw new Violation(`a base lies at batch ${at.index} of epoch ${at.epoch}, which is another one`);
    if (gone.has(region)) return;
    const content = readSnapshot(regionOf(region), snapshots);
    if (content === null) throw new Violation(`a base of ${region} names a snapshot that is not there`);
    const moment = momentOf(at.epoch, to);
    if (from === to && moment !== null && !sameContent(content, histories.contentOf(moment)))
      throw new Violation(`the base of ${region} at ${to} is not what was written by then`);
  };

  const momentOf = (epoch: number, seq: number): Moment | null => {
    const known = state.epochs.get(epoch);
    if (known === undefined) return null;
    if (known.end !== null || seq < known.start) return closed[seq] ?? null;
    for (let index = 0; ; index++) {
      const batch = born.get(placeOf(epoch, index));
      if (batch === undefined) return null;
      if (batch.last >= seq) return batch.moments[seq - batch.first] ?? null;
    }
  };

  // ---- promises

  const see = (mode: Epoch['mode'], seq: number, moment: Moment): void => {
    if (mode === 'local') return;
    if ((visible.get(seq) ?? moment) !== moment) throw new Violation(`two payloads could be read at ${seq}`);
    visible.set(seq, moment);
  };

  /** A planned switch loses nothing, and needs neither a file nor anybody's consent. */
  const checkHanded = ({ epoch, end }: Epoch): void => {
    const last = handed.get(epoch);
    if (last === undefined || consented.has(epoch) || end === null) return;
    if (end.seq !== last.seq || closed[last.seq] !== last.moment)
      throw new Violation(`epoch ${epoch} was handed over at ${last.seq}, and ends at ${end.seq}`);
  };

  const checkAcknowledged = (): void => {
    for (const [seq, moment] of acknowledged) checkPromise(seq, moment);
  };

  const checkPromise = (seq: number, moment: Moment): void => {
    if (seq < closed.length) {
      if (closed[seq] !== moment) throw new Violation(`acknowledged write ${seq} was lost or replaced`);
      return;
    }
    const epoch = state.current === null ? undefined : state.epochs.get(state.current);
    for (const { region } of epoch?.members ?? [])
      if (!gone.has(region) && !isInChain(region, epoch?.epoch ?? 0, seq, moment))
        throw new Violation(`acknowledged write ${seq} is not in member ${region}`);
  };

  const isInChain = (region: string, epoch: number, seq: number, moment: Moment): boolean => {
    for (let index = 0; ; index++) {
      const batch = born.get(placeOf(epoch, index));
      if (batch === undefined || (isNeededBy(state, region, epoch, index) && held(region, epoch, index) === undefined)) return false;
      if (batch.last >= seq) return batch.moments[seq - batch.first] === moment;
    }
  };

  /** Whether a batch in a region says that everything up to there is acknowledged; below the floor the log does, and no batch needs to be there. */
  const isSaid = (region: string, epoch: number, seq: number): boolean => {
    if (seq <= state.floor) return true;
    for (let index = 0; ; index++) {
      const batch = born.get(placeOf(epoch, index));
      if (batch === undefined) return false;
      if (batch.acknowledged >= seq && holding.get(region)?.has(`e${placeOf(epoch, index)}`) === true) return true;
    }
  };

  return {
    state: () => state,
    closed,
    momentAt,
    momentOf,
    held,
    born: (epoch, index) => born.get(placeOf(epoch, index)),
    vanished: (region, place) => void excused.set(region, new Set(excused.get(region)).add(keyOf(place))),
    isBatch: ({ epoch, index }, stored) => first.get(placeOf(epoch, index))?.equals(stored) === true,
    isGone: (region) => gone.has(region),
    log: {
      put: record,
      deleted: (name) => {
        throw new Violation(`${name} of the log was deleted`);
      },
    },
    region: (name) => ({
      put: (object, stored) => put(name, object, stored),
      deleted: (object) => deleted(name, object),
    }),
    destroyed(name) {
      gone.add(name);
      holding.delete(name);
      for (const epoch of state.epochs.values())
        if (epoch.end !== null) for (let index = 0; index <= epoch.end.index; index++) checkSomewhere(epoch, index);
      checkAcknowledged();
    },
    acknowledged(epoch, seq, moment) {
      const known = state.epochs.get(epoch);
      if (known?.mode !== 'pair') return;
      // Told again: it is looked at again at each record, and when something is deleted.
      if (acknowledged.get(seq) === moment) return;
      if (acknowledged.has(seq)) throw new Violation(`two payloads were acknowledged at ${seq}`);
      acknowledged.set(seq, moment);
      count('flushes acknowledged');
      if (epoch !== state.current) count('flushes acknowledged late, and truly');
      checkPromise(seq, moment);
    },
    drained(epoch, seq, moment) {
      const known = state.epochs.get(epoch);
      if (known === undefined) throw new Violation(`epoch ${epoch}, which nobody has opened, was drained`);
      handed.set(epoch, { seq, moment });
      if (known.end !== null) return checkHanded(known);
      if (seq < known.start) return;
      for (const { region } of known.members) {
        if (gone.has(region)) continue;
        if (!isInChain(region, epoch, seq, moment)) throw new Violation(`an owner is drained at ${seq}, which ${region} does not hold`);
        if (!isSaid(region, epoch, seq)) throw new Violation(`an owner is drained at ${seq}, and ${region} does not say so`);
      }
    },
    saw: (seq, moment) => see('pair', seq, moment),
  };
}

const NEVER = Buffer.alloc(1);

function describe(entry: JournalEntry): string {
  switch (entry.kind) {
    case 'OPEN':
      return `OPEN by ${entry.owner}, ${entry.mode}, members ${entry.members.map(({ region }) => region).join()}, ends ${entry.previous ?? '-'} at ${entry.end?.index ?? '-'}/${entry.end?.seq ?? '-'}, full ${entry.full.join()}${entry.tailLost ? ', tail lost' : ''}`;
    case 'BASE':
      return `BASE of ${entry.region}, ${entry.from} to ${entry.to}, at ${entry.at.epoch}/${entry.at.index}`;
    case 'HELD':
      return `HELD ${entry.epoch} by ${entry.region}`;
    default:
      return JSON.stringify(entry);
  }
}
