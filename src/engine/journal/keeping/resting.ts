/**
 * Work on a journal that nobody waits for rests for as long as it has worked: the stores that it reads and writes, the disks under them and
 * the lines to them are those of whoever serves writes meanwhile. It takes twice as long, beside nobody, too: it cannot know.
 */
import type { Environment } from '../../repository/environment.ts';

/** A store that hangs for a while is not rested for as long. */
const REST_MS_MAX = 500;

/** Is called after each piece of work. */
export function resting({ nowMs, sleep }: Pick<Environment, 'nowMs' | 'sleep'>): () => Promise<void> {
  let begunMs = nowMs();
  return async () => {
    await sleep(Math.min(Math.max(0, nowMs() - begunMs), REST_MS_MAX));
    begunMs = nowMs();
  };
}
