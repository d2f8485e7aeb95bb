/** A repository for tests: a store in memory, fixed keys, alarms that are kept. */
import { randomBytes } from 'node:crypto';
import { lineageOf, newSnapshotId, volumeName, type SnapshotId } from '../../../src/domain/ids.ts';
import type { Environment } from '../../../src/engine/repository/environment.ts';
import { createMemoryTable } from '../../../src/engine/repository/memory-table.ts';
import { openRepository, type Repository } from '../../../src/engine/repository/repository.ts';
import type { Table } from '../../../src/engine/repository/table.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { capture, type Content } from './ship.ts';

export const KEY = { dataKey: Buffer.alloc(32, 7), repositoryId: Buffer.alloc(16, 1) };
export const LINEAGE = lineageOf(volumeName('v'), 1);

/** Without waits; nobody hears its alarms. */
export const environment: Environment = {
  writer: 'test',
  nowMs: () => 0,
  random: (size) => randomBytes(size),
  sleep: () => Promise.resolve(),
  alarm: () => undefined,
};

export interface Opened {
  readonly repository: Repository;
  readonly alarms: string[];
}

export function open(store: ObjectStore, table: Table = createMemoryTable()): Opened {
  const alarms: string[] = [];
  return {
    repository: openRepository({ store, key: KEY, table, environment: { ...environment, alarm: (message) => void alarms.push(message) } }),
    alarms,
  };
}

let serial = 0;
export const nextId = (): SnapshotId => newSnapshotId(++serial, Math.random);

/** Takes a snapshot whose extents hold these values, one after another. */
export async function snapshot(repository: Repository, ...values: readonly number[]): Promise<SnapshotId> {
  const id = nextId();
  const content: Content = new Map(values.map((value, extent) => [extent, value]));
  await capture(repository, { lineage: LINEAGE, snapshot: id, content });
  return id;
}
