/**
 * What a token's lineages may come to: stored bytes of its repositories, and what its sessions have brought and named.
 *
 * A repository that tokens share is charged to each of them as a whole: whose a shared value is cannot be said.
 */
import { repositoryName, storeName, type RepositoryName } from '../../../domain/ids.ts';
import type { Home } from '../../catalog/home.ts';
import type { Peer } from '../frames.ts';

export interface Quota {
  /** Bytes that the token may store still, beside what its repositories hold; Infinity without a quota. */
  room(peer: Peer): Promise<number>;
  /** A session of the repository has ended: what it brought may be counted now. */
  forget(place: { readonly store: string; readonly repository: RepositoryName }): void;
}

/** How long a count of a repository's stored bytes serves. */
const COUNT_MS = 60_000;

export function createQuota(home: Home): Quota {
  const counted = new Map<string, { readonly bytes: number; readonly atMs: number }>();

  const repositoriesOf = ({ store, repository, prefix }: Peer): RepositoryName[] => {
    if (repository !== null) return [repositoryName(repository)];
    const names = [...home.catalog.known().repositories.keys()].filter((key) => key.startsWith(`${store}/${prefix}`));
    return names.map((key) => repositoryName(key.slice(store.length + 1)));
  };

  const storedBytes = async (store: string, repository: RepositoryName): Promise<number> => {
    const key = `${store}/${repository}`;
    const known = counted.get(key);
    const nowMs = home.environment.nowMs();
    if (known !== undefined && nowMs - known.atMs < COUNT_MS) return known.bytes;
    const bytes = (await home.repository(storeName(store), repository)).table.packBytes();
    counted.set(key, { bytes, atMs: nowMs });
    return bytes;
  };

  return {
    forget: ({ store, repository }) => void counted.delete(`${store}/${repository}`),
    async room(peer) {
      if (peer.quotaBytes === null) return Infinity;
      let bytes = 0;
      for (const repository of repositoriesOf(peer)) bytes += await storedBytes(peer.store, repository);
      return peer.quotaBytes - bytes;
    },
  };
}
