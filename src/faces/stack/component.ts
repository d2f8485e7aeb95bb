/**
 * Finds a program that Holdfast needs but does not ship, or has it made.
 *
 * The order is fixed: what the environment names, what is on PATH, what the cache holds, and only then provisioning through
 * a package client of the machine. What is in the cache is whole: it is made under another name by whoever holds the lock, and
 * renamed when done, so neither a killed builder nor two starts at once can leave half a program or build one twice.
 */
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, realpath, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '../../domain/errors.ts';
import type { StackEnvironment } from './environment.ts';
import type { Progress } from './progress.ts';
import { withProcessLock } from '../../ground/processes/process-lock.ts';

export interface Component {
  readonly name: string;
  readonly version: string;
  /** What is kept in the cache folder `<name>-<version>`: a file or folder name. */
  readonly cached: string;
  /** The variable that names a copy of the user's own, and what it says now. */
  readonly variable: string;
  named(environment: StackEnvironment): string | undefined;
  /** The command to look for on PATH (null: it has none), and where the component is once that was found (for Kafka: the jars beside it). */
  readonly command: string | null;
  fromCommand(commandPath: string): string;
  /** Makes `cached` in the folder, which is empty and temporary. */
  provision(folder: string, progress: Progress): Promise<void>;
  /** Ends the sentence "X cannot be had here: ...": what to set or to install. */
  readonly remedy: string;
}

export interface Located {
  readonly path: string;
  readonly origin: 'environment' | 'path' | 'cache' | 'provisioned';
}

export interface FinderOptions {
  readonly environment: StackEnvironment;
  readonly progress: Progress;
}

const exists = async (file: string, mode: number = constants.F_OK): Promise<boolean> =>
  access(file, mode).then(
    () => true,
    () => false,
  );

export async function findOnPath(command: string, searchPath: string): Promise<string | null> {
  for (const folder of searchPath.split(path.delimiter)) {
    const candidate = path.join(folder, command);
    if (folder !== '' && (await exists(candidate, constants.X_OK))) return realpath(candidate);
  }
  return null;
}

const cacheFolder = (component: Component, environment: StackEnvironment): string =>
  path.join(environment.cacheDir, `${component.name}-${component.version}`);

/** The component if it is here already, or null; never builds. */
export async function locate(component: Component, environment: StackEnvironment): Promise<Located | null> {
  const named = component.named(environment);
  if (named !== undefined) {
    if (await exists(named)) return { path: path.resolve(named), origin: 'environment' };
    throw new HoldfastError('CONFIG_INVALID', `${component.variable} names ${named}, which is not there`, { field: component.variable });
  }
  const command = component.command === null ? null : await findOnPath(component.command, environment.searchPath);
  if (command !== null) return { path: component.fromCommand(command), origin: 'path' };
  const cached = path.join(cacheFolder(component, environment), component.cached);
  return (await exists(cached)) ? { path: cached, origin: 'cache' } : null;
}

const makingPrefix = (component: Component): string => `.making-${component.name}-${component.version}-`;

/** What killed builders left; only the holder of the lock may call it. */
async function removeLeftovers(component: Component, cacheDir: string): Promise<void> {
  const entries = await readdir(cacheDir);
  for (const entry of entries.filter((name) => name.startsWith(makingPrefix(component)))) {
    await rm(path.join(cacheDir, entry), { recursive: true, force: true });
  }
}

async function provisionInto(component: Component, { environment, progress }: FinderOptions): Promise<void> {
  const { cacheDir } = environment;
  await removeLeftovers(component, cacheDir);
  const making = await mkdtemp(path.join(cacheDir, makingPrefix(component)));
  try {
    await component.provision(making, progress);
    const target = cacheFolder(component, environment);
    await mkdir(target, { recursive: true });
    await rename(path.join(making, component.cached), path.join(target, component.cached));
  } catch (error) {
    if (isHoldfastError(error, 'COMPONENT_UNAVAILABLE')) throw error;
    const reason = messageOf(error);
    throw new HoldfastError(
      'COMPONENT_UNAVAILABLE',
      `${component.name} cannot be had here: ${reason}; ${component.remedy}`,
      { component: component.name },
      error,
    );
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** The component, found or provisioned; COMPONENT_UNAVAILABLE with what to install when neither can be. */
export async function ensureComponent(component: Component, options: FinderOptions): Promise<Located> {
  const { environment, progress } = options;
  const found = await locate(component, environment);
  if (found !== null) return found;
  const label = `${component.name} ${component.version}`;
  return withProcessLock(
    path.join(environment.cacheDir, `${component.name}-${component.version}.lock`),
    () => progress(`${label}: another process provisions it; waiting`),
    async () => {
      const meanwhile = await locate(component, environment);
      if (meanwhile !== null) return meanwhile;
      await provisionInto(component, options);
      progress(`${label}: kept in ${cacheFolder(component, environment)}`);
      return { path: path.join(cacheFolder(component, environment), component.cached), origin: 'provisioned' };
    },
  );
}
