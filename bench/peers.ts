/**
 * The peers, as bench/README and docs/operations.md say they are run: each at its fastest zstd, encryption on, caches and
 * repositories on the same local disk. A tool that is not on PATH (or named by HOLDFAST_BENCH_<TOOL>) is left out, loudly.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

export interface Peer {
  readonly name: string;
  readonly version: string;
  create(repository: string): void;
  /** Backs one image up as the named generation. */
  capture(repository: string, image: string, generation: string): void;
  restore(repository: string, target: string): void;
  check(repository: string): void;
  /** Deletes one generation and gives back what only it held. */
  remove(repository: string, generation: string): void;
}

const PASSWORD = 'a passphrase of the bench';

function tool(name: string): string | null {
  const named = process.env[`HOLDFAST_BENCH_${name.toUpperCase()}`];
  const found = spawnSync('sh', ['-c', `command -v ${named ?? name}`], { encoding: 'utf8' }).stdout.trim();
  return found === '' ? null : found;
}

function must(command: string, args: readonly string[], env: Readonly<Record<string, string>>, cwd?: string): string {
  const ran = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env }, cwd, maxBuffer: 64 * 1024 * 1024 });
  if (ran.status !== 0) throw new Error(`${path.basename(command)} ${args.join(' ')}: ${ran.stderr.slice(-2000)}`);
  return ran.stdout;
}

function restic(binary: string): Peer {
  const env = (repository: string) => ({
    RESTIC_PASSWORD: PASSWORD,
    RESTIC_REPOSITORY: repository,
    RESTIC_CACHE_DIR: `${repository}.cache`,
    RESTIC_PROGRESS_FPS: '0',
  });
  const version = must(binary, ['version'], {}).split(' ')[1] ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const compression = major > 0 || minor >= 18 ? 'fastest' : 'auto';
  return {
    name: 'restic',
    version: `${version} (--compression ${compression})`,
    create: (repository) => void must(binary, ['init', '--repository-version', '2'], env(repository)),
    capture: (repository, image, generation) =>
      void must(binary, ['backup', '--quiet', '--compression', compression, '--tag', generation, image], env(repository)),
    restore(repository, target) {
      rmSync(target, { recursive: true, force: true });
      must(
        binary,
        ['restore', 'latest', '--quiet', '--target', target, ...(minor >= 15 || major > 0 ? ['--sparse'] : [])],
        env(repository),
      );
    },
    check: (repository) => void must(binary, ['check', '--quiet', '--read-data'], env(repository)),
    remove(repository, generation) {
      const [snapshot] = JSON.parse(must(binary, ['snapshots', '--json', '--tag', generation], env(repository))) as { id: string }[];
      must(binary, ['forget', '--quiet', snapshot?.id ?? '', '--prune', '--max-unused', '0'], env(repository));
    },
  };
}

function borg(binary: string): Peer {
  const env = (repository: string) => ({
    ...{ BORG_PASSPHRASE: PASSWORD, BORG_REPO: repository, BORG_BASE_DIR: `${repository}.base` },
    ...{
      BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
      BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
      BORG_CHECK_I_KNOW_WHAT_I_AM_DOING: 'YES',
    },
  });
  const options = ['--chunker-params', 'fixed,262144', '--compression', 'zstd,1'];
  return {
    name: 'borg',
    version: `${must(binary, ['--version'], {}).trim().split(' ')[1] ?? ''} (fixed 256 KiB, zstd,1)`,
    create(repository) {
      mkdirSync(`${repository}.base`, { recursive: true });
      must(binary, ['init', '--encryption', 'repokey-blake2'], env(repository));
    },
    capture: (repository, image, generation) => void must(binary, ['create', ...options, `::${generation}`, image], env(repository)),
    restore(repository, target) {
      rmSync(target, { recursive: true, force: true });
      mkdirSync(target, { recursive: true });
      const newest = must(binary, ['list', '--short', '--last', '1'], env(repository)).trim();
      must(binary, ['extract', '--sparse', `::${newest}`], env(repository), target);
    },
    check: (repository) => void must(binary, ['check', '--verify-data'], env(repository)),
    remove(repository, generation) {
      must(binary, ['delete', `::${generation}`], env(repository));
      must(binary, ['compact', '--threshold', '0'], env(repository));
    },
  };
}

function kopia(binary: string): Peer {
  const base = (repository: string) => ({
    KOPIA_PASSWORD: PASSWORD,
    KOPIA_CONFIG_PATH: `${repository}.config`,
    KOPIA_CACHE_DIRECTORY: `${repository}.cache`,
    KOPIA_LOG_DIR: `${repository}.logs`,
    KOPIA_CHECK_FOR_UPDATES: 'false',
  });
  return {
    name: 'kopia',
    version: must(binary, ['--version'], {}).split(' ')[0] ?? '',
    create(repository) {
      mkdirSync(repository, { recursive: true });
      const hash = process.env['HOLDFAST_BENCH_KOPIA_HASH'];
      must(
        binary,
        [
          'repository',
          'create',
          'filesystem',
          '--path',
          repository,
          '--encryption=AES256-GCM-HMAC-SHA256',
          ...(hash ? [`--block-hash=${hash}`] : []),
        ],
        base(repository),
      );
      must(binary, ['policy', 'set', '--global', '--compression=zstd-fastest'], base(repository));
      must(binary, ['cache', 'set', '--content-cache-size-mb=0'], base(repository));
    },
    capture: (repository, image, generation) =>
      void must(binary, ['snapshot', 'create', '--no-progress', `--tags=generation:${generation}`, image], base(repository)),
    restore(repository, target) {
      rmSync(target, { recursive: true, force: true });
      const snapshots = JSON.parse(must(binary, ['snapshot', 'list', '--json', '--all'], base(repository))) as { id: string }[];
      must(binary, ['restore', '--no-progress', '--write-sparse-files', snapshots.at(-1)?.id ?? '', target], base(repository));
    },
    check: (repository) => void must(binary, ['snapshot', 'verify', '--verify-files-percent=100'], base(repository)),
    remove(repository, generation) {
      const snapshots = JSON.parse(
        must(binary, ['snapshot', 'list', '--json', '--all', `--tags=generation:${generation}`], base(repository)),
      ) as { id: string }[];
      must(binary, ['snapshot', 'delete', '--delete', snapshots[0]?.id ?? ''], base(repository));
      must(binary, ['maintenance', 'run', '--full', '--safety=none'], base(repository));
    },
  };
}

const KNOWN = { restic, borg, kopia } as const;

export function findPeers(): { readonly peers: readonly Peer[]; readonly missing: readonly string[] } {
  const peers: Peer[] = [];
  const missing: string[] = [];
  for (const [name, make] of Object.entries(KNOWN)) {
    const binary = tool(name);
    if (binary === null) missing.push(name);
    else peers.push(make(binary));
  }
  return { peers, missing };
}
