/** Activities that look after journals (systems E and I): parse, call the systems, translate errors. */
import { Context } from '@temporalio/activity';
import { backfillInput, parseInput, protectDomainInput, type BackfillInput, type ProtectDomainInput } from '../src/domain/job-inputs.ts';
import { findStream } from '../src/engine/catalog/streams.ts';
import { findProtection, type ProtectionRecord } from '../src/engine/catalog/protections.ts';
import { lostRegionsOf } from '../src/engine/catalog/lost-regions.ts';
import { readingOf, type Reading } from '../src/engine/journal/reading/reading.ts';
import { noteGroupState, type GroupSeen } from '../src/systems/protection/domain/state-notes.ts';
import {
  fillRegion,
  keepJournal,
  lookAtJournal,
  type FilledRegion,
  type JournalLook,
  type Kept,
} from '../src/systems/protection/domain/upkeep.ts';
import { mirrorBesideBases, openProtection, type OpenedProtection } from '../src/systems/protection/home-journal.ts';
import { openStream } from '../src/systems/regions/home-stream.ts';
import { RETAIN_MS_DEFAULT } from '../src/domain/limits.ts';
import { translated } from './failure.ts';
import { startCount } from './pulse.ts';
import type { ActivityParts } from './shipping.ts';

/** What the catalog and the log of a journal say of it. */
export interface DomainLook extends JournalLook {
  /** Null: it is a stream. */
  readonly protection: ProtectionRecord | null;
}

export type GroupState = GroupSeen;

export const createDomainActivities = ({ home, host, threads }: ActivityParts) => {
  /** A group's with the bases of its regions. */
  const open = async (journal: string): Promise<{ readonly reading: Reading } & Partial<OpenedProtection>> => {
    const state = await home.catalog.sync();
    if (!state.streams.has(journal)) return openProtection({ home, threads }, findProtection(state, journal), { create: true });
    const say = (line: string): void => home.environment.alarm(line, { journal });
    return { reading: readingOf(await openStream(home, findStream(state, journal), say), { lost: lostRegionsOf(state, journal) }) };
  };
  return translated({
    /** Null: the catalog does not have it any more. */
    async lookAtDomain(input: ProtectDomainInput): Promise<DomainLook | null> {
      const { journal } = parseInput(protectDomainInput, 'protectDomain', input);
      const { protections, streams } = await home.catalog.sync();
      const protection = protections.get(journal) ?? null;
      if (protection === null && !streams.has(journal)) return null;
      const { reading } = await open(journal);
      return { protection, ...(await lookAtJournal(reading, Context.current().cancellationSignal)) };
    },

    /** On the host. */
    async lookAtGroup(journal: string): Promise<GroupState | null> {
      const before = (await home.catalog.sync()).groupStates.get(journal) ?? null;
      const status = (await host.disks.protection()).find(({ group }) => group.journal === journal);
      return status === undefined ? null : { state: status.state, rpoMs: status.rpoMs, why: status.lastError?.message ?? null, before };
    },

    /** When it is another one than before, for whoever follows the catalog. */
    noteGroupState: (journal: string, group: GroupState | null): Promise<void> => noteGroupState(home.catalog, journal, group),

    /** While the group is not known to be whole nothing is given up. */
    async keepJournal({ journal }: ProtectDomainInput): Promise<Kept> {
      const state = await home.catalog.sync();
      const protection = findProtection(state, journal);
      const seen = state.groupStates.get(journal)?.state;
      const kept = await keepJournal(await openProtection({ home, threads }, protection, { create: true }), {
        windowMs: protection.retainMs ?? RETAIN_MS_DEFAULT,
        frozen: seen !== 'PROTECTED' && seen !== 'CATCHING_UP',
        signal: Context.current().cancellationSignal,
      });
      await mirrorBesideBases(home, protection);
      return kept;
    },

    /** Beats with the bytes that are copied, of those that are held once. */
    async fillRegion(input: BackfillInput): Promise<FilledRegion> {
      const { journal, region } = parseInput(backfillInput, 'backfillRegion', input);
      const { cancellationSignal: signal } = Context.current();
      return fillRegion(await open(journal), region, { signal, onCopied: startCount() });
    },
  });
};
