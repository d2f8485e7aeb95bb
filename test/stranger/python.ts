/**
 * A Python that can run restore.py: one that has zstd, AES and BLAKE3, or else packages installed once into the cache, or else
 * one without BLAKE3 (which the script says). Where none can be had the tests are skipped loudly, and fail when CI is set.
 */
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe } from '@jest/globals';

const run = promisify(execFile);
const here = import.meta.dirname;
const REQUIREMENTS = path.join(here, 'requirements.txt');
const INSTALL_MS_MAX = 300_000;

const NEEDED =
  'from cryptography.hazmat.primitives.ciphers.aead import AESGCM\ntry:\n import compression.zstd\nexcept ImportError:\n import zstandard';

export interface Python {
  readonly program: string;
  readonly env: NodeJS.ProcessEnv;
}

async function can(python: Python, source: string): Promise<boolean> {
  try {
    await run(python.program, ['-c', source], { env: python.env });
    return true;
  } catch {
    return false; // not there, or without the packages: the next one is asked
  }
}

/** Installs the packages for this Python below the cache; a second test run finds them there. */
async function install(program: string): Promise<Python> {
  const { stdout } = await run(program, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])']);
  const cache = process.env['HOLDFAST_CACHE'] ?? path.join(homedir(), '.cache', 'holdfast');
  const wanted = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 8);
  const target = path.join(cache, `stranger-python-${stdout.trim()}-${wanted}`);
  if (!existsSync(target)) {
    const making = `${target}.${process.pid}`;
    try {
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', making, '--requirement', REQUIREMENTS];
      await run(program, pip, { timeout: INSTALL_MS_MAX });
      if (!existsSync(target)) renameSync(making, target);
    } finally {
      rmSync(making, { recursive: true, force: true });
    }
  }
  return { program, env: { ...process.env, PYTHONPATH: target } };
}

async function findPython(): Promise<Python> {
  const there = ['python3', '/usr/bin/python3'].map((program) => ({ program, env: process.env }));
  for (const python of there) if (await can(python, `${NEEDED}\nimport blake3`)) return python;
  let reason = 'there is no python3';
  for (const { program } of there) {
    if (!(await can({ program, env: process.env }, ''))) continue;
    try {
      return await install(program);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  for (const python of there) if (await can(python, NEEDED)) return python;
  throw new Error(`no Python with the packages of test/stranger/requirements.txt, and pip could not install them: ${reason}`);
}

/** `describe` for tests that run restore.py, with the Python to run it by. */
export async function describeWithPython(): Promise<{
  readonly describe: typeof describe | typeof describe.skip;
  readonly python: Python;
}> {
  try {
    return { describe, python: await findPython() };
  } catch (error) {
    if (process.env['CI'] === 'true' || !(error instanceof Error)) throw error;
    process.stderr.write(`\n*** SKIPPED: tests that need Python: ${error.message}\n\n`);
    return { describe: describe.skip, python: { program: 'python3', env: process.env } };
  }
}

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RestoreCall {
  readonly store: string;
  readonly repository: string;
  readonly passphrase: string;
  readonly command: readonly string[];
}

/** Runs restore.py as a person would. */
export async function restorePy({ program, env }: Python, { store, repository, passphrase, command }: RestoreCall): Promise<Outcome> {
  const options = ['--store', store, '--repository', repository, '--passphrase-env', 'STRANGER_PASSPHRASE'];
  const child = { env: { ...env, STRANGER_PASSPHRASE: passphrase, PYTHONDONTWRITEBYTECODE: '1' } };
  try {
    const { stdout, stderr } = await run(program, [path.join(here, 'restore.py'), ...options, ...command], child);
    return { status: 0, stdout, stderr };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && typeof error.code === 'number' && 'stdout' in error && 'stderr' in error))
      throw error;
    return { status: error.code, stdout: String(error.stdout), stderr: String(error.stderr) };
  }
}
