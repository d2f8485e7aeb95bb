/**
 * PostgreSQL's data in a folder that is given, on whatever disk that is, with a server that may come and go: everything that a commit
 * promises is promised (`fsync`), pages have checksums, and little is kept in memory or in the log, so that the disk has much to do.
 *
 * It listens on a socket alone, in a folder that is the server's user's and nobody else's.
 */
import { execFile } from 'node:child_process';
import { chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { findPostgres } from '../../../src/faces/stack/postgres.ts';
import { ServerProcess } from '../../../src/faces/stack/server-process.ts';
import { finder } from '../../faces/stack/describe-with.ts';

/** Its log is played back first. */
const READY_WITHIN_MS = 120_000;
const PORT = '5432';
const SETTINGS = {
  listen_addresses: '',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  shared_buffers: '8MB',
  min_wal_size: '4MB',
  max_wal_size: '24MB',
  autovacuum_naptime: '5s',
};

const run = promisify(execFile);

export interface PostgresSite extends AsyncDisposable {
  /** For whatever is PostgreSQL's user's. */
  readonly folder: string;
  readonly log: string;
  /** Makes a cluster on a file system that is mounted at `mounted`. */
  makeCluster(mounted: string): Promise<void>;
  start(mounted: string): Promise<Cluster>;
}

/** A server that runs. Disposing of it ends it, cleanly as long as it has its disk. */
export interface Cluster extends AsyncDisposable {
  connect(): Promise<pg.Client>;
  /** What `pg_amcheck` says of every table and index, and each of its rows; empty: nothing is wrong. */
  check(): Promise<string>;
}

export async function preparePostgres(): Promise<PostgresSite> {
  const programs = await findPostgres(finder);
  // Only root mounts, and PostgreSQL refuses to run as root.
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (which) => Number((await run('id', [which, 'postgres'])).stdout)));
  const user = { uid: uid ?? 0, gid: gid ?? 0 };
  const folder = await mkdtemp(path.join(tmpdir(), 'hf-pg-'));
  await chown(folder, user.uid, user.gid);
  const log = path.join(folder, 'postgres.log');
  const dataIn = (mounted: string): string => path.join(mounted, 'data');
  const as = { ...user, cwd: folder };

  return {
    ...{ folder, log },
    async makeCluster(mounted) {
      await chown(mounted, user.uid, user.gid);
      const cluster = ['-D', dataIn(mounted), '-U', 'holdfast', '-A', 'trust', '-E', 'UTF8', '--locale', 'C'];
      await run(path.join(programs, 'initdb'), [...cluster, '--data-checksums', '--wal-segsize', '1'], as);
      const lines = Object.entries({ ...SETTINGS, unix_socket_directories: folder }).map(([name, value]) => `${name} = '${value}'\n`);
      await writeFile(path.join(dataIn(mounted), 'postgresql.auto.conf'), lines.join(''));
    },
    async start(mounted) {
      // Of a server that was killed with its machine.
      for (const left of ['', '.lock']) await rm(path.join(folder, `.s.PGSQL.${PORT}${left}`), { force: true });
      const at = ['-h', folder, '-p', PORT, '-U', 'holdfast'];
      const server = await ServerProcess.start({
        ...{ name: 'postgresql', command: path.join(programs, 'postgres'), args: ['-D', dataIn(mounted)], env: process.env, runAs: user },
        ...{ logFile: log, lifetime: 'session', readyWithinMs: READY_WITHIN_MS, disposable: false, stopSignal: 'SIGINT' },
        isReady: () => run(path.join(programs, 'pg_isready'), ['-q', ...at, '-d', 'postgres']).then(() => true),
      });
      return {
        async connect() {
          const client = new pg.Client({ host: folder, port: Number(PORT), user: 'holdfast', database: 'postgres' });
          // It ends with its server, and whoever asks it is told.
          client.on('error', () => undefined);
          await client.connect();
          return client;
        },
        async check() {
          const all = [...at, '--all', '--install-missing', '--heapallindexed', '--parent-check'];
          const said = await run(path.join(programs, 'pg_amcheck'), all).catch(
            (error: unknown) => error as { stdout: string; stderr: string },
          );
          return `${said.stdout}${said.stderr}`;
        },
        [Symbol.asyncDispose]: () => server.stop(),
      };
    },
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The newest of what servers have said. */
export const saidBy = async ({ log }: PostgresSite): Promise<string> => (await readFile(log, 'utf8').catch(() => '')).slice(-2000);
