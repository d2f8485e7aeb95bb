/**
 * Real block devices for tests: loop devices over files, which root can make on most machines.
 *
 * Where there are none tests are skipped loudly; `.ci/run`, which makes the devices where it can, counts a skip as a failure. With
 * CI=true the file fails itself where the machine looks as if it could (root, and a /dev/loop-control).
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe } from '@jest/globals';

const losetup = (...args: readonly string[]): string =>
  execFileSync('losetup', args, {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
    stdio: 'pipe',
  }).trim();

export interface LoopDevice {
  readonly path: string;
  /** The file behind it. */
  readonly file: string;
  detach(): void;
}

/** A device of `sizeBytes` zeros over a sparse file in `folder`. */
export function attachLoopDevice(folder: string, name: string, sizeBytes: number, sectorBytes = 512): LoopDevice {
  const file = path.join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  const device = losetup('--find', '--show', '--sector-size', String(sectorBytes), file);
  return { path: device, file, detach: () => void losetup('--detach', device) };
}

/** Why there are no loop devices here, or null. */
function obstacle(): string | null {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-loop-'));
  try {
    attachLoopDevice(folder, 'probe', 1024 * 1024).detach();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const looksAble = (): boolean => {
  try {
    accessSync('/dev/loop-control', constants.R_OK | constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false; // a container without devices, or an ordinary user
  }
};

export function describeWithLoopDevices(): (name: string, tests: () => void) => void {
  const reason = obstacle();
  if (reason === null) return describe;
  if (process.env['CI'] === 'true' && looksAble())
    throw new Error(`no loop device, though this is root with a /dev/loop-control: ${reason}`);
  process.stderr.write(`\n*** SKIPPED: tests that need block devices: ${reason}\n\n`);
  return describe.skip;
}
