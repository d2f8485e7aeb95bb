/**
 * How much of each journal one region alone holds, for Prometheus. Looked up beside the scrape and not in it, once in REFRESH_MS; what cannot be
 * known now is not told.
 */
import { Gauge, type Registry } from 'prom-client';
import { isHoldfastError } from '../../../domain/errors.ts';
import type { Journal } from '../../../engine/journal/journal.ts';
import { heldOnce } from '../../../engine/journal/keeping/at-risk.ts';
import type { Environment } from '../../../engine/repository/environment.ts';

const REFRESH_MS = 30_000;

/** How to open each journal that the catalog knows, of disks and of streams. */
export type JournalsKnown = () => Promise<ReadonlyMap<string, () => Promise<Journal>>>;

export function createRiskMetrics(registry: Registry, environment: Pick<Environment, 'nowMs' | 'alarm'>, journals: JournalsKnown): void {
  let bytesAtRisk: ReadonlyMap<string, number> = new Map();
  let refreshedMs = -Infinity;
  let isRefreshing = false;

  const lookUp = async (): Promise<void> => {
    const found = new Map<string, number>();
    for (const [journal, open] of await journals())
      try {
        found.set(journal, (await heldOnce(await open())).bytes);
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
      }
    bytesAtRisk = found;
  };
  const refresh = (): void => {
    if (isRefreshing || environment.nowMs() - refreshedMs < REFRESH_MS) return;
    isRefreshing = true;
    lookUp()
      .catch((error: unknown) => {
        bytesAtRisk = new Map();
        if (!isHoldfastError(error)) environment.alarm('what journals hold once is not known', { reason: String(error) });
      })
      .finally(() => {
        isRefreshing = false;
        refreshedMs = environment.nowMs();
      });
  };
  void new Gauge({
    name: 'holdfast_journal_at_risk_bytes',
    help: 'Bytes of closed epochs that one region alone holds',
    labelNames: ['journal'],
    registers: [registry],
    collect() {
      refresh();
      this.reset();
      for (const [journal, bytes] of bytesAtRisk) this.set({ journal }, bytes);
    },
  });
}
