/** Progress of a rescue, which is of this process alone, shown as a job's is. */
import type { RescueProgress } from '../rescue/rescue-restore.ts';
import type { Session } from './session.ts';

export interface RescueDisplay {
  show(progress: RescueProgress): void;
  stop(): void;
}

export async function showRescue({ terminal }: Session): Promise<RescueDisplay> {
  const { createDisplay } = await import('./job-progress.ts');
  const shown = createDisplay(terminal, 'rescue');
  const begunMs = Date.now();
  return {
    show({ phase, doneUnits, totalUnits, unitBytes, unitTotalBytes, readBytes }) {
      const progress = {
        kind: 'restoreVolume',
        state: 'running',
        phase,
        doneUnits,
        totalUnits,
        readBytes,
        sentBytes: 0,
        paused: null,
        snapshot: null,
        uris: [],
      } as const;
      const units = unitTotalBytes === 0 ? [] : [{ unit: doneUnits, doneBytes: unitBytes, totalBytes: unitTotalBytes }];
      shown.show(
        { id: 'rescue', runId: '', kind: 'rescue', status: 'RUNNING', begunMs, endedMs: null, progress, units, steps: [] },
        Date.now(),
      );
    },
    stop: () => shown.stop(),
  };
}
