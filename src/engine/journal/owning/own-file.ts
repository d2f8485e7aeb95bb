/**
 * The write-ahead files of one owner on one machine, each a life of its own (docs/journal.md, section 6).
 *
 *     <folder>/life-<16 hex>          the file that is written; at most one
 *     <folder>/orphan-<16 hex>-<n>    one that cannot go on: its epoch was ended by somebody else. Kept, never merged
 *
 * Invariant: the life is a part of the owner's name in every OPEN that it wins, so the log says to whom an epoch belonged. Records of a
 * file are shipped again only under an epoch that closes one of its own life, which the OPEN itself makes sure of. A file that was
 * overtaken is set aside before anything else is opened, so no crash makes its records look like those of another life.
 */
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { syncFolder } from '../../../ground/stores/file-root.ts';
import type { Member } from '../entries.ts';
import type { Journal } from '../journal.ts';
import type { JournalRecord } from '../records.ts';
import { currentEpoch } from '../state.ts';
import type { Opened } from '../takeover/opened.ts';
import { ownerName } from '../takeover/owner-mark.ts';
import { takeOver, type OwnRecords } from '../takeover/take-over.ts';
import { readWriteAhead, type WriteAheadContents } from '../write-ahead/reading.ts';
import { SEGMENT_FILES } from '../write-ahead/segment-files.ts';
import { removeSpares } from '../write-ahead/spares.ts';
import { WriteAhead } from '../write-ahead/write-ahead.ts';

const LIFE = /^life-([0-9a-f]{16})$/;
const ORPHAN = /^orphan-([0-9a-f]{16})-([0-9]+)$/;
const LIFE_BYTES = 8;

export interface LocalStart {
  readonly journal: Journal;
  /** Beside the volume; the caller sees that no other process uses it. */
  readonly folder: string;
  /** At most 120 characters. */
  readonly owner: string;
  readonly members: readonly Member[];
  /**
   * `own`: only a journal that nobody has opened yet, or whose current epoch is of this folder's file. `anyone`: whoever has it is
   * fenced; a failover, or a machine that has lost its file.
   */
  readonly from: 'own' | 'anyone';
  readonly tailLost: boolean;
}

export interface LocalOpened {
  readonly opened: Opened;
  /** The caller's to dispose of, after the owner. `contents.unsound` names what is damaged. */
  readonly writeAhead: WriteAhead;
  /** What goes out again: everything of the file above the end. */
  readonly carried: readonly JournalRecord[];
}

/** Opens the journal in mode `local`, with what this machine's file holds. JOURNAL_FENCED: it is somebody else's, and `from` is `own`; else as takeOver and WriteAhead.open. */
export async function openLocal(start: LocalStart): Promise<LocalOpened> {
  const { journal, folder, from } = start;
  await mkdir(folder, { recursive: true });
  for (;;) {
    const life = (await currentLife(folder)) ?? (await newLife(journal, folder));
    const contents = await readWriteAhead(lifeFolder(folder, life), journal.id);
    const current = currentEpoch(await journal.log.sync());
    const isOwner = (owner: string): boolean => lifeOf(owner) === life;
    const goesOn = current !== undefined && isOwner(current.owner);
    if (!goesOn && contents.segments.length > 0) {
      await setAside(folder, life);
      continue;
    }
    if (!goesOn && current !== undefined && from === 'own')
      throw new HoldfastError('JOURNAL_FENCED', 'somebody else owns the journal by now', { epoch: current.epoch, owner: current.owner });
    const { members, tailLost } = start;
    const own = goesOn ? { own: { isOwner, from: completeFrom(contents) } satisfies OwnRecords } : {};
    try {
      const opened = await takeOver(journal, { mode: 'local', owner: `${start.owner}/${life}`, members, tailLost, ...own });
      return await goOn(start, life, contents, opened);
    } catch (error) {
      // Somebody came between: what is in the file is an orphan now.
      if (!goesOn || !isHoldfastError(error, 'JOURNAL_FENCED')) throw error;
    }
  }
}

/** Everything that was acknowledged from this number on is in the file. */
function completeFrom({ segments, unsound }: WriteAheadContents): number {
  if (unsound.length > 0) return Infinity;
  return segments[0]?.next ?? 0;
}

async function goOn({ journal, folder }: LocalStart, life: string, contents: WriteAheadContents, opened: Opened): Promise<LocalOpened> {
  // A part of it was lost, and all that it has is in the regions, which have more; or they have lost what the file has let go, with consent.
  const first = contents.segments[0]?.next ?? opened.start;
  if ((contents.next !== null && contents.next < opened.start) || first > opened.start) {
    journal.environment.alarm('a write-ahead file does not go on where the regions end', {
      file: `${first} to ${(contents.next ?? first) - 1}`,
      regions: opened.start - 1,
    });
    await setAside(folder, life);
    await mkdir(lifeFolder(folder, life));
  }
  const { random } = journal.environment;
  const writeAhead = await WriteAhead.open({ folder: lifeFolder(folder, life), journalId: journal.id, next: opened.start, random });
  const carried: JournalRecord[] = [];
  for await (const record of writeAhead.contents.records(opened.start)) carried.push(record);
  return { opened, writeAhead, carried };
}

export interface Orphan {
  readonly path: string;
  /** The epoch that somebody else ended, and where; null: the log knows none of this life. */
  readonly epoch: number | null;
  readonly endedAt: number;
  /** Its records above that end, in order; perhaps none. */
  records(): AsyncGenerator<JournalRecord>;
}

/** Files that were set aside, oldest life first by name. */
export async function orphansIn(journal: Journal, folder: string): Promise<readonly Orphan[]> {
  const names = (await readdir(folder)).filter((name) => ORPHAN.test(name)).sort();
  const { epochs } = await journal.log.sync();
  return await Promise.all(
    names.map(async (name) => {
      const life = ORPHAN.exec(name)?.[1];
      const epoch = [...epochs.values()].findLast(({ owner }) => lifeOf(owner) === life);
      const endedAt = epoch?.end?.seq ?? 0;
      const contents = await readWriteAhead(join(folder, name), journal.id);
      return { path: join(folder, name), epoch: epoch?.epoch ?? null, endedAt, records: () => contents.records(endedAt + 1) };
    }),
  );
}

/** The life in an owner's name; undefined: it has none. */
const lifeOf = (owner: string): string | undefined => /\/([0-9a-f]{16})$/.exec(ownerName(owner))?.[1];

const lifeFolder = (folder: string, life: string): string => join(folder, `life-${life}`);

async function currentLife(folder: string): Promise<string | null> {
  const lives = (await readdir(folder)).flatMap((name) => LIFE.exec(name)?.[1] ?? []);
  if (lives.length > 1)
    throw new HoldfastError('ARGUMENT_INVALID', `${folder} has more than one write-ahead file`, { field: 'folder', lives });
  return lives[0] ?? null;
}

async function newLife({ environment }: Journal, folder: string): Promise<string> {
  const life = environment.random(LIFE_BYTES).toString('hex');
  await mkdir(lifeFolder(folder, life));
  await syncFolder(folder);
  return life;
}

async function setAside(folder: string, life: string): Promise<void> {
  await removeSpares(lifeFolder(folder, life), SEGMENT_FILES);
  const count = (await readdir(folder)).filter((name) => ORPHAN.exec(name)?.[1] === life).length;
  await rename(lifeFolder(folder, life), join(folder, `orphan-${life}-${count + 1}`));
  await syncFolder(folder);
}
