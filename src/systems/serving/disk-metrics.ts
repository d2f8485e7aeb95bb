/** What a disk server tells Prometheus. The rates of bytes are the kernel's to tell; these are what only it knows. */
import { Counter, Histogram, type Registry } from 'prom-client';
import type { DiskEvent } from './disk-server.ts';

/** From a tenth of a millisecond (one turn of the loop) to seconds (a store far away). */
const SECONDS_BUCKETS = [0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

export interface DiskMetrics {
  note(event: DiskEvent): void;
}

export function createDiskMetrics(registry: Registry): DiskMetrics {
  const of = { labelNames: ['disk' as const], registers: [registry] };
  const timed = { ...of, buckets: SECONDS_BUCKETS };
  const pause = new Histogram({ name: 'holdfast_disk_freeze_pause_seconds', help: 'For so long writers wait for a freeze', ...timed });
  const held = new Histogram({
    name: 'holdfast_disk_writer_held_seconds',
    help: 'Waits of writers for a view whose bound is reached',
    ...timed,
  });
  const touch = new Histogram({ name: 'holdfast_disk_first_touch_seconds', help: 'Waits for an extent that only the store had', ...timed });
  const gaveUp = new Counter({ name: 'holdfast_disk_views_given_up_total', help: 'Views that nobody read, given up for writers', ...of });
  const failures = new Counter({
    name: 'holdfast_disk_request_failures_total',
    help: 'NBD requests that were answered with an error',
    ...of,
  });
  const fetches = new Counter({ name: 'holdfast_disk_fetch_failures_total', help: 'Extents that could not be had from the store', ...of });
  return {
    note(event) {
      if (event.kind === 'nbd' && event.event.kind === 'failure') failures.inc({ disk: event.event.export });
      if (event.kind !== 'volume') return;
      const { disk, event: told } = event;
      if (told.kind === 'frozen') pause.observe({ disk }, told.pauseMs / 1000);
      else if (told.kind === 'held') held.observe({ disk }, told.ms / 1000);
      else if (told.kind === 'firstTouch') touch.observe({ disk }, told.ms / 1000);
      else if (told.kind === 'gaveUp') gaveUp.inc({ disk });
      else if (told.kind === 'fetchFailed') fetches.inc({ disk });
    },
  };
}
