/**
 * How far receivers are behind, for Prometheus: of every volume that is replicated, by receiver.
 *
 * Looked up beside the scrape and not in it, once in REFRESH_MS: a store that is away must not hold up the other metrics. What
 * cannot be known now is not told; the age of what is told is bounded by the scrape's interval.
 */
import { Gauge, type Registry } from 'prom-client';
import { isHoldfastError } from '../../domain/errors.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { lagOf, replicatedPairs, type Lag } from './lag.ts';

const REFRESH_MS = 10_000;

export function createLagMetrics(registry: Registry, home: Home): void {
  let lags: readonly Lag[] = [];
  let refreshedMs = -Infinity;
  let isRefreshing = false;

  const lookUp = async (): Promise<void> => {
    const state = await home.catalog.sync();
    const found: Lag[] = [];
    for (const pair of replicatedPairs(state)) {
      const lag = await lagOf(home, state, pair).catch((error: unknown) => {
        if (!isHoldfastError(error)) throw error;
        return null;
      });
      if (lag !== null) found.push(lag);
    }
    lags = found;
  };

  const refresh = (): void => {
    if (isRefreshing || home.environment.nowMs() - refreshedMs < REFRESH_MS) return;
    isRefreshing = true;
    lookUp()
      .catch((error: unknown) => {
        lags = [];
        if (!isHoldfastError(error)) home.environment.alarm('the lag of replication is not known', { reason: String(error) });
      })
      .finally(() => {
        isRefreshing = false;
        refreshedMs = home.environment.nowMs();
      });
  };

  const gauge = (name: string, help: string, value: (lag: Lag) => number): void =>
    void new Gauge({
      ...{ name, help, labelNames: ['volume', 'receiver'], registers: [registry] },
      collect() {
        refresh();
        this.reset();
        for (const lag of lags) this.set({ volume: lag.volume, receiver: lag.receiver }, value(lag));
      },
    });
  gauge('holdfast_replication_lag_snapshots', 'Snapshots that the receiver does not have', ({ snapshots }) => snapshots);
  gauge('holdfast_replication_lag_bytes', 'Bytes of extents in which its newest differs from ours', ({ bytes }) => bytes);
  gauge('holdfast_replication_lag_seconds', 'Since the oldest snapshot that it does not have was taken', ({ ms }) => ms / 1000);
}
