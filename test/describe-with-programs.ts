/**
 * Tests that need programs of the system. Where one is missing they are skipped, loudly; with CI set that is a failure, for
 * `.ci/run` installs them.
 *
 *     const describePrograms = await describeWithPrograms('nbdcopy', 'qemu-io');
 *     describePrograms('...', () => { ... });
 */
import { describe } from '@jest/globals';
import { createPrograms } from '../src/faces/demo/programs.ts';

export async function describeWithPrograms(...names: readonly string[]): Promise<typeof describe | typeof describe.skip> {
  const programs = createPrograms(process.env['PATH'] ?? '', new AbortController().signal);
  const missing: string[] = [];
  for (const name of names) if ((await programs.find(name)) === null) missing.push(name);
  if (missing.length === 0) return describe;
  if (process.env['CI'] === 'true') throw new Error(`not on this machine: ${missing.join(', ')}`);
  process.stderr.write(`\n*** SKIPPED: tests that need ${missing.join(', ')}, which this machine does not have\n\n`);
  return describe.skip;
}
