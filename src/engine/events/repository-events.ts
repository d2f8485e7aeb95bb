/**
 * The events of a repository's log, keyed by lineage.
 *
 * HIDE, UNHIDE and RECLAIM name a snapshot and no lineage, so the live snapshots are folded along. Pins belong to whoever reads and are
 * lifted by a name of their own: they are keyed by the repository, as is what a collector does.
 */
import type { Lineage, SnapshotId } from '../../domain/ids.ts';
import { COLLECTOR, entrySchema, type Entry } from '../repository/entries.ts';
import { createEventMapper, whole, type EventData, type EventMapper } from './event-kinds.ts';

const schemas = Object.fromEntries(entrySchema.options.map(({ shape }) => [shape.kind.value, whole(shape)]));
/** Nothing in a repository's log is secret: names, numbers and digests of sealed bytes. */
export const REPOSITORY_EVENTS = schemas as EventData<Entry['kind']>;

export interface RepositoryOrigin {
  readonly logId: string;
  readonly store: string;
  readonly repository: string;
}

const repositorySource = ({ store, repository }: Pick<RepositoryOrigin, 'store' | 'repository'>): string =>
  `/holdfast/stores/${store}/repositories/${repository}`;

/** `live`: the snapshots before the first record that is mapped; the mapper goes on with it. */
export function mapRepository(origin: RepositoryOrigin, live: Map<SnapshotId, Lineage>): EventMapper<Entry> {
  const place = `${origin.store}/${origin.repository}`;
  const keyOf = (entry: Entry): string => {
    switch (entry.kind) {
      case 'COMMIT':
        live.set(entry.snapshot, entry.lineage);
        return entry.lineage;
      case 'RETIRE':
        return entry.lineage;
      case 'CLAIM':
      case 'ABORT':
      case 'HEAL':
        return entry.actor === COLLECTOR ? place : entry.actor;
      case 'HIDE':
      case 'UNHIDE':
        return live.get(entry.snapshot) ?? place;
      case 'RECLAIM': {
        const lineage = live.get(entry.snapshot);
        live.delete(entry.snapshot);
        return lineage ?? place;
      }
      case 'REPLACE':
      case 'PIN':
      case 'UNPIN':
        return place;
    }
  };
  return createEventMapper({ logId: origin.logId, source: repositorySource(origin), family: 'repository' }, REPOSITORY_EVENTS, keyOf);
}
