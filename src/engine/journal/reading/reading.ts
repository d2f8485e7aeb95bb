/**
 * From where a journal is read, and what becomes of what is damaged (docs/journal.md, section 5).
 *
 * Any region may be asked for any batch: there is one payload for a place, whoever holds it (J2), and the chain's digest says
 * whether it is that one. Silence is never taken for absence: a batch is said to be nowhere only when every region has
 * answered that could hold it, but for those that somebody has declared lost.
 */
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { isNeeded } from '../holdings.ts';
import type { Journal } from '../journal.ts';
import type { Epoch, JournalState } from '../state.ts';

/** An object that was refused; another region's copy is used instead, if there is one. */
export interface Damage {
  readonly region: string;
  readonly object: string;
  readonly code: string;
  readonly message: string;
}

export interface Reading {
  readonly journal: Journal;
  /** Regions in the order in which they are asked; others come after these. */
  readonly prefer: readonly string[];
  /** Regions that will not come back, as somebody has said: nobody waits for their answer. */
  readonly lost: ReadonlySet<string>;
  /** Of an open epoch this member alone is asked; of closed ones everybody is. Absent: all members. */
  readonly member?: string;
  /** Told of each damaged object that is met, once or more. */
  onDamage(damage: Damage): void;
  readonly signal?: AbortSignal;
}

/** A reading with nothing preferred and nothing lost; damage becomes an alarm. */
export const readingOf = (journal: Journal, some: Partial<Omit<Reading, 'journal'>> = {}): Reading => ({
  journal,
  prefer: [],
  lost: new Set(),
  onDamage: ({ message, ...details }) => journal.environment.alarm(message, details),
  ...some,
});

/** Regions that the log names or this process reaches, but for those that are lost. Not all of them can be reached from here. */
export function regionsOf({ journal, lost }: Pick<Reading, 'journal' | 'lost'>, state: JournalState): readonly string[] {
  const names = new Set([...journal.regions.keys(), ...state.bases.keys()]);
  for (const { members, full } of state.epochs.values())
    for (const name of [...full, ...members.map(({ region }) => region)]) names.add(name);
  return [...names].filter((name) => !lost.has(name)).sort();
}

/** Members of an open epoch that are asked. */
export const membersAsked = ({ lost, member }: Pick<Reading, 'lost' | 'member'>, { members }: Epoch): readonly string[] =>
  members.map(({ region }) => region).filter((region) => !lost.has(region) && (member === undefined || region === member));

/** Regions in the order in which they are asked for a batch: those that hold it by the log before others, then as preferred. */
export function askedFor(reading: Reading, state: JournalState, epoch: Epoch, index: number): readonly string[] {
  const holders = epoch.end === null ? epoch.members.map(({ region }) => region) : epoch.full;
  const rank = (region: string): number => {
    const preferred = reading.prefer.indexOf(region);
    const holds = holders.includes(region) && isNeeded(state, region, epoch.epoch, index);
    return (holds ? 0 : 1000) + (preferred < 0 ? 500 : preferred);
  };
  const could = epoch.end === null ? membersAsked(reading, epoch) : regionsOf(reading, state);
  return [...could].sort((a, b) => rank(a) - rank(b));
}

/** Errors that say of an object that it is not what was written there. Another copy may be. */
export const isDamage = (error: unknown): error is HoldfastError =>
  isHoldfastError(error, 'DAMAGED', 'BATCH_FOREIGN', 'CHAIN_BROKEN', 'OBJECT_MISSING');

/** Errors that say nothing about what is there: a store that is away, or that lets nobody in. */
export const isSilence = (error: unknown): error is HoldfastError =>
  isHoldfastError(error) && (error.retryable || isHoldfastError(error, 'STORE_DENIED', 'STORE_UNFIT'));

export const unheard = (what: string, silent: readonly string[], details: Readonly<Record<string, string | number>>): HoldfastError =>
  new HoldfastError('STORE_UNREACHABLE', `${what} is not where it could be asked for; ${silent.join(', ')} did not answer`, details);
