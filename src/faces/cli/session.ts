/**
 * What one run of the command line has at hand: the environment, the terminal, and, opened when a command first asks for
 * them, the configuration, the home and the client for jobs. Everything opened is closed when the command ends.
 *
 * Modules that are slow to load (S3, Temporal, SQLite) are imported only here and in the actions, so that `holdfast --help`
 * answers at once.
 */
import type { Configuration, Variables } from '../../ground/configuration/configuration.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { Environment } from '../../engine/repository/environment.ts';
import type { JobClient } from './jobs.ts';
import type { Terminal } from './terminal.ts';

export interface Session extends AsyncDisposable {
  readonly variables: Variables;
  readonly terminal: Terminal;
  /** From the options of the command that runs. */
  readonly settings: { json: boolean; verbose: boolean };
  /** What the process ends with when nothing is thrown; the first one that is not 0 stands. */
  readonly exitCode: number;
  fail(exitCode: number): void;
  configuration(): Promise<Configuration>;
  home(): Promise<Home>;
  jobs(): Promise<JobClient>;
  /** The result of the command: JSON, or the text that a person reads. */
  print(data: unknown, text: () => string): void;
  /** For whoever waits; never part of the result. */
  say(line: string): void;
}

export async function createEnvironment(writer: string, say: (line: string) => void): Promise<Environment> {
  const { randomBytes } = await import('node:crypto');
  const { setTimeout: sleep } = await import('node:timers/promises');
  return {
    writer,
    nowMs: () => Date.now(),
    random: (size) => randomBytes(size),
    sleep: (ms) => sleep(ms),
    alarm: (message, details) => say(`warning: ${message} ${JSON.stringify(details)}`),
  };
}

/** Runs `make` at the first call and gives the same answer to every later one. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => (made ??= make());
}

export function createSession(variables: Variables, terminal: Terminal): Session {
  const opened: AsyncDisposable[] = [];
  const settings = { json: false, verbose: false };
  let exitCode = 0;
  const say = (line: string): void => terminal.err(`${line}\n`);
  const keep = <T extends AsyncDisposable>(resource: T): T => {
    opened.push(resource);
    return resource;
  };

  const configuration = once(async () => {
    const { readStandingConfiguration } = await import('./standing-configuration.ts');
    return readStandingConfiguration(variables);
  });
  const home = once(async () => {
    const { openHome } = await import('../../engine/catalog/home.ts');
    const { host, home: place, cacheDir } = await configuration();
    const environment = await createEnvironment(`${host}.cli.${process.pid}`, say);
    return keep(await openHome({ ...place, cacheDir, variables, environment }));
  });
  const jobs = once(async () => {
    const { connectJobs } = await import('./jobs.ts');
    return keep(await connectJobs((await configuration()).temporal));
  });

  return {
    variables,
    terminal,
    settings,
    get exitCode() {
      return exitCode;
    },
    fail(code) {
      if (exitCode === 0) exitCode = code;
    },
    configuration,
    home,
    jobs,
    print: (data, text) => terminal.out(settings.json ? `${JSON.stringify(data)}\n` : text()),
    say,
    async [Symbol.asyncDispose]() {
      for (const resource of opened.toReversed()) await resource[Symbol.asyncDispose]();
    },
  };
}
