/** A probe: does a store take and give back a small object? What a paused job asks until all its stores are well again. */
import type { StoreName } from '../../domain/ids.ts';
import type { Failure } from '../../domain/jobs.ts';
import { isHoldfastError } from '../../domain/errors.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { failureOf } from './destinations.ts';

export interface ProbeAnswer {
  readonly store: StoreName;
  readonly ok: boolean;
  readonly seconds: number;
  readonly bytes: number;
  readonly failure: Failure | null;
}

/** 64 KiB: long enough to tell a link that crawls. */
const PROBE_BYTES = 64 * 1024;

export async function probeStore(home: Home, name: StoreName): Promise<ProbeAnswer> {
  const begun = performance.now();
  const answer = (failure: Failure | null): ProbeAnswer => ({
    store: name,
    ok: failure === null,
    seconds: (performance.now() - begun) / 1000,
    bytes: PROBE_BYTES,
    failure,
  });
  try {
    const store = await home.store(name);
    const bytes = home.environment.random(PROBE_BYTES);
    const object = `probe/${bytes.subarray(0, 16).toString('hex')}`;
    await store.put(object, bytes);
    const back = await store.get(object);
    await store.delete([object]);
    return answer(back?.equals(bytes) ? null : { code: 'STORE_UNFIT', message: `${name} does not give back what was put` });
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return answer(failureOf(error));
  }
}
