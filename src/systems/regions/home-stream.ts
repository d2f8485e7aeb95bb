/**
 * Streams in stores of the catalog (docs/journal.md, section 11): the passphrase of one is that of its log's store.
 *
 * Invariant: a region gets the journal's first objects before it can become a member, so that it can be read by itself. One that cannot be opened
 * now is left out, and counts as one that does not answer.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import { storeName } from '../../domain/ids.ts';
import { findStore } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { noteJournal } from '../../engine/catalog/journals.ts';
import type { StreamRecord } from '../../engine/catalog/streams.ts';
import { createJournal, journalStore, openJournal, prepareRegion } from '../../engine/journal/creating.ts';
import type { Member } from '../../engine/journal/entries.ts';
import type { Journal, Region } from '../../engine/journal/journal.ts';
import { regionsOf } from '../../engine/journal/reading/reading.ts';
import { currentEpoch } from '../../engine/journal/state.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';

/** What one region may suffer while the others go on: its store, or what this machine knows of it. */
const OF_ONE_REGION = [
  ...(['STORE_UNREACHABLE', 'STORE_DENIED', 'STORE_FULL', 'STORE_NOT_FOUND', 'STORE_UNFIT'] as const),
  ...(['PASSPHRASE_MISSING', 'CONFIG_INVALID'] as const),
] as const;

type Say = (line: string) => void;

/** For reading, with every region that the catalog or the journal's log names and that can be opened. JOURNAL_NOT_FOUND, PASSPHRASE_MISSING, STORE_UNREACHABLE. */
export async function openStream(home: Home, record: StreamRecord, say: Say): Promise<Journal> {
  return withRegions(home, record, await openJournal(await placesOf(home, record)), say);
}

async function withRegions(home: Home, record: StreamRecord, journal: Journal, say: Say): Promise<Journal> {
  const named = new Map(record.regions.map((one) => [one.region as string, one.domain]));
  const state = await journal.log.sync();
  for (const { members } of state.epochs.values())
    for (const { region, domain } of members) if (!named.has(region)) named.set(region, domain);
  const regions = new Map<string, Region>();
  for (const region of regionsOf({ journal: { ...journal, regions: new Map() }, lost: new Set() }, state))
    named.set(region, named.get(region) ?? region);
  for (const [name, domain] of named)
    await unlessAway(name, say, async () => {
      regions.set(name, { name, domain, store: journalStore(record.journal, await home.store(storeName(name))) });
    });
  return { ...journal, regions };
}

export interface Appendable {
  readonly journal: Journal;
  /** Regions that answer and may become members, best first. */
  readonly candidates: readonly Member[];
}

/** For appending: makes it where there is none yet. `asked`: the order of the record is somebody's wish, and the current members are not better. REPOSITORY_OTHER. */
export async function openForAppending(home: Home, record: StreamRecord, asked: boolean, say: Say): Promise<Appendable> {
  const places = await placesOf(home, record);
  const created = await createJournal(places);
  await noteJournal(home.catalog, record.log, created);
  const journal = await withRegions(home, record, created, say);
  const log = journalStore(record.journal, places.log);
  const ready = new Set<string>();
  for (const { region } of record.regions) {
    const known = journal.regions.get(region);
    if (known !== undefined)
      await unlessAway(region, say, async () => {
        await prepareRegion(log, known);
        ready.add(region);
      });
  }
  const current = asked ? [] : (currentEpoch(journal.log.known())?.members.map(({ region }) => region) ?? []);
  const rank = (region: string): number => (current.includes(region) ? 0 : 1);
  const candidates = record.regions.filter(({ region }) => ready.has(region));
  return { journal, candidates: candidates.sort((a, b) => rank(a.region) - rank(b.region)) };
}

async function placesOf(home: Home, { journal, log }: StreamRecord) {
  const { passphrase } = findStore(await home.catalog.sync(), log);
  return {
    name: journal,
    passphrase: await resolvePassphrase(passphrase, home.variables),
    log: await home.store(log),
    regions: [],
    environment: home.environment,
  };
}

async function unlessAway(region: string, say: Say, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isHoldfastError(error, ...OF_ONE_REGION)) throw error;
    say(`${region} does not answer: ${error.message}`);
  }
}
