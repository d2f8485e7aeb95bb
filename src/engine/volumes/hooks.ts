/**
 * Hooks: programs of a host's operator, in pairs.
 *
 *     <home>/hooks/<volume>/freeze     ends with 0 when nothing is written any more that the application would miss
 *     <home>/hooks/<volume>/thaw       lets it go on
 *     <home>/hooks/<volume>/snapshot   makes a copy of the volume as it is now (LVM, ZFS, an array) and prints its path
 *     <home>/hooks/<volume>/release    removes that copy
 *     <home>/hooks/<journal>/check     says whether recovered disks are good: by itself, with their files as arguments
 *
 * Arguments are the volume, the snapshot's id and the volume's path. They lie on the host and not in the catalog: whoever may write the catalog must not thereby run programs on every host.
 * Thaw is run by a watchdog that was started before the freeze, when it is told to, when its time is over, or when we die:
 * an application is never left frozen by us.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '../../domain/errors.ts';

export interface Hooks {
  readonly volume: string;
  readonly freeze: string;
  readonly thaw: string;
}

/** A snapshot of somebody else's making. Asked again for the same id it gives the same one. */
export interface SnapshotHooks {
  take(snapshot: string, path: string): Promise<string>;
  release(snapshot: string, path: string): Promise<void>;
}

/** Longer than any application should rest; a file system frozen for a minute makes its users ill. */
const HOOKS_WITHIN_MS = 30_000;
/** An array may take its time; nobody rests meanwhile unless the hooks above are there, and then their time counts. */
const SNAPSHOT_WITHIN_MS = 120_000;
const OUTPUT_BYTES_MAX = 64 * 1024;

/** What brings its application to rest; null: the volume has none. */
export async function findHooks(folder: string, volume: string): Promise<Hooks | null> {
  const pair = await findPair(folder, volume, 'freeze', 'thaw');
  return pair && { volume, freeze: pair[0], thaw: pair[1] };
}

/** What makes a copy of it; null: the volume has none. */
export async function findSnapshotHooks(folder: string, volume: string): Promise<SnapshotHooks | null> {
  const pair = await findPair(folder, volume, 'snapshot', 'release');
  if (pair === null) return null;
  const [take, release] = pair;
  return {
    async take(snapshot, source) {
      const said = (await runHook(volume, take, [volume, snapshot, source], SNAPSHOT_WITHIN_MS)).trim();
      if (path.isAbsolute(said) && !said.includes('\n')) return said;
      throw failed(volume, `snapshot printed ${JSON.stringify(said.slice(0, 200))} and not one absolute path`);
    },
    async release(snapshot, source) {
      await runHook(volume, release, [volume, snapshot, source], SNAPSHOT_WITHIN_MS);
    },
  };
}

/** What checks the disks of a group; null: there is no such program. */
export async function findCheck(folder: string, journal: string): Promise<string | null> {
  const file = path.join(folder, journal, 'check');
  if (!(await isThere(file))) return null;
  await checkProgram(journal, file);
  return file;
}

/** One without the other, or that others could change, is refused. */
async function findPair(folder: string, volume: string, begin: string, end: string): Promise<readonly [string, string] | null> {
  const pair = [path.join(folder, volume, begin), path.join(folder, volume, end)] as const;
  if (!(await Promise.all(pair.map(isThere))).includes(true)) return null;
  for (const file of pair) await checkProgram(volume, file);
  return pair;
}

const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

const failed = (volume: string, why: string, cause?: unknown): HoldfastError =>
  new HoldfastError('HOOK_FAILED', `hooks of ${volume}: ${why}`, { volume }, cause);

async function checkProgram(volume: string, file: string): Promise<void> {
  await access(file, constants.X_OK).catch((cause: unknown) => {
    throw failed(volume, `${file} is not there, or not a program; hooks come in pairs`, cause);
  });
  const { mode } = await stat(file);
  if ((mode & 0o022) !== 0) throw failed(volume, `${file} can be changed by others; chmod go-w it`);
}

/** Runs `work` while the applications rest. HOOK_FAILED when one did not come to rest, or had to be woken before the end. */
export async function whileAtRest<T>(hooks: readonly Hooks[], work: () => Promise<T>, withinMs: number = HOOKS_WITHIN_MS): Promise<T> {
  const watchdogs: Watchdog[] = [];
  let result: T;
  try {
    for (const pair of hooks) {
      watchdogs.push(await Watchdog.start(pair, withinMs));
      await runHook(pair.volume, pair.freeze, [pair.volume], withinMs);
    }
    result = await work();
  } catch (error) {
    // What could not be woken is worse than what failed.
    await wakeAll(watchdogs);
    throw error;
  }
  await wakeAll(watchdogs);
  return result;
}

/** Each is told, whatever becomes of the one before. */
async function wakeAll(watchdogs: readonly Watchdog[]): Promise<void> {
  const woken = await Promise.allSettled(watchdogs.map((watchdog) => watchdog.wake()));
  for (const one of woken) if (one.status === 'rejected') throw one.reason;
}

async function runHook(volume: string, program: string, args: readonly string[], withinMs: number): Promise<string> {
  const options = { timeout: withinMs, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX } as const;
  try {
    return (await promisify(execFile)(program, args, options)).stdout;
  } catch (cause) {
    const said = typeof cause === 'object' && cause !== null && 'stderr' in cause ? String(cause.stderr).trim() : '';
    throw failed(volume, `${path.basename(program)} did not succeed${said === '' ? '' : `: ${said.slice(0, 500)}`}`, cause);
  }
}

/** Waits for the end of its input, or of its time, and becomes the thaw hook. In a session of its own, so that our end is not its. */
const WATCHDOG = 'timeout "$1" cat > /dev/null; exec "$2" "$3"';

class Watchdog {
  readonly #volume: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #told = false;
  #early = false;

  private constructor(volume: string, child: ChildProcess) {
    this.#volume = volume;
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once('error', () => resolve(null));
      child.once('exit', (code) => {
        this.#early = !this.#told;
        resolve(code);
      });
    });
  }

  static async start({ volume, thaw }: Hooks, withinMs: number): Promise<Watchdog> {
    const args = ['-c', WATCHDOG, 'watchdog', String(withinMs / 1000), thaw, volume];
    const child = spawn('sh', args, { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    // It may have gone already: its exit says so.
    child.stdin.on('error', () => undefined);
    const watchdog = new Watchdog(volume, child);
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) => reject(failed(volume, 'its watchdog cannot be started', cause)));
    });
    return watchdog;
  }

  async wake(): Promise<void> {
    this.#told = true;
    this.#child.stdin?.end();
    const code = await this.#ended;
    if (this.#early) throw failed(this.#volume, 'its time was over before the moment was frozen; it was thawed by its watchdog');
    if (code !== 0) throw failed(this.#volume, `thaw ended with ${code ?? 'a signal'}; look whether it still rests`);
  }
}
