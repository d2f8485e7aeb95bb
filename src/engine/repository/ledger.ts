/**
 * The ledger: the small half of a repository's state, which alone decides. A pure fold of the log's entries.
 *
 * `judge` says what stands against an entry at the next number; an inadmissible entry that is in the log all the same is
 * void for everybody. `applyEntry` changes the ledger that it is given (a fold owns its accumulator; `cloneLedger` makes
 * another), so that a log of a million records folds in seconds.
 *
 * R1: every attempt starts with a CLAIM; its number is its epoch and its object prefix; closing it is final.
 * R3: judged at prefix n, put at exactly n+1. The rules are docs/protocol.md's, row by row.
 */
import { CLAIMS_KEPT_MAX } from '../../domain/limits.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { Lineage, SnapshotId } from '../../domain/ids.ts';
import { reclaimObstacle, type SnapshotFacts } from '../../domain/lifecycle.ts';
import { COLLECTOR, type Actor, type ChangeRef, type Entry, type EntryOf } from './entries.ts';

export interface Snapshot {
  readonly id: SnapshotId;
  readonly lineage: Lineage;
  readonly root: string | null;
  readonly rootLocation: string | null;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly takenMs: number;
  readonly consistency: EntryOf<'COMMIT'>['consistency'];
  readonly label: string | null;
  /** Number of the record that committed it. */
  readonly seq: number;
  readonly hidden: boolean;
  readonly purge: boolean;
  /** Counts HIDE and UNHIDE: a request delivered twice finds another version and is refused. */
  readonly version: number;
  /** The diff from its predecessor; null for the first of its lineage, whose diff its tree implies. */
  readonly diff: ChangeRef | null;
}

export interface Claim {
  readonly actor: Actor;
  readonly epoch: number;
  readonly snapshot: SnapshotId | null;
  readonly owner: string;
  readonly attempt: number;
  /** The newest live snapshot when it was made: protected while the claim is open. */
  readonly base: SnapshotId | null;
  /** Earlier claims whose packs it adopted: open as long as it is. */
  readonly kept: readonly number[];
}

export interface Pin {
  readonly snapshot: SnapshotId;
  readonly untilMs: number;
  readonly why: string;
}

export interface Ledger {
  /** Records folded. */
  n: number;
  /** Digest of record n; empty at 0. */
  head: string;
  /** Lineage -> live snapshots in log order, hidden ones included. */
  readonly order: Map<Lineage, SnapshotId[]>;
  readonly snapshots: Map<SnapshotId, Snapshot>;
  /** Every id ever committed -> its root: ids are never reused, and a repeated commit learns that it is done. */
  readonly used: Map<SnapshotId, string | null>;
  readonly retired: Set<Lineage>;
  readonly claims: Map<Actor, Claim>;
  readonly pins: Map<string, Pin>;
}

export const emptyLedger = (): Ledger => ({
  n: 0,
  head: '',
  order: new Map(),
  snapshots: new Map(),
  used: new Map(),
  retired: new Set(),
  claims: new Map(),
  pins: new Map(),
});

export const cloneLedger = (ledger: Ledger): Ledger => ({
  ...ledger,
  order: new Map([...ledger.order].map(([lineage, ids]) => [lineage, [...ids]])),
  snapshots: new Map(ledger.snapshots),
  used: new Map(ledger.used),
  retired: new Set(ledger.retired),
  claims: new Map(ledger.claims),
  pins: new Map(ledger.pins),
});

/** Why an entry may not stand; `code` is what its author is told. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
}

const refuse = (code: ErrorCode, reason: string): Refusal => ({ code, reason });

// -- questions ------------------------------------------------------------------------------------------------------

export const newestOf = (ledger: Ledger, lineage: Lineage): SnapshotId | null => ledger.order.get(lineage)?.at(-1) ?? null;

export function neighboursOf(
  ledger: Ledger,
  snapshot: Snapshot,
): { readonly previous: SnapshotId | null; readonly next: SnapshotId | null } {
  const ids = ledger.order.get(snapshot.lineage) ?? [];
  const i = ids.indexOf(snapshot.id);
  return { previous: ids[i - 1] ?? null, next: ids[i + 1] ?? null };
}

/** A claim is closed for good once it is not open any more; one that this fold has not reached yet counts as open. */
export function isClosed(ledger: Ledger, claim: number): boolean {
  if (claim > ledger.n) return false;
  for (const open of ledger.claims.values()) if (open.epoch === claim || open.kept.includes(claim)) return false;
  return true;
}

export function factsOf(ledger: Ledger, snapshot: Snapshot): SnapshotFacts {
  const pinned = [...ledger.pins.values()].some((pin) => pin.snapshot === snapshot.id);
  const claim = ledger.claims.get(snapshot.lineage);
  return {
    committed: true,
    reclaimed: false,
    hidden: snapshot.hidden,
    pinned,
    baseOfAttempt: claim?.base === snapshot.id,
    newest: newestOf(ledger, snapshot.lineage) === snapshot.id,
    retired: ledger.retired.has(snapshot.lineage),
    purge: snapshot.purge,
  };
}

// -- the judge ------------------------------------------------------------------------------------------------------

/** What stands against `entry` right after the first n records, or null. Needs the ledger only. */
export function judge(ledger: Ledger, entry: Entry): Refusal | null {
  switch (entry.kind) {
    case 'CLAIM':
      return judgeClaim(ledger, entry);
    case 'ABORT':
    case 'HEAL':
      return ledger.claims.get(entry.actor)?.epoch === entry.epoch ? null : refuse('CLAIM_LOST', 'the claim is not open');
    case 'COMMIT':
      return judgeCommit(ledger, entry);
    case 'HIDE':
    case 'UNHIDE': {
      const snapshot = ledger.snapshots.get(entry.snapshot);
      if (!snapshot) return refuse('SNAPSHOT_NOT_FOUND', 'not a live snapshot');
      return snapshot.version === entry.version ? null : refuse('VISIBILITY_CHANGED', 'its visibility changed since');
    }
    case 'RECLAIM':
      return judgeReclaim(ledger, entry);
    case 'REPLACE':
      return judgeCollector(ledger, entry.epoch);
    case 'PIN':
      return ledger.snapshots.has(entry.snapshot) ? null : refuse('SNAPSHOT_GONE', 'not a live snapshot');
    case 'UNPIN':
      return ledger.pins.has(entry.pin) ? null : refuse('SNAPSHOT_NOT_FOUND', 'no such pin');
    case 'RETIRE':
      return null;
  }
}

function judgeClaim(ledger: Ledger, entry: EntryOf<'CLAIM'>): Refusal | null {
  if (entry.actor !== COLLECTOR && ledger.retired.has(entry.actor)) return refuse('VOLUME_RETIRED', 'the lineage was retired');
  const open = ledger.claims.get(entry.actor);
  const stale = open !== undefined && open.snapshot === entry.snapshot && open.owner === entry.owner && entry.attempt <= open.attempt;
  return stale ? refuse('CLAIM_LOST', `attempt ${open.attempt} of the same run has claimed`) : null;
}

function judgeCommit(ledger: Ledger, entry: EntryOf<'COMMIT'>): Refusal | null {
  if (ledger.used.has(entry.snapshot)) return refuse('RECORD_REFUSED', 'the snapshot id was used before');
  if (ledger.claims.get(entry.lineage)?.epoch !== entry.epoch) return refuse('CLAIM_LOST', 'its claim is not the open one');
  if (newestOf(ledger, entry.lineage) !== entry.parent) return refuse('PARENT_MOVED', 'its parent is not the newest snapshot');
  return null;
}

const judgeCollector = (ledger: Ledger, epoch: number): Refusal | null =>
  ledger.claims.get(COLLECTOR)?.epoch === epoch ? null : refuse('CLAIM_LOST', 'another collector has taken over');

function judgeReclaim(ledger: Ledger, entry: EntryOf<'RECLAIM'>): Refusal | null {
  const fenced = judgeCollector(ledger, entry.epoch);
  if (fenced) return fenced;
  const snapshot = ledger.snapshots.get(entry.snapshot);
  if (!snapshot) return refuse('SNAPSHOT_GONE', 'not a live snapshot');
  const { previous, next } = neighboursOf(ledger, snapshot);
  if (previous !== entry.previous || next !== entry.next) return refuse('RECORD_REFUSED', 'its neighbours changed');
  const obstacle = reclaimObstacle(factsOf(ledger, snapshot));
  return obstacle === null ? null : refuse('SNAPSHOT_PINNED', obstacle);
}

// -- the fold -------------------------------------------------------------------------------------------------------

/** Applies an admissible entry of record `seq`. */
export function applyEntry(ledger: Ledger, entry: Entry, seq: number): void {
  switch (entry.kind) {
    case 'CLAIM':
      return applyClaim(ledger, entry, seq);
    case 'ABORT':
      return void ledger.claims.delete(entry.actor);
    case 'COMMIT':
      return applyCommit(ledger, entry, seq);
    case 'HIDE':
      return update(ledger, entry.snapshot, (s) => ({ ...s, hidden: true, purge: s.purge || entry.purge, version: s.version + 1 }));
    case 'UNHIDE':
      return update(ledger, entry.snapshot, (s) => ({ ...s, hidden: false, purge: false, version: s.version + 1 }));
    case 'RECLAIM':
      return applyReclaim(ledger, entry);
    case 'REPLACE':
    case 'HEAL':
      return;
    case 'PIN':
      return void ledger.pins.set(entry.pin, { snapshot: entry.snapshot, untilMs: entry.untilMs, why: entry.why });
    case 'UNPIN':
      return void ledger.pins.delete(entry.pin);
    case 'RETIRE':
      ledger.retired.add(entry.lineage);
      return void ledger.claims.delete(entry.lineage);
  }
}

function update(ledger: Ledger, id: SnapshotId, change: (snapshot: Snapshot) => Snapshot): void {
  const snapshot = ledger.snapshots.get(id);
  if (snapshot) ledger.snapshots.set(id, change(snapshot));
}

function applyClaim(ledger: Ledger, entry: EntryOf<'CLAIM'>, seq: number): void {
  const before = ledger.claims.get(entry.actor);
  const kept = entry.adopt && before ? [before.epoch, ...before.kept].slice(0, CLAIMS_KEPT_MAX) : [];
  ledger.claims.set(entry.actor, {
    actor: entry.actor,
    epoch: seq,
    snapshot: entry.snapshot,
    owner: entry.owner,
    attempt: entry.attempt,
    base: entry.actor === COLLECTOR ? null : newestOf(ledger, entry.actor),
    kept,
  });
}

function applyCommit(ledger: Ledger, entry: EntryOf<'COMMIT'>, seq: number): void {
  const { kind: _, epoch: __, parent: ___, change, snapshot: id, ...facts } = entry;
  const order = ledger.order.get(entry.lineage) ?? [];
  ledger.snapshots.set(id, { id, ...facts, seq, hidden: false, purge: false, version: 0, diff: order.length > 0 ? change : null });
  ledger.order.set(entry.lineage, [...order, id]);
  ledger.used.set(id, entry.root);
  ledger.claims.delete(entry.lineage);
}

function applyReclaim(ledger: Ledger, entry: EntryOf<'RECLAIM'>): void {
  const snapshot = ledger.snapshots.get(entry.snapshot);
  if (!snapshot) return;
  const rest = (ledger.order.get(snapshot.lineage) ?? []).filter((id) => id !== snapshot.id);
  if (rest.length > 0) ledger.order.set(snapshot.lineage, rest);
  else ledger.order.delete(snapshot.lineage);
  ledger.snapshots.delete(snapshot.id);
  if (entry.next !== null) update(ledger, entry.next, (s) => ({ ...s, diff: entry.previous === null ? null : entry.change }));
}
