/**
 * Opens the journal of a group, and makes its volumes and its journal one again, after whatever ended the last time
 * (docs/protection.md, section 3).
 *
 *     take over ──▶ records above what is synced, again ──▶ what was changed under numbers that are gone, as it is now
 *
 * Invariants. Nobody is fenced who is not this group's own earlier self, or this host's. Before a step that a crash must not hide, the state says
 * that order is lost. What comes back with `order: 'lost'` needs a gap before its first record.
 */
import path from 'node:path';
import { JOURNAL_WRITE_BYTES_MAX, PROTECTION_BATCH_MS } from '../../domain/limits.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import { openLocal } from '../../engine/journal/owning/own-file.ts';
import { Owner, type JournalOp, type OwnerLimits } from '../../engine/journal/owning/owner.ts';
import type { JournalRecord } from '../../engine/journal/records.ts';
import { currentEpoch } from '../../engine/journal/state.ts';
import type { Opened } from '../../engine/journal/takeover/opened.ts';
import { ownerName } from '../../engine/journal/takeover/owner-mark.ts';
import { takeOver } from '../../engine/journal/takeover/take-over.ts';
import type { WriteAhead } from '../../engine/journal/write-ahead/write-ahead.ts';
import type { GroupRecord } from '../../engine/volumes/disks/group-record.ts';
import type { ServedVolume } from '../../engine/volumes/served-volume.ts';
import { bootId, readGroupState, writeGroupState, type GroupState } from './group-state.ts';
import type { Places, Stretch } from './places.ts';
import { recordsOfRegions, redo } from './redo.ts';

export interface OpeningOptions {
  readonly group: GroupRecord;
  /** Where the state and the write-ahead file lie. */
  readonly folder: string;
  readonly journal: Journal;
  readonly volumes: readonly ServedVolume[];
  readonly places: Places;
  readonly limits?: Partial<OwnerLimits>;
}

export interface OpenedGroup {
  readonly owner: Owner;
  readonly writeAhead: WriteAhead | null;
  readonly state: GroupState;
}

export const stateFileOf = (folder: string): string => path.join(folder, 'state.json');
export const writeAheadFolderOf = (folder: string): string => path.join(folder, 'wal');

/** JOURNAL_FENCED: somebody else owns it. STORE_UNREACHABLE, TAIL_LOST: to be tried again. */
export async function openGroup(options: OpeningOptions): Promise<OpenedGroup> {
  const { group, folder, journal, volumes, places } = options;
  const boot = await bootId();
  const found = await readGroupState(stateFileOf(folder));
  await using opening = new AsyncDisposableStack();
  const { opened, writeAhead, carried } = await (group.mode === 'local' ? openOwnFile : openOwnPair)(
    options,
    await takenFrom(options, found),
  );
  if (writeAhead !== null) opening.use(writeAhead);
  const owner = opening.use(ownerOf(options, { opened, writeAhead, carried }));
  /** The last number that survived. */
  const end = owner.next - 1;
  const begun = { format: 1 as const, boot, clean: null };
  const lost = (synced: number): GroupState => ({ ...begun, synced, order: 'lost', gap: found?.gap ?? null });
  const how = await howItEnded({ found, boot, end, volumes, places, writeAhead });
  let state: GroupState = lost(found?.synced ?? 0);
  if (how.kind === 'machine lost') {
    const from = state.synced + 1;
    const inFile = writeAhead !== null && (writeAhead.contents.segments[0]?.next ?? Infinity) <= from;
    await redo(volumes, inFile ? writeAhead.contents.records(from) : recordsOfRegions(journal, from, end));
    for (const volume of volumes) await volume.sync();
    state = lost(end);
  }
  await writeGroupState(stateFileOf(folder), state);
  if (how.kind === 'killed') {
    for (const stretch of how.stretches) await appendAsItIs(owner, volumes, stretch);
    if (how.stretches.length > 0) await owner.flush();
  }
  if (how.kind === 'killed' || how.kind === 'whole') {
    state = { ...state, order: 'kept' };
    await writeGroupState(stateFileOf(folder), state);
  }
  places.clear();
  opening.move();
  return { owner, writeAhead, state };
}

interface OpenedJournal {
  readonly opened: Opened;
  readonly writeAhead: WriteAhead | null;
  readonly carried: readonly JournalRecord[];
}

type From = 'own' | 'anyone';

/** A group that has no state yet goes on with a journal that this host has ended; any other journal is somebody's. */
async function takenFrom({ group, journal }: OpeningOptions, found: GroupState | null): Promise<From> {
  const current = currentEpoch(await journal.log.sync());
  return found === null && current !== undefined && hostOf(current.owner) === hostOf(group.owner) ? 'anyone' : 'own';
}

/** An owner is named by its host, a blank, and more. */
const hostOf = (owner: string): string => owner.slice(0, owner.indexOf(' '));

function openOwnFile({ group, folder, journal }: OpeningOptions, from: From): Promise<OpenedJournal> {
  const { owner, members } = group;
  return openLocal({ journal, folder: writeAheadFolderOf(folder), owner, members, from, tailLost: false });
}

/** Opens the first epoch, or the next one. */
async function openOwnPair({ group, journal }: OpeningOptions, from: From): Promise<OpenedJournal> {
  const { owner, mode, members } = group;
  const isFirst = currentEpoch(await journal.log.sync()) === undefined;
  const own = { isOwner: (who: string) => ownerName(who) === owner, from: Number.MAX_SAFE_INTEGER };
  const opened = await takeOver(journal, { owner, mode, members, tailLost: false, ...(isFirst || from === 'anyone' ? {} : { own }) });
  return { opened, writeAhead: null, carried: [] };
}

function ownerOf({ group, journal, limits }: OpeningOptions, { opened, writeAhead, carried }: OpenedJournal): Owner {
  const spares = group.members.filter(({ region }) => !opened.members.some((member) => member.region === region));
  return new Owner({ journal, opened, writeAhead, carried, spares, limits: { batchMs: PROTECTION_BATCH_MS, ...limits } });
}

type Ended =
  /** Volumes and journal are one, as far as that is known. */
  | { readonly kind: 'whole' }
  /** These were changed under numbers that are gone. */
  | { readonly kind: 'killed'; readonly stretches: readonly Stretch[] }
  | { readonly kind: 'machine lost' }
  | { readonly kind: 'order lost' };

interface Looked {
  readonly found: GroupState | null;
  readonly boot: string;
  readonly end: number;
  readonly volumes: readonly ServedVolume[];
  readonly places: Places;
  readonly writeAhead: WriteAhead | null;
}

async function howItEnded({ found, boot, end, volumes, places, writeAhead }: Looked): Promise<Ended> {
  if (found === null) return { kind: 'order lost' };
  const { clean, synced, order } = found;
  if (clean === null && found.boot !== boot) return { kind: 'machine lost' };
  // A synced part of the write-ahead file is damaged.
  if (order === 'lost' || (writeAhead?.contents.unsound.length ?? 0) > 0) return { kind: 'order lost' };
  if (clean === null) {
    // However far the volumes were synced: places have whatever was changed above the end.
    const stretches = places.above(end);
    return stretches === null ? { kind: 'order lost' } : { kind: 'killed', stretches };
  }
  if (end < synced) return { kind: 'order lost' };
  const stamps = await Promise.all(volumes.map((volume) => volume.stamp()));
  return stamps.length === clean.length && stamps.every((stamp, i) => stamp === clean[i]) ? { kind: 'whole' } : { kind: 'order lost' };
}

/** Nobody writes to the volumes meanwhile. */
async function appendAsItIs(owner: Owner, volumes: readonly ServedVolume[], { volume: number, offset, length }: Stretch): Promise<void> {
  const volume = volumes[number];
  if (volume === undefined) return;
  for (let at = offset; at < offset + length; at += JOURNAL_WRITE_BYTES_MAX) {
    const bytes = Math.min(JOURNAL_WRITE_BYTES_MAX, offset + length - at);
    const isZero = volume.readsZero(at, bytes);
    const data = Buffer.alloc(isZero ? 0 : bytes);
    if (!isZero) volume.readNow(data, at);
    const op: JournalOp = isZero
      ? { kind: 'zero', volume: number, offset: at, length: bytes }
      : { kind: 'write', volume: number, offset: at, data };
    await owner.append([op]);
  }
}
