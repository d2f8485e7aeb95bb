/**
 * The small scale: the same code with small limits, so that a run of milliseconds crosses every boundary that a repository
 * of terabytes crosses: many subtrees, nodes, packs, change parts, checkpoint parts, read-ahead windows, full caches.
 * `--scale full` runs with the limits of the product.
 */
import type { Patch } from './patches.ts';

const LIMITS = 'src/domain/limits.ts';
export const limit = (find: string, value: string): Patch => ({
  file: LIMITS,
  find: `export const ${find};`,
  replace: `export const ${find.slice(0, find.indexOf('=') + 1)} ${value};`,
});

export const LIGHT = '../../../test/simulation/light-crypto.ts';
/** Half of a run's time would be key derivation, cipher objects and compression; see light-crypto.ts. */
const LIGHT_SEALING: readonly Patch[] = [
  { file: 'src/ground/sealing/envelope.ts', find: "from 'node:crypto'", replace: `from '${LIGHT}'` },
  { file: 'src/ground/sealing/envelope.ts', find: "from 'node:zlib'", replace: `from '${LIGHT}'` },
  { file: 'src/engine/repository/pack.ts', find: "from 'node:crypto'", replace: `from '${LIGHT}'` },
  // Blobs are encrypted as ever, and stay raw.
  { file: 'src/ground/sealing/closing.ts', find: 'const RAW_SHARE = 0.95;', replace: 'const RAW_SHARE = -1;' },
];

export const SMALL_SCALE: readonly Patch[] = [
  ...LIGHT_SEALING,
  // 16 extents a subtree, 256 a volume.
  limit('MAP_FANOUT = 256', '4'),
  limit('EXTENT_BYTES_MIN = 16 * KIB', '64'),
  // Some 20 extents or 8 nodes to a pack; node packs hold a quarter.
  limit('PACK_BYTES_MAX = 16 * MIB', '2 * KIB'),
  limit('REWRITE_BYTES_MAX = 256 * MIB', '4 * KIB'),
  limit('CHECKPOINT_PART_ROWS = 524_288', '16'),
  limit('CHECKPOINT_RECORDS = 256', '24'),
  limit('CLAIMS_KEPT_MAX = 8', '2'),
  limit('SYNC_WINDOW = 16', '4'),
  { file: 'src/engine/repository/checkpoint.ts', find: 'const PACKS_A_PART = 524_288;', replace: 'const PACKS_A_PART = 8;' },
  { file: 'src/engine/repository/change.ts', find: 'export const PART_ROWS_MAX = 262_144;', replace: 'export const PART_ROWS_MAX = 16;' },
  { file: 'src/engine/repository/heal.ts', find: 'const PACKS_AN_ENTRY = 4096;', replace: 'const PACKS_AN_ENTRY = 2;' },
  { file: 'src/engine/repository/change-io.ts', find: 'const RECENT_PARTS = 16;', replace: 'const RECENT_PARTS = 2;' },
  // Spilling to a temporary folder is left to the unit tests: it is file I/O, which is no part of a run.
  { file: 'src/engine/repository/change-io.ts', find: 'const PARTS_IN_MEMORY = 8;', replace: 'const PARTS_IN_MEMORY = 1000;' },
  { file: 'src/engine/repository/node-cache.ts', find: 'const NODES_MAX = 1024;', replace: 'const NODES_MAX = 8;' },
  { file: 'src/engine/repository/destination.ts', find: 'NODE_PACK_BYTES + 64 * 1024', replace: 'NODE_PACK_BYTES + 1024' },
];
