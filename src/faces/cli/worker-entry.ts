/** Where the entries of the workers are, in the sources and in the emitted package alike, and how Node runs one. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const WORKER_ROLES = ['controller', 'node'] as const;
export type WorkerRole = (typeof WORKER_ROLES)[number];

/** Arguments of `process.execPath`. */
export const workerArguments = (role: WorkerRole): readonly string[] => [
  '--disable-warning=ExperimentalWarning',
  fileURLToPath(new URL(`../../../workers/${role}${path.extname(import.meta.url)}`, import.meta.url)),
];
