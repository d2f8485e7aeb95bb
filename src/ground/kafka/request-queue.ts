/**
 * A mend of kafkajs 2.2.4: its request queue sets a timer after each answer, though nothing waits, to a moment that is past; on Node 24
 * that is a warning and a timer of 1 ms for as long as the connection stands (kafkajs #1751). Nothing waits: no timer is needed, for
 * whatever is queued later sets its own. The version is pinned; the test of this file says when the mend is no longer needed.
 */
import { createRequire } from 'node:module';

interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

const MENDED = Symbol('mended by Holdfast');

/** Once a process, however often it is called. */
export function mendRequestQueue(): void {
  // No public way in; the package has no map of exports that would forbid this one.
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue') as {
    readonly prototype: RequestQueue & { [MENDED]?: true };
  };
  if (prototype[MENDED]) return;
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype[MENDED] = true;
  prototype.scheduleCheckPendingRequests = function mended(this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this);
  };
}
