/**
 * The mirror: the catalog, sealed with a repository's own key, beside the snapshots. Any one store with its passphrase
 * brings back everything: which stores there were, which volumes, which passphrase references. Best effort: a mirror that
 * is a commit old is as good.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import { openEnvelope, sealEnvelope } from '../../ground/sealing/envelope.ts';
import { listAll } from '../../ground/stores/object-store.ts';
import { mirrorName } from '../repository/object-names.ts';
import type { RepositoryReader } from '../repository/reader.ts';
import { printableCatalog, type CatalogState } from './catalog.ts';
import type { Home } from './home.ts';

type Printed = ReturnType<typeof printableCatalog>;
/** Mirrors that were written before there was replication lack what belongs to it. */
export type MirroredCatalog = Pick<Printed, 'n' | 'stores' | 'volumes' | 'repositories'> & Partial<Printed>;

const KEPT = 2;

export async function mirrorCatalog(home: Home, repository: RepositoryReader): Promise<void> {
  try {
    await writeMirror(await home.catalog.sync(), repository);
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    home.environment.alarm('the catalog could not be mirrored', { code: error.code });
  }
}

async function writeMirror(state: CatalogState, { store, key, environment }: RepositoryReader): Promise<void> {
  const [newest] = await store.list('mirror/', { limit: 1 });
  const name = mirrorName(state.n);
  if (newest && newest.name <= name) return;
  const bytes = sealEnvelope(key, name, Buffer.from(JSON.stringify(printableCatalog(state))), environment.random(32));
  await store.put(name, bytes, { ifAbsent: true });
  const names: string[] = [];
  for await (const object of listAll(store, 'mirror/')) names.push(object.name);
  if (names.length > KEPT) await store.delete(names.slice(KEPT));
}

/** The newest mirrored catalog in a repository, or null. */
export async function readMirror({ store, key }: RepositoryReader): Promise<MirroredCatalog | null> {
  const [newest] = await store.list('mirror/', { limit: 1 });
  const bytes = newest ? await store.get(newest.name) : null;
  // Sealed by this code under this name: trusted inside.
  return newest && bytes ? (JSON.parse(openEnvelope(key, newest.name, bytes).toString('utf8')) as MirroredCatalog) : null;
}
