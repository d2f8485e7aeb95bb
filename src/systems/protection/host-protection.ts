/**
 * The protected groups of a host, for its disk server (docs/protection.md, section 6).
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import type { GroupFolder, GroupRecord, GroupWanted } from '../../engine/volumes/disks/group-record.ts';
import type { DiskProtection, ProtectionStatus } from '../../engine/volumes/disks/protection-port.ts';
import type { ServedVolume } from '../../engine/volumes/served-volume.ts';
import { readGroupState } from './group-state.ts';
import { Group, type GroupEvent, type GroupLimits } from './group.ts';
import { stateFileOf } from './opening.ts';

export interface HostProtectionOptions {
  readonly folder: GroupFolder;
  /** Under which the host owns journals, and which no other host has. */
  readonly host: string;
  /** Opens a group's journal; `create`: makes it where there is none yet. */
  readonly journalOf: (group: GroupRecord, create: boolean) => Promise<Journal>;
  readonly random: (size: number) => Buffer;
  readonly nowMs: () => number;
  readonly onEvent: (event: GroupEvent) => void;
  readonly limits?: GroupLimits;
}

export function createHostProtection(options: HostProtectionOptions): DiskProtection {
  const { folder, host, journalOf, random, nowMs, onEvent, limits = {} } = options;
  const groups = new Map<string, Group | Promise<Group>>();
  const known = new Map<string, Group>();

  const optionsFor = (group: GroupRecord, volumes: readonly ServedVolume[], create: boolean) => ({
    ...{ group, volumes, nowMs, onEvent, limits },
    folder: folder.stateOf(group.journal),
    journalOf: () => journalOf(group, create),
  });
  const keep = async (journal: string, group: Promise<Group>): Promise<Group> => {
    groups.set(journal, group);
    try {
      const begun = await group;
      known.set(journal, begun);
      return begun;
    } catch (error) {
      groups.delete(journal);
      throw error;
    }
  };
  const find = (journal: string): Group => {
    const group = known.get(journal);
    if (group === undefined) throw new HoldfastError('NOT_PROTECTED', `no group is protected by ${journal} here`, { journal });
    return group;
  };

  return {
    groups: () => folder.list(),
    resume(group, volumes, onReady) {
      void keep(group.journal, Group.resume(optionsFor(group, volumes, false), onReady)).catch((error: unknown) =>
        onEvent({ kind: 'state', journal: group.journal, state: 'FAILED', error }),
      );
    },
    async protect(wanted: GroupWanted, volumes) {
      const there = known.get(wanted.journal);
      if (there !== undefined && isSame(there.record, wanted)) return there.status();
      if (groups.has(wanted.journal))
        throw new HoldfastError('DISK_EXISTS', `${wanted.journal} protects other disks here, or in another way`, {
          journal: wanted.journal,
        });
      const group = { ...wanted, owner: `${host.slice(0, 100)} ${random(8).toString('hex')}` };
      return (await keep(wanted.journal, begin(group, volumes))).status();
    },
    async unprotect(journal) {
      const group = known.get(journal);
      await group?.release();
      known.delete(journal);
      groups.delete(journal);
      await folder.remove(journal);
    },
    async handOver(journal) {
      const group = known.get(journal);
      if (group === undefined) {
        // An answer may have been lost.
        const state = await readGroupState(stateFileOf(folder.stateOf(journal)));
        return state === null || state.clean === null || state.order === 'lost' || state.gap !== null ? null : state.synced;
      }
      const end = await group.handOver();
      known.delete(journal);
      groups.delete(journal);
      return end;
    },
    status: () => [...known.values()].map((group): ProtectionStatus => group.status()),
    point: (journal) => find(journal).point(),
    moment: (journal) => known.get(journal)?.moment() ?? null,
    async close() {
      for (const group of groups.values())
        await Promise.resolve(group).then(
          (one) => one.stop(),
          () => undefined,
        );
      groups.clear();
      known.clear();
    },
  };

  /** The record first: under the name in it the journal is owned, and found again. */
  async function begin(group: GroupRecord, volumes: readonly ServedVolume[]): Promise<Group> {
    await folder.write(group);
    try {
      return await Group.begin(optionsFor(group, volumes, true));
    } catch (error) {
      await folder.remove(group.journal);
      throw error;
    }
  }
}

const isSame = (there: GroupRecord, wanted: GroupWanted): boolean =>
  JSON.stringify(there) === JSON.stringify({ ...wanted, owner: there.owner });
