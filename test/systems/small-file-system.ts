/**
 * A file system that fills up, for tests: a tmpfs of so many bytes, which root can mount on most machines.
 *
 * Where it cannot tests are skipped loudly; `.ci/run` counts a skip as a failure. With CI=true the file fails itself for root.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe } from '@jest/globals';

export interface SmallFileSystem extends Disposable {
  readonly folder: string;
  resize(bytes: number): void;
}

const mount = (...args: readonly string[]): void => void execFileSync('mount', args, { stdio: 'pipe' });

export function mountSmallFileSystem(bytes: number): SmallFileSystem {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-small-'));
  try {
    mount('-t', 'tmpfs', '-o', `size=${bytes}`, 'holdfast-test', folder);
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  return {
    folder,
    resize: (to) => mount('-o', `remount,size=${to}`, folder),
    [Symbol.dispose]() {
      execFileSync('umount', [folder], { stdio: 'pipe' });
      rmSync(folder, { recursive: true });
    },
  };
}

export function describeWithSmallFileSystems(): (name: string, tests: () => void) => void {
  try {
    mountSmallFileSystem(1024 * 1024)[Symbol.dispose]();
    return describe;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (process.env['CI'] === 'true' && process.getuid?.() === 0)
      throw new Error(`no tmpfs, though this is root: ${reason}`, { cause: error });
    process.stderr.write(`\n*** SKIPPED: tests that need a small file system: ${reason}\n\n`);
    return describe.skip;
  }
}
