/** Keeps the pin of a session while a call goes on: renewed beside it, and the call ends when that fails. */
import { messageOf } from '../../domain/errors.ts';
import { renewPin } from '../../engine/repository/pins.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';

/** Of the snapshot at its store: the same for all attempts of a run. */
export const replicationPin = (run: string): string => `replicate.${run}`;

/** To be called as often as one likes; throws what the last renewal has failed with. */
export function createPinKeeper(source: RepositoryReader, pin: string): () => void {
  let isRenewing = false;
  let failure: Error | null = null;
  return () => {
    if (failure !== null) throw failure;
    if (isRenewing) return;
    isRenewing = true;
    renewPin(source, pin, source.environment.nowMs())
      .catch((error: unknown) => (failure = error instanceof Error ? error : new Error(messageOf(error))))
      .finally(() => (isRenewing = false));
  };
}
