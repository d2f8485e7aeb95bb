/**
 * The small scale: the journal's code with small limits, so that a run crosses every boundary: long heads are read twice, chains are read
 * ahead of what is there, pages of points end, members are given up after a few attempts.
 */
import type { Patch } from '../patches.ts';
import { LIGHT, limit } from '../scale.ts';

export const SMALL_JOURNAL: readonly Patch[] = [
  { file: 'src/ground/sealing/envelope.ts', find: "from 'node:crypto'", replace: `from '${LIGHT}'` },
  { file: 'src/ground/sealing/envelope.ts', find: "from 'node:zlib'", replace: `from '${LIGHT}'` },
  { file: 'src/engine/journal/sealed-object.ts', find: "from 'node:crypto'", replace: `from '${LIGHT}'` },
  { file: 'src/ground/sealing/closing.ts', find: "from 'node:crypto'", replace: `from '${LIGHT}'` },
  { file: 'src/ground/sealing/closing.ts', find: 'const { aead } = linked();', replace: 'const aead = null;' },
  { file: 'src/ground/sealing/opening.ts', find: "from 'node:crypto'", replace: `from '${LIGHT}'` },
  { file: 'src/ground/sealing/opening.ts', find: 'const { aead } = linked();', replace: 'const aead = null;' },
  limit('BATCH_RECORDS_MAX = 65_536', '4'),
  limit('BATCH_HEAD_READ_BYTES = 64 * KIB', '280'),
  limit('MEMBER_RETRY_MS_MAX = 1000', '200'),
  limit('TAKE_OVER_ATTEMPTS_MAX = 6', '4'),
  limit('SYNC_WINDOW = 16', '4'),
  limit('HISTORY_HEADS_AHEAD = 64', '4'),
  limit('RECOVERY_ROWS_WAITING = 512 * 1024', '8'),
  limit('RECOVERY_STRETCHES_MAX = 4 * 1024 * 1024', '64'),
];
