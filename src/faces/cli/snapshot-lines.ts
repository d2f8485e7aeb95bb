/** Snapshots of all repositories as lines: what users see, and with `all` what operators see and what it costs. */
import type { SnapshotId, StoreName, VolumeName } from '../../domain/ids.ts';
import { HoldfastError } from '../../domain/errors.ts';
import { volumeOf } from '../../domain/ids.ts';
import type { SnapshotState } from '../../domain/lifecycle.ts';
import type { Ledger } from '../../engine/repository/ledger.ts';
import { planDelete } from '../../systems/lifecycle/deletion.ts';
import { listSnapshots, type SnapshotLine } from '../../systems/lifecycle/listing.ts';
import { openPlaces, placesOf, type OpenPlace, type PlaceFilter } from './repositories.ts';
import { formatBytes, formatTime } from './quantities.ts';
import type { Session } from './session.ts';
import type { Column } from './table.ts';

export interface PlacedLine extends SnapshotLine {
  readonly store: StoreName;
  readonly repository: string;
  /** Stored bytes that only it holds; told of hidden ones. */
  readonly holdsBytes: number | null;
}

/** An attempt under way: it has an id and nothing else yet. */
export interface CreatingLine {
  readonly id: SnapshotId;
  readonly volume: VolumeName;
  readonly store: StoreName;
  readonly repository: string;
  readonly state: Extract<SnapshotState, 'CREATING'>;
}

export type AnyLine = PlacedLine | CreatingLine;

const creatingIn = (ledger: Ledger, place: Pick<OpenPlace, 'store' | 'repository'>): CreatingLine[] =>
  [...ledger.claims.values()].flatMap(({ actor, snapshot }) =>
    actor === 'gc' || snapshot === null || ledger.used.has(snapshot)
      ? []
      : [{ id: snapshot, volume: volumeOf(actor), store: place.store, repository: place.repository, state: 'CREATING' as const }],
  );

export async function snapshotLines(session: Session, filter: PlaceFilter & { readonly all: boolean }): Promise<readonly AnyLine[]> {
  const state = await (await session.home()).catalog.sync();
  const lines: AnyLine[] = [];
  const { all, volume } = filter;
  for await (const { store, repository, opened, whole } of openPlaces(session, placesOf(state, filter))) {
    for (const line of listSnapshots(opened, { all, ...(volume === undefined ? {} : { volume }) })) {
      const holdsBytes = line.state === 'AVAILABLE' ? null : (await planDelete(await whole(), line.id)).freedBytes;
      lines.push({ ...line, store, repository, holdsBytes });
    }
    if (all)
      lines.push(...creatingIn(opened.ledger(), { store, repository }).filter((line) => volume === undefined || line.volume === volume));
  }
  return lines.sort((a, b) => takenOf(a) - takenOf(b) || (a.store < b.store ? -1 : 1));
}

/** What is being made is the newest of all. */
const takenOf = (line: AnyLine): number => (line.state === 'CREATING' ? Infinity : line.takenMs);

const placed = (line: AnyLine): PlacedLine | null => (line.state === 'CREATING' ? null : line);

export const snapshotColumns = (all: boolean): readonly Column<AnyLine>[] => [
  { title: 'SNAPSHOT', cell: (line) => line.id },
  { title: 'VOLUME', cell: (line) => line.volume },
  { title: 'STORE', cell: (line) => line.store },
  { title: 'TAKEN', cell: (line) => (line.state === 'CREATING' ? '' : formatTime(line.takenMs)) },
  { title: 'SIZE', align: 'right', cell: (line) => (line.state === 'CREATING' ? '' : formatBytes(line.sizeBytes)) },
  { title: 'STATE', cell: (line) => line.state },
  { title: 'CONSISTENCY', cell: (line) => placed(line)?.consistency ?? '' },
  ...(all
    ? ([
        {
          title: 'HOLDS',
          align: 'right',
          cell: (line) => {
            const holds = placed(line)?.holdsBytes ?? null;
            return holds === null ? '' : formatBytes(holds);
          },
        },
        { title: 'WAITS FOR', cell: (line) => placed(line)?.obstacle ?? '' },
      ] satisfies Column<AnyLine>[])
    : []),
  { title: 'LABEL', cell: (line) => placed(line)?.label ?? '' },
];

/** Every place that holds a snapshot; SNAPSHOT_NOT_FOUND when none does. */
export async function findPlaces(session: Session, id: SnapshotId, filter: PlaceFilter): Promise<readonly OpenPlace[]> {
  const state = await (await session.home()).catalog.sync();
  const found: OpenPlace[] = [];
  for await (const place of openPlaces(session, placesOf(state, filter))) {
    const snapshot = place.opened.ledger().snapshots.get(id);
    if (snapshot && (filter.volume === undefined || volumeOf(snapshot.lineage) === filter.volume)) found.push(place);
  }
  if (found.length === 0) throw new HoldfastError('SNAPSHOT_NOT_FOUND', `no snapshot ${id}`, { snapshot: id });
  return found;
}
