/**
 * Trying again, in the time of the environment: a simulation is the clock of it.
 */
import { MEMBER_RETRY_MS, MEMBER_RETRY_MS_MAX, TAKE_OVER_ATTEMPTS_MAX } from '../../../domain/limits.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { withRetry } from '../../../ground/stores/retrying.ts';
import type { Environment } from '../../repository/environment.ts';
import type { Journal } from '../journal.ts';

type Clock = Pick<Environment, 'random' | 'sleep'>;

/** From 0 up to 1. */
const chance = ({ random }: Pick<Clock, 'random'>): number => random(4).readUInt32BE(0) / 2 ** 32;

/** Waits longer after each failure in a row, and no two waiters alike. */
export const waitAfter = (clock: Clock, failures: number): Promise<void> =>
  clock.sleep(Math.min(MEMBER_RETRY_MS_MAX, MEMBER_RETRY_MS * 2 ** Math.min(failures - 1, 10)) * (0.5 + chance(clock) / 2));

/** The store with each call tried a few times. A put if absent whose answer was lost is settled by what is there. */
export const patiently = (store: ObjectStore, clock: Clock): ObjectStore =>
  withRetry(store, {
    attempts: TAKE_OVER_ATTEMPTS_MAX,
    baseDelayMs: MEMBER_RETRY_MS,
    maxDelayMs: MEMBER_RETRY_MS_MAX,
    sleep: (ms) => clock.sleep(ms),
    random: () => chance(clock),
  });

/** The journal with such stores in all its regions. */
export const patientJournal = (journal: Journal): Journal => ({
  ...journal,
  regions: new Map(
    [...journal.regions].map(([name, region]) => [name, { ...region, store: patiently(region.store, journal.environment) }]),
  ),
});
