/**
 * The log file of a server: where the caller wants it, or in a temporary folder that goes when the server is stopped.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface SessionFolder {
  readonly logFile: string;
  remove(): Promise<void>;
}

export async function sessionFolder(name: string, logFile: string | undefined): Promise<SessionFolder> {
  if (logFile !== undefined) return { logFile, remove: async () => {} };
  const folder = await mkdtemp(path.join(tmpdir(), `holdfast-${name}-`));
  return { logFile: path.join(folder, `${name}.log`), remove: () => rm(folder, { recursive: true, force: true }) };
}
