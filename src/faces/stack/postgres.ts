/**
 * A PostgreSQL server in a folder of its own that goes when it is stopped: the source of tables in tests and in the demo.
 *
 * It is made for change capture: the log says what changed (`wal_level=logical`), every commit's time is kept, so that whoever
 * asks may compare. PostgreSQL refuses to run as root, so a root hands it to another user of the machine, whose the folder is then.
 * It listens on the loopback interface alone and wants a password, which is made here and is on no command line.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, chown, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '../../domain/errors.ts';
import { findOnPath } from './component.ts';
import type { FinderOptions } from './component.ts';
import { LOOPBACK, freePorts } from './ports.ts';
import { ServerProcess } from './server-process.ts';

const READY_WITHIN_MS = 60_000;
const PASSWORD_BYTES = 16;
/** Where Debian puts the programs of each version, which are on nobody's PATH. */
const DEBIAN_FOLDER = '/usr/lib/postgresql';
/** Users that Debian has: the package's own, or the one for nobody's things. */
const USERS_TO_BE = ['postgres', 'nobody'] as const;
const REMEDY = "install Debian's postgresql, or name the folder of its programs (initdb, postgres) in HOLDFAST_POSTGRES_BIN";

export interface PostgresOptions {
  /** Settings beside those that change capture needs. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PostgresAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface RunningPostgres extends AsyncDisposable, PostgresAddress {
  readonly pid: number;
  stop(): Promise<void>;
}

const run = promisify(execFile);

const unavailable = (reason: string, cause?: unknown): HoldfastError =>
  new HoldfastError('COMPONENT_UNAVAILABLE', `postgresql cannot be had here: ${reason}; ${REMEDY}`, { component: 'postgresql' }, cause);

const isThere = async (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/** The folder with `initdb` and `postgres`: named, on PATH, or the newest of Debian's; COMPONENT_UNAVAILABLE where there is none. */
export async function findPostgres({ environment }: Pick<FinderOptions, 'environment'>): Promise<string> {
  const named = environment.postgres.programsDir;
  if (named !== undefined) {
    if (await isThere(path.join(named, 'initdb'))) return path.resolve(named);
    throw new HoldfastError('CONFIG_INVALID', `HOLDFAST_POSTGRES_BIN names ${named}, where no initdb is`, {
      field: 'HOLDFAST_POSTGRES_BIN',
    });
  }
  const initdb = await findOnPath('initdb', environment.searchPath);
  if (initdb !== null) return path.dirname(initdb);
  const versions = (await readdir(DEBIAN_FOLDER).catch(() => [])).sort((a, b) => Number(b) - Number(a));
  for (const version of versions) {
    const folder = path.join(DEBIAN_FOLDER, version, 'bin');
    if (await isThere(path.join(folder, 'initdb'))) return folder;
  }
  throw unavailable('there is no `initdb`');
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Who it runs as; null: as whoever runs this. */
async function userToBe(): Promise<User | null> {
  if (process.getuid?.() !== 0) return null;
  for (const name of USERS_TO_BE) {
    const ids = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]).catch(() => null);
    if (ids !== null) return { uid: Number(ids[0].stdout), gid: Number(ids[1].stdout) };
  }
  throw unavailable('it refuses to run as root, and there is no other user');
}

const settingsText = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} = '${value}'\n`)
    .join('');

const settingsOf = (port: number, settings: PostgresOptions['settings']): string =>
  settingsText({
    listen_addresses: LOOPBACK,
    port: String(port),
    unix_socket_directories: '',
    wal_level: 'logical',
    max_wal_senders: '8',
    max_replication_slots: '8',
    track_commit_timestamp: 'on',
    // The folder goes with the server: nothing has to survive a crash of the machine.
    fsync: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
    ...settings,
  });

/** Makes a cluster in `<folder>/data` whose one user has this password. */
async function makeCluster(programs: string, folder: string, user: User | null, password: string): Promise<string> {
  const data = path.join(folder, 'data');
  const passwordFile = path.join(folder, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user !== null) for (const file of [folder, passwordFile]) await chown(file, user.uid, user.gid);
  const cluster = ['-D', data, '-U', 'holdfast', '--pwfile', passwordFile, '-A', 'scram-sha-256', '-E', 'UTF8', '--locale', 'C'];
  await run(path.join(programs, 'initdb'), [...cluster, '--no-sync'], { ...user, cwd: folder }).catch((error: unknown) => {
    throw unavailable('`initdb` failed', error);
  });
  return data;
}

/** Starts a server of our own in a temporary folder. */
export async function startPostgres(options: PostgresOptions, finder: Pick<FinderOptions, 'environment'>): Promise<RunningPostgres> {
  const programs = await findPostgres(finder);
  const user = await userToBe();
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-postgres-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const password = randomBytes(PASSWORD_BYTES).toString('hex');
    const data = await makeCluster(programs, folder, user, password);
    const [port] = await freePorts([0]);
    await writeFile(path.join(data, 'postgresql.auto.conf'), settingsOf(port, options.settings));
    const address = { host: LOOPBACK, port, user: 'holdfast', password, database: 'postgres' };
    const server = await ServerProcess.start({
      ...{ name: 'postgresql', command: path.join(programs, 'postgres'), args: ['-D', data], env: process.env },
      ...{ logFile: path.join(folder, 'postgres.log'), lifetime: 'session', readyWithinMs: READY_WITHIN_MS },
      isReady: () => answers(programs, address),
      disposable: false,
      // SIGTERM would wait for whoever is connected.
      stopSignal: 'SIGINT',
      ...(user === null ? {} : { runAs: user }),
    });
    const stop = async (): Promise<void> => {
      await server.stop();
      await remove();
    };
    return { ...address, pid: server.pid, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await remove();
    throw error;
  }
}

const answers = async (programs: string, { host, port }: PostgresAddress): Promise<boolean> => {
  await run(path.join(programs, 'pg_isready'), ['-q', '-h', host, '-p', String(port)]);
  return true;
};
