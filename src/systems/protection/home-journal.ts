/**
 * Journals in stores of the catalog (docs/protection.md): the passphrase of one is that of its log's store, and the bases of a region are in a
 * repository of the region's store.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { isHoldfastError, type HoldfastError } from '../../domain/errors.ts';
import { repositoryName, type StoreName } from '../../domain/ids.ts';
import { codecOf, findStore } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { noteJournal } from '../../engine/catalog/journals.ts';
import { lostRegionsOf } from '../../engine/catalog/lost-regions.ts';
import { mirrorCatalog } from '../../engine/catalog/mirror.ts';
import type { ProtectionRecord } from '../../engine/catalog/protections.ts';
import { createJournal, openJournal } from '../../engine/journal/creating.ts';
import type { Journal } from '../../engine/journal/journal.ts';
import type { Bases } from '../../engine/journal/keeping/bases.ts';
import { readingOf, type Reading } from '../../engine/journal/reading/reading.ts';
import { createRepositoryBases } from '../../engine/journal/keeping/repository-bases.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import type { Threads } from '../../ground/threads/threads.ts';

type WhereItIs = Pick<ProtectionRecord, 'journal' | 'log' | 'members'>;

/** `create`: makes it where there is none yet. STORE_NOT_FOUND, PASSPHRASE_MISSING, STORE_UNREACHABLE. */
export async function journalIn(home: Home, { journal, log, members: all }: WhereItIs, create: boolean): Promise<Journal> {
  const catalog = await home.catalog.sync();
  const { passphrase } = findStore(catalog, log);
  const lost = lostRegionsOf(catalog, journal);
  const members = all.filter(({ region }) => !lost.has(region));
  const places = {
    name: journal,
    passphrase: await resolvePassphrase(passphrase, home.variables),
    log: await home.store(log),
    regions: await Promise.all(members.map(async ({ region, domain }) => ({ name: region, domain, store: await home.store(region) }))),
    environment: home.environment,
  };
  if (!create) return openJournal(places);
  const created = await createJournal(places);
  await noteJournal(home.catalog, log, created);
  return created;
}

export interface OpenedProtection {
  readonly reading: Reading;
  /** By region; those that have none yet, or do not answer, are left out. */
  readonly bases: ReadonlyMap<string, Bases>;
}

/** The journal of a protection of the catalog, with the bases of its regions. `create`: makes their repositories where there are none yet. */
export async function openProtection(
  parts: Pick<BasesParts, 'home' | 'threads'>,
  protection: ProtectionRecord,
  { create = false, onSilent = () => undefined }: { readonly create?: boolean; readonly onSilent?: (error: HoldfastError) => void } = {},
): Promise<OpenedProtection> {
  const { home } = parts;
  const reading = readingOf(await journalIn(home, protection, false), { lost: lostRegionsOf(home.catalog.known(), protection.journal) });
  const scratch = path.join(home.cacheDir, 'bases');
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const bases = new Map<string, Bases>();
  for (const { region } of protection.members.filter((member) => !reading.lost.has(member.region)))
    try {
      bases.set(region, await basesIn({ ...parts, scratch }, protection, region, create));
    } catch (error) {
      if (!isHoldfastError(error, 'REPOSITORY_NOT_FOUND', 'STORE_UNREACHABLE')) throw error;
      if (error.code === 'STORE_UNREACHABLE') onSilent(error);
    }
  return { reading, bases };
}

/** The catalog beside the bases of each region that answers, so that any one store brings back what was protected, and how. */
export async function mirrorBesideBases(home: Home, { journal, members }: ProtectionRecord): Promise<void> {
  const lost = lostRegionsOf(home.catalog.known(), journal);
  for (const { region } of members.filter((member) => !lost.has(member.region)))
    try {
      await mirrorCatalog(home, await home.reader(region, repositoryName(`journal.${journal}`)));
    } catch (error) {
      if (!isHoldfastError(error, 'REPOSITORY_NOT_FOUND', 'STORE_UNREACHABLE')) throw error;
    }
}

export interface BasesParts {
  readonly home: Home;
  readonly threads: Threads;
  /** A folder with room for what is written between two bases. */
  readonly scratch: string;
}

/** Of one region. `create`: makes its repository where there is none yet. REPOSITORY_NOT_FOUND, STORE_UNREACHABLE. */
export async function basesIn(
  { home, threads, scratch }: BasesParts,
  of: ProtectionRecord,
  region: StoreName,
  create: boolean,
): Promise<Bases> {
  const { journal, disks, extentBytes } = of;
  const repository = await home.repository(region, repositoryName(`journal.${journal}`), create);
  return createRepositoryBases({
    ...{ region, repository, journal, extentBytes, threads, scratch },
    volumes: disks.map(({ sizeBytes }, volume) => ({ volume, sizeBytes })),
    codec: codecOf(home.catalog.known(), region),
  });
}
