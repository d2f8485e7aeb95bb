/** A snapshot as an origin, or as what lies under one. */
import { createSnapshotView, type SnapshotView } from '../snapshot-view.ts';
import { openSnapshotBulk, type SnapshotBulk, type SnapshotSource } from './bulk.ts';

export interface SnapshotContent {
  readonly view: SnapshotView;
  openBulk(path: string): Promise<SnapshotBulk>;
}

export const snapshotContent = (source: SnapshotSource): SnapshotContent => ({
  view: createSnapshotView(source.reader, source.snapshot),
  openBulk: (path) => openSnapshotBulk(source, path),
});
