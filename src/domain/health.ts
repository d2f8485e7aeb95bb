/**
 * Health of a job's stores, with hysteresis: below the first threshold a store pauses the whole job, and only when every
 * store has stayed above the second one for a while does the job go on (system C).
 *
 * Pure: what happened goes in, the verdict comes out. Availability is an exponential average of successes; a store's link
 * is its average rate over puts that took time to tell.
 */

export interface StoreHealth {
  /** 0 to 1. */
  readonly availability: number;
  /** Bytes a second; null before anything was measured. */
  readonly rate: number | null;
  /** Successes in a row. */
  readonly streak: number;
}

export interface HealthThresholds {
  /** Below this the job pauses. */
  readonly pauseBelow: number;
  /** At or above this, for `steadyFor` answers in a row, the store lets it go on. */
  readonly resumeFrom: number;
  readonly steadyFor: number;
  /** A link slower than this pauses the job, too. */
  readonly bytesPerSecondMin: number;
}

/**
 * One call that failed after all its retries takes a new store to 0.5 and below 0.6; two in a row take any store there.
 * Three good probes in a row bring it back above 0.8. 32 KiB/s would take 16 MiB packs 8 minutes each.
 */
const HEALTH_DEFAULT: HealthThresholds = { pauseBelow: 0.6, resumeFrom: 0.8, steadyFor: 3, bytesPerSecondMin: 32 * 1024 };

const WEIGHT = 0.5;
/** Puts shorter than this say nothing about a link. */
const SECONDS_TO_TELL = 0.2;

export const HEALTHY: StoreHealth = { availability: 1, rate: null, streak: 0 };

export interface HealthEvent {
  readonly ok: boolean;
  readonly seconds: number;
  readonly bytes: number;
}

export function observe(health: StoreHealth, event: HealthEvent): StoreHealth {
  const availability = health.availability * (1 - WEIGHT) + (event.ok ? WEIGHT : 0);
  const measured = event.ok && event.seconds >= SECONDS_TO_TELL ? event.bytes / event.seconds : null;
  const rate = measured === null ? health.rate : health.rate === null ? measured : health.rate * (1 - WEIGHT) + measured * WEIGHT;
  return { availability, rate, streak: event.ok ? health.streak + 1 : 0 };
}

/** Why a store pauses the job, or null. */
export function pauseReason(health: StoreHealth, thresholds: HealthThresholds = HEALTH_DEFAULT): string | null {
  if (health.availability < thresholds.pauseBelow)
    return `availability ${health.availability.toFixed(2)} is below ${thresholds.pauseBelow}`;
  if (health.rate !== null && health.rate < thresholds.bytesPerSecondMin)
    return `its link is down to ${Math.round(health.rate)} bytes a second`;
  return null;
}

export const mayResume = (health: StoreHealth, thresholds: HealthThresholds = HEALTH_DEFAULT): boolean =>
  health.availability >= thresholds.resumeFrom && health.streak >= thresholds.steadyFor;
