/**
 * The NBD bench: fio over a Unix socket against a served volume with tracking on, nbdkit's file plugin and qemu-nbd, on one
 * file in the page cache; then what freezes cost a writer; to bench/results/volumes-nbd.json.
 *
 * Rounds take turns, and medians are told. Ratios say more than rates, and the server's own processor time for an operation
 * more than either where the machine is shared.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { measurePause, type PauseFigures } from './volumes-nbd-moments.ts';
import { fio, runServer, versionOf, type Load, type ServerName } from './volumes-nbd-servers.ts';

const SIZE_MIB = 512;

/** `least`: what the issue wants of ours, as a share of a peer's rate. */
interface MeasuredLoad extends Load {
  readonly least: { readonly peer: ServerName; readonly ratio: number } | null;
}

const LOADS: readonly MeasuredLoad[] = [
  ...([1, 16, 64] as const).flatMap((depth): readonly MeasuredLoad[] => [
    {
      ...{ name: `4 KiB randread, depth ${depth}`, rw: 'randread', blockBytes: 4096, depth },
      least: depth === 1 ? null : { peer: 'nbdkit', ratio: 1 },
    },
    { name: `4 KiB randwrite, depth ${depth}`, rw: 'randwrite', blockBytes: 4096, depth, least: { peer: 'qemu-nbd', ratio: 1 } },
  ]),
  { name: '256 KiB read, depth 16', rw: 'read', blockBytes: 256 * 1024, depth: 16, least: { peer: 'nbdkit', ratio: 0.6 } },
  { name: '256 KiB write, depth 16', rw: 'write', blockBytes: 256 * 1024, depth: 16, least: { peer: 'nbdkit', ratio: 0.6 } },
];

interface Measured {
  readonly iops: number;
  readonly cpuUsPerOperation: number;
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const rounded = (n: number, digits = 0): number => Number(n.toFixed(digits));

interface Row {
  readonly load: string;
  readonly iops: Readonly<Record<string, number>>;
  readonly cpuUsPerOperation: Readonly<Record<string, number>>;
  /** Ours as a share of each peer's. */
  readonly ratios: Readonly<Record<string, number>>;
  /** What is wanted, and whether it was reached; null: nothing is, or the peer is not there. */
  readonly target: { readonly peer: string; readonly ratio: number; readonly reached: boolean } | null;
}

function rowOf({ name, least }: MeasuredLoad, figures: ReadonlyMap<ServerName, readonly Measured[]>): Row {
  const of = (pick: (one: Measured) => number, digits = 0): Readonly<Record<string, number>> =>
    Object.fromEntries([...figures].map(([server, all]) => [server, rounded(median(all.map(pick)), digits)]));
  const iops = of((one) => one.iops);
  const ours = iops['ours'] ?? NaN;
  const ratios = Object.fromEntries(
    Object.entries(iops).flatMap(([server, rate]) => (server === 'ours' ? [] : [[server, rounded(ours / rate, 2)]])),
  );
  const reached = least === null ? undefined : ratios[least.peer];
  const target = least === null || reached === undefined ? null : { ...least, reached: reached >= least.ratio };
  return { load: name, iops, cpuUsPerOperation: of((one) => one.cpuUsPerOperation, 1), ratios, target };
}

function print(rows: readonly Row[], pause: PauseFigures): void {
  for (const { load, iops, cpuUsPerOperation, ratios, target } of rows) {
    const each = Object.entries(iops).map(([server, rate]) => `${server} ${rate}/s ${cpuUsPerOperation[server]} us`);
    const shares = Object.entries(ratios).map(([peer, ratio]) => `${rounded(ratio * 100)} % of ${peer}`);
    const wanted = target === null ? '' : `; wanted ${target.ratio * 100} % of ${target.peer}: ${target.reached ? 'reached' : 'MISSED'}`;
    process.stdout.write(`${load}: ${each.join(', ')}; ours is ${shares.join(', ')}${wanted}\n`);
  }
  process.stdout.write(
    `${pause.freezes} freezes under load: p99 of a freeze ${rounded(pause.freezeMsP99, 1)} ms; of the longest write beside one ` +
      `${rounded(pause.writeMsP99, 1)} ms (wanted 50), without freezes ${rounded(pause.quietWriteMsP99, 1)} ms\n`,
  );
}

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
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  const peers = (['nbdkit', 'qemu-nbd'] as const).map((name) => ({ name, version: versionOf(name) }));
  for (const { name, version } of peers)
    if (version === null) process.stderr.write(`peer ${name} is not on this machine and is left out\n`);
  const servers: readonly ServerName[] = ['ours', ...peers.flatMap(({ name, version }) => (version === null ? [] : [name]))];
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const image = path.join(folder, 'disk.img');
  execFileSync('dd', ['if=/dev/urandom', `of=${image}`, 'bs=1M', `count=${SIZE_MIB}`, 'status=none']);
  const figures = new Map(LOADS.map((load) => [load, new Map<ServerName, Measured[]>(servers.map((name) => [name, []]))]));
  for (let round = 0; round < rounds; round++)
    for (const name of servers) {
      await using server = await runServer(name, image, folder);
      for (const load of LOADS) {
        const before = server.cpuMs();
        const iops = await fio(server.uri, load, seconds, folder);
        const cpuUsPerOperation = ((server.cpuMs() - before) * 1000) / (iops * seconds);
        figures.get(load)?.get(name)?.push({ iops, cpuUsPerOperation });
      }
    }
  const rows = LOADS.map((load) => rowOf(load, figures.get(load) ?? new Map()));
  const pause = await pauseOf(image, folder, seconds * PAUSE_FACTOR);
  const results = path.join(import.meta.dirname, 'results');
  mkdirSync(results, { recursive: true });
  const machine = { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version };
  const versions = Object.fromEntries(peers.map(({ name, version }) => [name, version]));
  const told = { machine, peers: versions, rounds, seconds, rows, pause };
  writeFileSync(path.join(results, 'volumes-nbd.json'), `${JSON.stringify(told, null, 2)}\n`);
  print(rows, pause);
  rmSync(folder, { recursive: true, force: true });
}

/** Long enough for a hundred freezes. */
const PAUSE_FACTOR = 10;

async function pauseOf(image: string, folder: string, seconds: number): Promise<PauseFigures> {
  await using server = await runServer('ours', image, folder);
  return measurePause(server, seconds, folder);
}
