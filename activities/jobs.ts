/** Activities that keep the catalog's book of jobs: what was begun and how it ended, so that a wiped Temporal can be rebuilt. */
import type { Home } from '../src/engine/catalog/home.ts';
import type { JobKind } from '../src/domain/jobs.ts';
import { translated } from './failure.ts';

export const createJobActivities = ({ home }: { readonly home: Home }) =>
  translated({
    async beginJob(id: string, job: JobKind, input: unknown): Promise<void> {
      await home.catalog.append((state) => {
        const known = state.jobs.get(id);
        return known?.ended === null && JSON.stringify(known.input) === JSON.stringify(input)
          ? null
          : { kind: 'JOB_BEGIN', id, job, input };
      });
    },
    async endJob(id: string, outcome: 'done' | 'failed' | 'cancelled', summary: string): Promise<void> {
      await home.catalog.append((state) =>
        state.jobs.get(id)?.ended === null ? { kind: 'JOB_END', id, outcome, summary: summary.slice(0, 1000) } : null,
      );
    },
  });
