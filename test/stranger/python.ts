/**
 * A Python that can run restore.py and journal.py: one that has zstd, AES and BLAKE3, or else packages installed once into the cache, or else
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

interface Described {
  readonly describe: typeof describe | typeof describe.skip;
  readonly python: Python;
}

/** Loudly: `.ci/run` counts it as a failure. */
const skipped = (reason: string): Described => {
  process.stderr.write(`\n*** SKIPPED: tests that need Python: ${reason}\n\n`);
  return { describe: describe.skip, python: { program: 'python3', env: process.env } };
};

/** `describe` for tests that run the scripts, with the Python to run them by. */
export async function describeWithPython(): Promise<Described> {
  try {
    return { describe, python: await findPython() };
  } catch (error) {
    if (process.env['CI'] === 'true' || !(error instanceof Error)) throw error;
    return skipped(error.message);
  }
}

/** The same for what cannot be read without BLAKE3; a Python that lacks only that is no failure. */
export async function describeWithBlake3(): Promise<Described> {
  const found = await describeWithPython();
  return (await can(found.python, 'import blake3')) ? found : skipped('it has no blake3 package');
}

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of the scripts as a person would; options that it takes come before its command. */
async function runScript({ program, env }: Python, script: string, passphrase: string, words: readonly string[]): Promise<Outcome> {
  const child = { env: { ...env, STRANGER_PASSPHRASE: passphrase, PYTHONDONTWRITEBYTECODE: '1' } };
  try {
    const { stdout, stderr } = await run(program, [path.join(here, script), ...words], child);
    return { status: 0, stdout, stderr };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && typeof error.code === 'number' && 'stdout' in error && 'stderr' in error))
      throw error;
    return { status: error.code, stdout: String(error.stdout), stderr: String(error.stderr) };
  }
}

export interface RestoreCall {
  readonly store: string;
  readonly repository: string;
  readonly passphrase: string;
  readonly command: readonly string[];
}

export const restorePy = (python: Python, { store, repository, passphrase, command }: RestoreCall): Promise<Outcome> => {
  const options = ['--store', store, '--repository', repository, '--passphrase-env', 'STRANGER_PASSPHRASE'];
  return runScript(python, 'restore.py', passphrase, [...options, ...command]);
};

export interface JournalCall {
  readonly journal: string;
  /** The store of the log; null: it is gone. */
  readonly log: string | null;
  readonly regions: ReadonlyMap<string, string>;
  readonly passphrase: string;
  readonly command: readonly string[];
}

export const journalPy = (python: Python, { journal, log, regions, passphrase, command }: JournalCall): Promise<Outcome> => {
  const places = [...(log === null ? [] : ['--log', log]), ...[...regions].flatMap(([name, root]) => ['--region', `${name}=${root}`])];
  const options = ['--journal', journal, '--passphrase-env', 'STRANGER_PASSPHRASE', ...places];
  return runScript(python, 'journal.py', passphrase, [...options, ...command]);
};

export const writeAheadPy = (python: Python, folder: string): Promise<Outcome> => runScript(python, 'journal.py', '', ['wal', folder]);
