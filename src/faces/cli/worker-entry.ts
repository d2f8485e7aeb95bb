/** Where the entries of the workers are, in the sources and in the emitted package alike, and how Node runs one. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const WORKER_ROLES = ['controller', 'node'] as const;
export type WorkerRole = (typeof WORKER_ROLES)[number];

/** Arguments of `process.execPath`. A small nursery costs a worker nothing that shows, and saves it up to 100 MiB. */
export const workerArguments = (role: WorkerRole): readonly string[] => [
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=4',
  fileURLToPath(new URL(`../../../workers/${role}${path.extname(import.meta.url)}`, import.meta.url)),
];
