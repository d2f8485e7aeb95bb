/**
 * Makes programs by the package clients that a machine has: Go's, and Maven's.
 *
 * Everything but the result is private to the build and removed with it. Go's module and build caches grow by about 3 GB for
 * one of these programs, hence the look at the free disk first; the program that stays is 100 to 250 MB.
 */
import { spawn } from 'node:child_process';
import { mkdir, rename, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Progress } from './progress.ts';

const GO_BUILD_FREE_BYTES_MIN = 6e9;
const REPORT_EVERY_MS = 15_000;
/** Of a failing client's output, the end is what says why. */
const TAIL_LINES = 12;

interface ClientRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What is being made, and how long that took where it was measured. */
  readonly label: string;
  readonly expected: string;
}

const elapsed = (sinceMs: number): string => {
  const seconds = Math.round((performance.now() - sinceMs) / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
};

async function runClient({ command, args, cwd, env, label, expected }: ClientRun, progress: Progress): Promise<void> {
  const begunMs = performance.now();
  const tail: string[] = [];
  let lines = 0;
  progress(`${label}: ${command} ${args.join(' ')} (${expected})`);
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines += 1;
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
    });
  }
  const report = setInterval(
    () => progress(`${label}: ${elapsed(begunMs)} (${expected}), ${lines} steps, ${tail.at(-1) ?? ''}`),
    REPORT_EVERY_MS,
  );
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', (error) =>
        reject('code' in error && error.code === 'ENOENT' ? new Error(`there is no \`${command}\` on this machine`) : error),
      );
      child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`\`${command}\` failed:\n${tail.join('\n')}`))));
    });
    progress(`${label}: made in ${elapsed(begunMs)}`);
  } finally {
    clearInterval(report);
  }
}

/** `go install module@version` into `folder`, under the name that Go gives the program. */
export async function goInstall(program: string, folder: string, expected: string, progress: Progress): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < GO_BUILD_FREE_BYTES_MIN) {
    throw new Error(`building it takes 6 GB of free disk in ${folder}, and there are ${(bavail * bsize) / 1e9} GB`);
  }
  const label = path.basename(program.split('@')[0] ?? program);
  const binDir = path.join(folder, 'bin');
  await mkdir(binDir);
  await runClient(
    {
      command: 'go',
      // Stripped; module files writable, so that they can be removed again.
      args: ['install', '-v', '-modcacherw', '-trimpath', '-ldflags=-s -w', program],
      cwd: folder,
      env: { GOBIN: binDir, GOMODCACHE: path.join(folder, 'modules'), GOCACHE: path.join(folder, 'build'), GOFLAGS: '-buildvcs=false' },
      label,
      expected,
    },
    progress,
  );
  await rename(path.join(binDir, label), path.join(folder, label));
}

interface MavenArtifact {
  readonly groupId: string;
  readonly artifactId: string;
  readonly version: string;
}

const pom = (artifacts: readonly MavenArtifact[]): string => `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>holdfast</groupId><artifactId>libs</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>${artifacts
    .map(
      ({ groupId, artifactId, version }) =>
        `<dependency><groupId>${groupId}</groupId><artifactId>${artifactId}</artifactId><version>${version}</version></dependency>`,
    )
    .join('')}</dependencies>
</project>
`;

/** The jars of the artifacts and of all they need, into `<folder>/libs`. */
export async function mavenLibs(artifacts: readonly MavenArtifact[], folder: string, expected: string, progress: Progress): Promise<void> {
  await writeFile(path.join(folder, 'pom.xml'), pom(artifacts));
  await runClient(
    {
      command: 'mvn',
      args: [
        '-q',
        '-B',
        // A file whose checksum is wrong fails it; without this it is a warning.
        '--strict-checksums',
        `-Dmaven.repo.local=${path.join(folder, 'repository')}`,
        'dependency:copy-dependencies',
        '-DincludeScope=runtime',
        `-DoutputDirectory=${path.join(folder, 'libs')}`,
      ],
      cwd: folder,
      label: artifacts[0]?.artifactId ?? 'libs',
      expected,
    },
    progress,
  );
}
