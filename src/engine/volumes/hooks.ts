/**
 * Hooks: two programs of a host's operator that bring a volume's application to rest for the moment of a freeze.
 *
 *     <home>/hooks/<volume>/freeze   ends with 0 when nothing is written any more that the application would miss
 *     <home>/hooks/<volume>/thaw     lets it go on
 *
 * They lie on the host and not in the catalog: whoever may write the catalog must not thereby run programs on every host.
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

/** Longer than any application should rest; a file system frozen for a minute makes its users ill. */
export const HOOKS_WITHIN_MS = 30_000;
const OUTPUT_BYTES_MAX = 64 * 1024;

/** Null: the volume has none. One without the other, or that others could change, is refused. */
export async function findHooks(folder: string, volume: string): Promise<Hooks | null> {
  const [freeze, thaw] = ['freeze', 'thaw'].map((name) => path.join(folder, volume, name)) as [string, string];
  const found = await Promise.all([freeze, thaw].map(isThere));
  if (!found.includes(true)) return null;
  for (const file of [freeze, thaw]) await checkProgram(volume, file);
  return { volume, freeze, thaw };
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
    throw failed(volume, `${file} is not there, or not a program; freeze and thaw come as a pair`, cause);
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
      await rest(pair, withinMs);
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

async function rest({ volume, freeze }: Hooks, withinMs: number): Promise<void> {
  const options = { timeout: withinMs, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX } as const;
  await promisify(execFile)(freeze, [volume], options).catch((cause: unknown) => {
    const said = typeof cause === 'object' && cause !== null && 'stderr' in cause ? String(cause.stderr).trim() : '';
    throw failed(volume, `freeze did not succeed${said === '' ? '' : `: ${said.slice(0, 500)}`}`, cause);
  });
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
