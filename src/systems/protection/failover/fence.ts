/**
 * The journal is this host's from now on: whoever had it is refused, and learns so (docs/journal.md, section 8).
 *
 * In mode `local` with the write-ahead file that the group will go on with, so that its opening finds the epoch to be its own. A try that was
 * killed is found by the name in the log.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import type { Journal } from '../../../engine/journal/journal.ts';
import { openLocal } from '../../../engine/journal/owning/own-file.ts';
import { takeOver } from '../../../engine/journal/takeover/take-over.ts';
import type { Host } from '../../../engine/volumes/host.ts';
import { writeAheadFolderOf } from '../opening.ts';
import { groupFolderOf, readFailover, writeFailover, type FailoverNote } from './note.ts';
import { takenBy } from './owned.ts';

export interface Fenced {
  /** The one that was closed, and where. */
  readonly closedEpoch: number;
  readonly end: number;
  /** This host's. */
  readonly epoch: number;
  readonly fencingMs: number;
}

export interface Fencing {
  readonly tailLost: boolean;
  /** The number at which the old host said that the journal ends; null: it was not asked. */
  readonly told: number | null;
}

/** TAIL_LOST, with what may be lost in words; STORE_UNREACHABLE; JOURNAL_FENCED when somebody else was faster. */
export async function fence(host: Host, journal: Journal, { tailLost, told: saidNow }: Fencing): Promise<Fenced> {
  const note = await noteOf(host, journal.name);
  const fencingMs = note.fencingMs ?? journal.environment.nowMs();
  const told = saidNow ?? note.told;
  if (note.fencingMs === null || note.told !== told) await writeFailover(host, { ...note, fencingMs, told });
  if (takenBy(await journal.log.sync(), note.group.owner) === null) await take(host, journal, note, tailLost);
  const taken = takenBy(await journal.log.sync(), note.group.owner);
  if (taken === null) throw new HoldfastError('INTERNAL', 'a journal that was taken over is not', { journal: journal.name });
  if (told !== null && taken.end !== told)
    throw new HoldfastError(
      'TAIL_LOST',
      `the old host ended at ${told}, and the journal at ${taken.end}: the disks are served nowhere; a failover that is not planned goes on from there`,
      { told, end: taken.end },
    );
  return { closedEpoch: taken.closed.epoch, end: taken.end, epoch: taken.epoch.epoch, fencingMs };
}

async function take(host: Host, journal: Journal, { group }: FailoverNote, tailLost: boolean): Promise<void> {
  const { owner, mode, members } = group;
  try {
    if (mode === 'pair') return void (await takeOver(journal, { owner, mode, members, tailLost }));
    const folder = writeAheadFolderOf(groupFolderOf(host).stateOf(group.journal));
    const { writeAhead } = await openLocal({ journal, folder, owner, members, from: 'anyone', tailLost });
    await writeAhead[Symbol.asyncDispose]();
  } catch (error) {
    throw isHoldfastError(error, 'TAIL_LOST') ? inWords(error) : error;
  }
}

function inWords(error: HoldfastError): HoldfastError {
  const { acknowledged, silent } = error.details;
  const where = Array.isArray(silent) && silent.length > 0 ? silent.join('; ') : 'a region';
  return new HoldfastError(
    'TAIL_LOST',
    `${error.message} (${where}); acknowledged up to ${String(acknowledged)} at the least. ` +
      'With --accept-tail-lost what only that region holds is given up',
    error.details,
    error,
  );
}

export async function noteOf(host: Host, journal: string): Promise<FailoverNote> {
  const note = await readFailover(host, journal);
  if (note === null) throw new HoldfastError('NOT_PROTECTED', `${host.name} has begun no failover of ${journal}`, { journal });
  return note;
}
