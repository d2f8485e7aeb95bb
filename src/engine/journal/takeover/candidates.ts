/**
 * Who becomes a member of the epoch that is being opened: of the candidates those that answer, best first, each in a failure domain
 * of its own (J7). A region without the journal's first objects is none: it could not be opened alone, and perhaps is not the store that it was.
 */
import { HoldfastError, type ErrorCode } from '../../../domain/errors.ts';
import type { Member, OpenEntry } from '../entries.ts';
import type { Journal } from '../journal.ts';
import { REPOSITORY_OBJECT } from '../../repository/object-names.ts';
import { patiently } from './patience.ts';
import { whyUnheard } from './unheard.ts';

/**
 * `known` have answered already. In mode `local` up to `most`, one at the least. STORE_UNREACHABLE: too few do; REPOSITORY_NOT_FOUND: all do,
 * and too few have the journal's first objects.
 */
export async function chooseMembers(
  { regions, environment }: Pick<Journal, 'regions' | 'environment'>,
  mode: OpenEntry['mode'],
  candidates: readonly Member[],
  known: ReadonlySet<string>,
  most = candidates.length,
): Promise<readonly Member[]> {
  const wanted = mode === 'pair' ? 2 : most;
  const chosen: Member[] = [];
  const silent = new Map<string, string>();
  for (const candidate of candidates) {
    if (chosen.length === wanted) break;
    if (chosen.some(({ region, domain }) => region === candidate.region || domain === candidate.domain)) continue;
    const store = regions.get(candidate.region)?.store;
    const why = known.has(candidate.region) ? null : await unheard(store && patiently(store, environment));
    if (why === null) chosen.push(candidate);
    else silent.set(candidate.region, why);
    if (why === UNPREPARED) environment.alarm('a region lacks the first objects of its journal', { region: candidate.region });
  }
  if (chosen.length > 0 && (mode === 'local' || chosen.length === 2)) return chosen;
  const details = { mode, answering: chosen.length, silent: [...silent].map(([region, why]) => `${region}: ${why}`) };
  if (silent.size > 0 && [...silent.values()].every((why) => why === UNPREPARED))
    throw new HoldfastError(UNPREPARED, `too few regions have the journal: not ${[...silent.keys()].join(', ')}`, details);
  throw new HoldfastError('STORE_UNREACHABLE', 'too few regions answer to open the journal', details);
}

const UNPREPARED = 'REPOSITORY_NOT_FOUND' satisfies ErrorCode;

/** Why a region cannot be a member, or null when it can. */
async function unheard(store: { head(name: string): Promise<unknown> } | undefined): Promise<string | null> {
  if (store === undefined) return 'not known here';
  try {
    return (await store.head(REPOSITORY_OBJECT)) === null ? UNPREPARED : null;
  } catch (error) {
    return whyUnheard(error);
  }
}
