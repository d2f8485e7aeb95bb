/**
 * Tests that need programs of the system. Where one is missing they are skipped, loudly; with CI set that is a failure, for
 * `.ci/run` installs them.
 */
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { describe } from '@jest/globals';

const isThere = (program: string): boolean =>
  [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

export function describeWithPrograms(...programs: readonly string[]): typeof describe | typeof describe.skip {
  const missing = programs.filter((program) => !isThere(program));
  if (missing.length === 0) return describe;
  if (process.env['CI'] === 'true') throw new Error(`not on this machine: ${missing.join(', ')}`);
  process.stderr.write(`\n*** SKIPPED: tests that need ${missing.join(', ')}, which this machine does not have\n\n`);
  return describe.skip;
}
