/**
 * The bench of replication, to bench/results/replication.json: a session from one process to another over loopback beside a
 * local copy of the same snapshot, which take turns; what goes over the wire for a full, for 1 % changed and for nothing; and a
 * session over a line of 150 ms and 100 Mbit/s.
 *
 * 2 GiB of rows, half-compressible. Local folders, encryption on, page cache warm.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryName, storeName, volumeName, type SnapshotId, type StoreName } from '../src/domain/ids.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import { mapRoot, diffMaps } from '../src/engine/map/walk.ts';
import { mintToken } from '../src/engine/replication/tokens.ts';
import { readLocation } from '../src/engine/repository/location.ts';
import { findSnapshot } from '../src/engine/repository/transfer-reader.ts';
import { initialiseFileStore } from '../src/ground/stores/file-root.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { workerFlags, type ProcessRole } from '../src/faces/cli/worker-entry.ts';
import { openBenchHome } from './installation.ts';
import { captureDirectly } from './large-repositories.ts';
import { rowsImage } from './pipeline-images.ts';
import type { Order, SessionRun } from './replication-sender.ts';
import { openSlowLine, type Line } from './slow-line.ts';

const EXTENT = 256 * 1024;
const MIB = 1024 * 1024;
const SOURCE = storeName('source');
const HERE = storeName('here');
const THERE = storeName('there');
const LINE: Line = { oneWayMs: 75, bytesPerSecond: 100e6 / 8 };
const LINE_BYTES = 384 * MIB;

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const round = (n: number): number => Math.round(n * 1000) / 1000;
const peakMib = (pid: number): number =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? NaN) / 1024);

/** Of all of a process's threads, in the kernel and out of it. Proc ticks are hundredths of a second. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function addStore(home: Home, folder: string, name: StoreName): Promise<void> {
  const root = path.join(folder, 'stores', name);
  mkdirSync(root, { recursive: true });
  await initialiseFileStore(root);
  const store = { name, url: `file://${root}`, endpoint: null, region: null, credentials: null, bytesPerSecondMax: null };
  await home.catalog.append(() => ({ kind: 'STORE_ADD', store: { ...store, passphrase: 'env:HOLDFAST_PASSPHRASE', codec: 'zstd-1' } }));
}

async function addVolume(home: Home, name: string, image: string): Promise<void> {
  const volume = { name: volumeName(name), incarnation: 1, node: 'bench', path: image, extentBytes: EXTENT, stores: [SOURCE] };
  await home.catalog.append(() => ({ kind: 'VOLUME_ADD', volume: { ...volume, repository: repositoryName(name), retired: false } }));
}

interface Sides extends AsyncDisposable {
  readonly home: Home;
  readonly threads: Threads;
  readonly folder: string;
  readonly port: number;
  readonly sender: ChildProcess;
  readonly receiver: ChildProcess;
}

/** The next message of a process; rejects if it ends first. */
function answerOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('a process of the bench has ended'));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message);
    });
  });
}

/** A receiver that has nothing yet, as another administration has one. */
async function openSides(work: string): Promise<Sides> {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await openBenchHome(work, 'cache'));
  for (const store of [SOURCE, HERE]) await addStore(home, work, store);
  const threads = stack.use(new Threads());
  const folder = path.join(work, 'receiver');
  const { token, id, digest } = mintToken(randomBytes);
  {
    mkdirSync(folder, { recursive: true });
    await using other = await openBenchHome(folder, 'cache');
    await addStore(other, folder, THERE);
    const allowed = { rights: ['add' as const], quotaBytes: null, retentionFloorMs: null, untilMs: null, certificate: null };
    const record = { id, digest, store: THERE, repository: null, prefix: '', proof: 'listed' as const, ...allowed };
    await other.catalog.append(() => ({ kind: 'TOKEN_ADD', token: record }));
  }
  const start = (name: ProcessRole, file: string, args: readonly string[]): ChildProcess => {
    const child = fork(path.join(import.meta.dirname, file), args, { stdio: 'inherit', execArgv: [...workerFlags(name)] });
    stack.defer(async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    });
    return child;
  };
  const receiver = start('receiver', 'replication-receiver.ts', [folder]);
  const { port } = (await answerOf(receiver)) as { readonly port: number };
  const sender = start('node', 'replication-sender.ts', [work, token]);
  await answerOf(sender);
  return {
    ...{ home, threads, folder, port, sender, receiver },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Plays a session in the sender's process; the answer is what it came to. */
async function replicate({ sender, port: own }: Sides, volume: string, snapshot: SnapshotId, port = own): Promise<SessionRun> {
  sender.send({ kind: 'session', volume, snapshot, port } satisfies Order);
  return (await answerOf(sender)) as SessionRun;
}

/** Copies in the same process, which is a node's: both are held to the same memory. Seconds. */
async function copy({ sender }: Sides, volume: string, snapshot: SnapshotId): Promise<number> {
  sender.send({ kind: 'copy', volume, snapshot } satisfies Order);
  return (await answerOf(sender)) as number;
}

/** Stored bytes of the values in which a snapshot differs from the one before. */
async function packedBytes(home: Home, volume: string, before: SnapshotId | null, after: SnapshotId): Promise<number> {
  const reader = await home.reader(SOURCE, repositoryName(volume));
  const rootOf = (id: SnapshotId | null) => {
    const of = id === null ? null : findSnapshot(reader, volumeName(volume), id);
    return mapRoot(of?.root ?? null, of?.rootLocation ?? null);
  };
  const values = new Map<string, number>();
  for await (const { level, new: fingerprint, location } of diffMaps(rootOf(before), rootOf(after), reader.readNode, reader.readNode))
    if (level === 0 && location !== null) values.set(fingerprint.toString('latin1'), readLocation(location, 0)?.length ?? 0);
  return [...values.values()].reduce((sum, length) => sum + length, 0);
}

/** One extent in a hundred, all over it. */
function change(image: string, extents: number): void {
  const fd = openSync(image, 'r+');
  for (let extent = 0; extent < extents; extent += 100) writeSync(fd, randomBytes(EXTENT), 0, EXTENT, extent * EXTENT);
  closeSync(fd);
}

async function speed(sides: Sides, image: string, rounds: number) {
  const copies: number[] = [];
  const sessions: SessionRun[] = [];
  const packed: number[] = [];
  const cpu = { copy: 0, sender: 0, receiver: 0 };
  const spent = async (of: readonly (keyof typeof cpu)[], pids: readonly number[], work: () => Promise<unknown>): Promise<void> => {
    const before = pids.map(cpuSeconds);
    await work();
    for (const [i, name] of of.entries()) cpu[name] += (cpuSeconds(pids[i] ?? 0) - (before[i] ?? 0)) / rounds;
  };
  for (let i = 0; i < rounds; i++) {
    // A repository of its own each time: nothing is there, and nothing is left of the other's.
    const name = `rows-${i}`;
    await addVolume(sides.home, name, image);
    const snapshot = await captureDirectly(sides, name, SOURCE, sides.threads);
    const copied = async (): Promise<number> => copies.push(await copy(sides, name, snapshot));
    const replicated = async (): Promise<number> => sessions.push(await replicate(sides, name, snapshot));
    const turns = [
      () => spent(['copy'], [sides.sender.pid ?? 0], copied),
      () => spent(['sender', 'receiver'], [sides.sender.pid ?? 0, sides.receiver.pid ?? 0], replicated),
    ];
    for (const turn of i % 2 === 0 ? turns : turns.reverse()) await turn();
    packed.push(await packedBytes(sides.home, name, null, snapshot));
    process.stderr.write(`copy ${copies.at(-1)} s, session ${sessions.at(-1)?.seconds} s\n`);
  }
  return {
    copySeconds: median(copies),
    sessionSeconds: median(sessions.map(({ seconds }) => seconds)),
    speedShare: round(median(copies.map((seconds, i) => seconds / (sessions[i]?.seconds ?? NaN)))),
    wireOfPacked: round(median(sessions.map(({ wireBytes }, i) => wireBytes / (packed[i] ?? NaN)))),
    cpuSeconds: { copy: round(cpu.copy), sender: round(cpu.sender), receiver: round(cpu.receiver) },
  };
}

async function increments(sides: Sides, image: string) {
  const own = path.join(sides.folder, 'changing.img');
  copyFileSync(image, own);
  await addVolume(sides.home, 'changing', own);
  const capture = (): Promise<SnapshotId> => captureDirectly(sides, 'changing', SOURCE, sides.threads);
  const first = await capture();
  await replicate(sides, 'changing', first);
  change(own, (2048 * MIB) / EXTENT);
  const second = await capture();
  const changed = await replicate(sides, 'changing', second);
  const packed = await packedBytes(sides.home, 'changing', first, second);
  const third = await capture();
  const nothing = await replicate(sides, 'changing', third);
  rmSync(own);
  return {
    onePercent: { ...changed, packedBytes: packed, wireOfPacked: round(changed.wireBytes / packed) },
    nothing,
  };
}

/** What nobody can make smaller, so that the line is what it waits for. */
async function overLine(sides: Sides) {
  const image = path.join(sides.folder, 'noise.img');
  writeFileSync(image, '');
  truncateSync(image, LINE_BYTES);
  const fd = openSync(image, 'r+');
  for (let at = 0; at < LINE_BYTES; at += MIB) writeSync(fd, randomBytes(MIB), 0, MIB, at);
  closeSync(fd);
  await addVolume(sides.home, 'noise', image);
  const snapshot = await captureDirectly(sides, 'noise', SOURCE, sides.threads);
  await using line = await openSlowLine({ host: '127.0.0.1', port: sides.port }, LINE);
  const { seconds, wireBytes } = await replicate(sides, 'noise', snapshot, line.port);
  return { ...LINE, seconds, mib: LINE_BYTES / MIB, share: round(wireBytes / seconds / LINE.bytesPerSecond) };
}

export async function runReplicationBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { folder: { type: 'string', default: '/tmp/hf-bench' }, rounds: { type: 'string', default: '3' }, only: { type: 'string' } },
  });
  mkdirSync(values.folder, { recursive: true });
  const image = rowsImage(values.folder);
  const work = path.join(values.folder, 'replication');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work);
  await using sides = await openSides(work);
  if (values.only === 'full') {
    process.stdout.write(`${JSON.stringify(await speed(sides, image, Number(values.rounds)), null, 2)}\n`);
    return;
  }
  const results = {
    machine: { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version },
    rounds: Number(values.rounds),
    full: await speed(sides, image, Number(values.rounds)),
    ...(await increments(sides, image)),
    line: await overLine(sides),
    peakMib: { sender: peakMib(sides.sender.pid ?? 0), receiver: peakMib(sides.receiver.pid ?? 0) },
  };
  writeFileSync(path.join(import.meta.dirname, 'results', 'replication.json'), `${JSON.stringify(results, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  rmSync(work, { recursive: true, force: true });
}
