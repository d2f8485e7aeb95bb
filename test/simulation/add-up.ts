/** What runs did, added up. Apart from campaign.ts, so that a process that only delegates loads no production module. */
export interface Failure {
  readonly seed: number;
  readonly step: number;
  readonly violation: string;
}

export interface CampaignResult {
  readonly seeds: number;
  readonly records: number;
  readonly steps: number;
  readonly failures: readonly Failure[];
  readonly stats: Readonly<Record<string, number>>;
}

export const EMPTY: CampaignResult = { seeds: 0, records: 0, steps: 0, failures: [], stats: {} };

export function addUp(a: CampaignResult, b: CampaignResult): CampaignResult {
  const stats: Record<string, number> = { ...a.stats };
  for (const [what, value] of Object.entries(b.stats))
    stats[what] = what.endsWith('the most') ? Math.max(value, stats[what] ?? 0) : value + (stats[what] ?? 0);
  return {
    seeds: a.seeds + b.seeds,
    records: a.records + b.records,
    steps: a.steps + b.steps,
    failures: [...a.failures, ...b.failures],
    stats,
  };
}
