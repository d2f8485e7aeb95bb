/**
 * Who the members of an epoch become when some of them are given up (docs/journal.md, section 8).
 *
 * Nobody is given up without somebody to go on with: a pair needs one that lives and a spare that answers; in mode `local` those that
 * live are enough, and a spare takes the place if one answers.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { EPOCH_MEMBERS_MAX } from '../../../domain/limits.ts';
import type { Member, OpenEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import { chooseMembers } from '../takeover/candidates.ts';
import type { EpochWriter } from './epoch-writer.ts';
import type { Lane } from './lane.ts';

export interface Patience {
  readonly memberAttemptsMax: number;
  readonly memberMsMax: number;
}

/**
 * Regions whose retries are spent, or that are slower than is borne. After an outage of all of them the first to answer does not throw out
 * the others: they have to fail once more, or be slow for as long again, while it answers.
 */
export function givenUp(writer: EpochWriter, { memberAttemptsMax, memberMsMax }: Patience, nowMs: number): ReadonlySet<string> {
  const spent = (lane: Lane): boolean => lane.failures >= memberAttemptsMax;
  const slow = (lane: Lane): boolean => writer.waitsMs(lane) > memberMsMax;
  const bad = writer.lanes.filter((lane) => spent(lane) || slow(lane));
  const live = writer.lanes.filter((lane) => !bad.includes(lane));
  const since = Math.min(...live.map((lane) => lane.healthySinceMs ?? Infinity));
  const lost = bad.filter((lane) => (spent(lane) && (lane.failedAtMs ?? 0) >= since) || (slow(lane) && nowMs - since > memberMsMax));
  return new Set((live.length === 0 ? bad : lost).map(({ region }) => region.name));
}

/** The members to go on with, or null: there is nobody. */
export async function replacements(
  journal: Journal,
  writer: EpochWriter,
  lost: ReadonlySet<string>,
  spares: readonly Member[],
): Promise<readonly Member[] | null> {
  const { mode, members } = writer.opened;
  const live = members.filter(({ region }) => !lost.has(region));
  const free = spares.filter(({ region }) => !members.some((member) => member.region === region));
  if (mode === 'pair' && live.length === 0) return null;
  try {
    const chosen = await chooseMembers(journal, mode, [...live, ...free], new Set(live.map(({ region }) => region)), members.length);
    return chosen;
  } catch (error) {
    if (isHoldfastError(error, 'STORE_UNREACHABLE', 'REPOSITORY_NOT_FOUND')) return null;
    throw error;
  }
}

/** ARGUMENT_INVALID: these cannot be the members of an epoch (J7), or are not known here. */
export function requireMembers({ regions }: Journal, mode: OpenEntry['mode'], members: readonly Member[]): void {
  const distinct = (names: readonly string[]): boolean => new Set(names).size === names.length;
  const count = members.length;
  const fits =
    (mode === 'pair' ? count === 2 : count > 0 && count <= EPOCH_MEMBERS_MAX) &&
    distinct(members.map(({ region }) => region)) &&
    distinct(members.map(({ domain }) => domain)) &&
    members.every(({ region }) => regions.has(region));
  if (!fits) throw new HoldfastError('ARGUMENT_INVALID', 'these cannot be the members of an epoch', { field: 'members', mode, count });
}
