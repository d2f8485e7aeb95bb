/**
 * Creates a journal in its stores, and opens one (docs/journal.md, section 2).
 *
 * Its first objects are those of a repository, made in the log store, and copied to the byte into each region: so that a region alone
 * can be read with the passphrase. Creating is idempotent, and finishes what a crash left.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { NAME_PATTERN } from '../../domain/ids.ts';
import { listAll, type ObjectStore } from '../../ground/stores/object-store.ts';
import { within } from '../../ground/stores/within.ts';
import type { Environment } from '../repository/environment.ts';
import { ensureRepository, openRepositoryFormat, type UnlockedRepository } from '../repository/format.ts';
import { REPOSITORY_OBJECT } from '../repository/object-names.ts';
import { openJournalLog } from './journal-log.ts';
import type { Journal, Region } from './journal.ts';
import { journalPrefix } from './object-names.ts';

export interface JournalPlaces {
  readonly name: string;
  readonly passphrase: string;
  /** The stores as a whole; the journal lies below `journals/<name>/` in each. */
  readonly log: ObjectStore;
  readonly regions: readonly Region[];
  readonly environment: Environment;
  /** Cost of a passphrase guess, when it is created; see key-slot.ts. */
  readonly scryptN?: number;
}

/** Creates the journal, or opens the one that is there. REPOSITORY_OTHER: a region has another one of that name. */
export async function createJournal(places: JournalPlaces): Promise<Journal> {
  const { name, passphrase, environment, scryptN } = places;
  const log = journalStore(name, places.log);
  const options = { random: environment.random, ...(scryptN === undefined ? {} : { scryptN }) };
  const unlocked = await ensureRepository(log, name, passphrase, environment.nowMs(), options);
  const journal = journalOf(places, log, unlocked);
  for (const region of journal.regions.values()) await prepareRegion(log, region);
  return journal;
}

/** Opens a journal that must be there. Regions are not asked: some may be away. */
export async function openJournal(places: JournalPlaces): Promise<Journal> {
  const log = journalStore(places.name, places.log);
  return journalOf(places, log, await openRepositoryFormat(log, places.passphrase));
}

/** Where a journal lies in a store. */
export function journalStore(name: string, store: ObjectStore): ObjectStore {
  if (!NAME_PATTERN.test(name))
    throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(name.slice(0, 80))} is no name of a journal`, { field: 'name' });
  return within(store, journalPrefix(name));
}

function journalOf({ name, regions, environment }: JournalPlaces, log: ObjectStore, { key }: UnlockedRepository): Journal {
  return {
    name,
    id: key.repositoryId,
    key,
    environment,
    log: openJournalLog({ store: log, key, environment }),
    regions: new Map(regions.map((region) => [region.name, { ...region, store: journalStore(name, region.store) }])),
  };
}

/**
 * Puts the journal's first objects into a region, before it becomes a member: the keys last, like in the log store. `log` and the region's
 * store are those below `journals/<name>/`. REPOSITORY_OTHER: another journal is there.
 */
export async function prepareRegion(log: ObjectStore, { name, store }: Region): Promise<void> {
  const names = [REPOSITORY_OBJECT];
  for await (const slot of listAll(log, 'keys/')) names.push(slot.name);
  for (const object of names) {
    const bytes = await log.get(object);
    // A key slot that was replaced meanwhile.
    if (bytes === null) continue;
    if ((await store.put(object, bytes, { ifAbsent: true })) === 'created') continue;
    const there = await store.get(object);
    if (there === null || !there.equals(bytes))
      throw new HoldfastError('REPOSITORY_OTHER', `region ${name} has another ${object}`, { region: name, object });
  }
}
