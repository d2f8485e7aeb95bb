/**
 * The NBD bench: fio over a Unix socket against a served volume with tracking on, nbdkit's file plugin and qemu-nbd, on one
 * file in the page cache; to bench/results/volumes-nbd.json. Rounds take turns, and medians are told: ratios say more than rates.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const SIZE_MIB = 512;

interface Load {
  readonly name: string;
  readonly rw: 'randread' | 'randwrite' | 'read' | 'write';
  readonly blockBytes: number;
  readonly depth: number;
}

const LOADS: readonly Load[] = [
  ...([1, 16, 64] as const).flatMap((depth) =>
    (['randread', 'randwrite'] as const).map((rw) => ({ name: `4 KiB ${rw}, depth ${depth}`, rw, blockBytes: 4096, depth })),
  ),
  { name: '256 KiB read, depth 16', rw: 'read', blockBytes: 256 * 1024, depth: 16 },
  { name: '256 KiB write, depth 16', rw: 'write', blockBytes: 256 * 1024, depth: 16 },
];

interface Contender {
  readonly name: string;
  readonly export: string;
  start(image: string, socket: string, folder: string): ChildProcess;
}

const CONTENDERS: readonly Contender[] = [
  {
    name: 'ours',
    export: 'disk',
    start: (image, socket, folder) =>
      spawn(process.execPath, [path.join(import.meta.dirname, 'volumes-nbd-server.ts'), image, socket, path.join(folder, 'state')], {
        stdio: 'inherit',
      }),
  },
  { name: 'nbdkit', export: '', start: (image, socket) => spawn('nbdkit', ['-f', '-U', socket, 'file', image], { stdio: 'inherit' }) },
  {
    name: 'qemu-nbd',
    export: 'disk',
    start: (image, socket) => spawn('qemu-nbd', ['-t', '-e', '8', '-k', socket, '-f', 'raw', '-x', 'disk', image], { stdio: 'inherit' }),
  },
];

interface FioSide {
  readonly iops: number;
}
interface FioJob {
  readonly read: FioSide;
  readonly write: FioSide;
}

/** Operations a second. */
function fio(uri: string, { rw, blockBytes, depth }: Load, seconds: number): number {
  const out = execFileSync(
    'fio',
    [
      ...['--name=bench', '--ioengine=nbd', `--uri=${uri}`, `--rw=${rw}`, `--bs=${blockBytes}`, `--iodepth=${depth}`],
      ...[`--size=${SIZE_MIB}m`, '--time_based', `--runtime=${seconds}`, '--output-format=json'],
    ],
    { encoding: 'utf8', cwd: os.tmpdir() },
  );
  const { jobs } = JSON.parse(out.slice(out.indexOf('{'))) as { readonly jobs: readonly FioJob[] };
  return Math.max(...jobs.map((job) => Math.max(job.read.iops, job.write.iops)));
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;

export async function runVolumesNbdBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      folder: { type: 'string', default: '/tmp/hf-bench' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
    },
  });
  const folder = path.join(values.folder, 'nbd');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const image = path.join(folder, 'disk.img');
  execFileSync('dd', ['if=/dev/urandom', `of=${image}`, 'bs=1M', `count=${SIZE_MIB}`, 'status=none']);
  const rates = new Map<string, number[]>();
  for (let round = 0; round < Number(values.rounds); round++)
    for (const contender of CONTENDERS) {
      const socket = path.join(folder, `${contender.name}.sock`);
      const server = contender.start(image, socket, folder);
      while (!existsSync(socket)) await sleep(20);
      await sleep(200);
      for (const load of LOADS) {
        const key = `${load.name}/${contender.name}`;
        rates.set(key, [...(rates.get(key) ?? []), fio(`nbd+unix:///${contender.export}?socket=${socket}`, load, Number(values.seconds))]);
      }
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      await ended;
      rmSync(socket, { force: true });
    }
  const rows = LOADS.map((load) => ({
    load: load.name,
    ...Object.fromEntries(CONTENDERS.map(({ name }) => [name, Math.round(median(rates.get(`${load.name}/${name}`) ?? []))])),
  }));
  const results = path.join(import.meta.dirname, 'results');
  mkdirSync(results, { recursive: true });
  const machine = { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version };
  writeFileSync(path.join(results, 'volumes-nbd.json'), `${JSON.stringify({ machine, rounds: Number(values.rounds), rows }, null, 2)}\n`);
  for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
  rmSync(folder, { recursive: true, force: true });
}
