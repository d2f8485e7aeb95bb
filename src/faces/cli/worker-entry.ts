/** Where the entries of the workers are, in the sources and in the emitted package alike, and how Node runs one. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** `disks` needs no Temporal: it is the data path of the disks that this machine serves. `tables` archives tables, wherever it runs. */
export const WORKER_ROLES = ['controller', 'disks', 'node', 'tables'] as const;
export type WorkerRole = (typeof WORKER_ROLES)[number];
/** A receiver is for those who want to be replicated to, a replica for regions that are far: `holdfast up` starts none. */
export type ProcessRole = WorkerRole | 'receiver' | 'replica';

/**
 * For V8. A small nursery costs a process nothing that shows and saves it up to 100 MiB; a heap that may grow by a third before it is
 * collected, and not by its own size again, saves 15 MiB more. Not so where bodies of a gigabyte a second are buffers of the heap (a session's, on
 * both sides): there these two more than double the work of the main thread, and a nursery of 16 MiB is the least that costs nothing.
 */
const SPARING = ['--max-semi-space-size=4', '--heap-growing-percent=30'] as const;
const MOVING = ['--max-semi-space-size=16'] as const;
/**
 * A disk server's heap is small, and what its journals write passes through buffers beside it, which count: with a third of that heap to grow by
 * everything is marked eight times a second under load, a tenth of the thread that answers the clients. For 30 MiB more it is once.
 */
const SERVING = ['--max-semi-space-size=4', '--heap-growing-percent=200'] as const;
const FLAGS: Readonly<Record<ProcessRole, readonly string[]>> = {
  ...{ controller: MOVING, node: MOVING, receiver: MOVING, replica: MOVING },
  ...{ disks: SERVING, tables: SPARING },
};
export const workerFlags = (role: ProcessRole): readonly string[] => FLAGS[role];

/** Arguments of `process.execPath`. */
export const workerArguments = (role: ProcessRole): readonly string[] => [
  '--disable-warning=ExperimentalWarning',
  ...workerFlags(role),
  fileURLToPath(new URL(`../../../workers/${role}${path.extname(import.meta.url)}`, import.meta.url)),
];
