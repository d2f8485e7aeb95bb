/**
 * The volumes bench: one table, the peers beside us in the same run, to bench/results/volumes.json.
 *
 * Image a: 4 GiB ext4, about half of it real files. Image b: 2 GiB of rows, half-compressible. Page cache warm, encryption
 * on everywhere, local folders. Ours is a workflow from start to result through real workers; a peer is its command. Medians
 * of the rounds; ratios say more than times, for the machine is shared.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { randomBytes } from 'node:crypto';
import { storeName, volumeName } from '../src/domain/ids.ts';
import { planDelete } from '../src/systems/lifecycle/deletion.ts';
import { openInstallation, settleDisk, type Installation } from './installation.ts';
import { anotherOfLineage, buildLineage, buildWideRepository } from './large-repositories.ts';
import { findPeers, type Peer } from './peers.ts';
import { ext4Image, rowsImage } from './pipeline-images.ts';

const EXTENT = 256 * 1024;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const ALL_STEPS = 'first,later,delete,memory';

interface Row {
  readonly step: string;
  readonly unit: 's' | 'MiB' | 'x' | '%';
  readonly ours: number;
  readonly peers: Readonly<Record<string, number>>;
  readonly note?: string;
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const round = (n: number): number => Math.round(n * 1000) / 1000;
const seconds = (work: () => void): number => {
  settleDisk();
  const begun = performance.now();
  work();
  return (performance.now() - begun) / 1000;
};
const drop = (target: string): void => rmSync(target, { recursive: true, force: true });
const warm = (file: string): void => void execFileSync('cat', [file], { stdio: ['ignore', 'ignore', 'ignore'] });
const usedBytes = (folder: string): number => Number(execFileSync('du', ['-sb', folder], { encoding: 'utf8' }).split('\t')[0]);

/** Rewrites `share` of an image's extents at places drawn by a seed; returns the ranges as a hint file's text. */
function changeShare(image: string, share: number, seed: number): string {
  const extents = Math.floor(statSync(image).size / EXTENT);
  const fd = openSync(image, 'r+');
  let state = seed >>> 0;
  const chosen = new Set<number>();
  while (chosen.size < Math.max(1, Math.floor(extents * share))) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    chosen.add(state % extents);
  }
  for (const extent of chosen) writeSync(fd, randomBytes(EXTENT), 0, EXTENT, extent * EXTENT);
  // What the bench itself wrote is not to be waited for by the first one that syncs something of its own.
  fsyncSync(fd);
  closeSync(fd);
  return [...chosen].map((extent) => `${extent * EXTENT} ${EXTENT}`).join('\n');
}

export async function runVolumesBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      folder: { type: 'string', default: '/tmp/hf-bench' },
      rounds: { type: 'string', default: '3' },
      peers: { type: 'boolean', default: true },
      generations: { type: 'string', default: '2000' },
      only: { type: 'string', default: ALL_STEPS },
    },
    allowNegative: true,
  });
  mkdirSync(values.folder, { recursive: true });
  const work = path.join(values.folder, 'volumes');
  drop(work);
  const { peers, missing } = values.peers ? findPeers() : { peers: [], missing: [] };
  for (const name of missing) process.stderr.write(`peer ${name} is not on this machine and is left out\n`);
  const images = { a: ext4Image(values.folder), b: rowsImage(values.folder) };
  const rows: Row[] = [];
  const add = (row: Row): void => {
    rows.push(row);
    process.stderr.write(
      `${row.step}: ${round(row.ours)} ${row.unit} ${JSON.stringify(Object.fromEntries(Object.entries(row.peers).map(([k, v]) => [k, round(v)])))} ${row.note ?? ''}\n`,
    );
  };
  await using installation = await openInstallation(work);
  for (const store of ['one', 'two', 'three']) await installation.addStore(store);
  const rounds = Number(values.rounds);
  const only = new Set(values.only.split(','));
  if (only.has('first')) await firstCaptures(installation, images, peers, rounds, add);
  if (only.has('later')) await later(installation, images.a, peers, rounds, add);
  if (only.has('delete')) await deletions(installation, peers, Number(values.generations), add);
  if (only.has('memory')) await memory(installation, add);
  const results = {
    machine: {
      cpu: os.cpus()[0]?.model.trim(),
      cores: os.cpus().length,
      memoryGib: Math.round(os.totalmem() / GIB),
      node: process.version,
    },
    peers: Object.fromEntries(peers.map((peer) => [peer.name, peer.version])),
    missing,
    rounds,
    rows: rows.map((row) => ({
      ...row,
      ours: round(row.ours),
      peers: Object.fromEntries(Object.entries(row.peers).map(([name, n]) => [name, round(n)])),
    })),
  };
  // A run of some steps is for looking; only a whole one is kept.
  if (values.only === ALL_STEPS) {
    const out = path.join(import.meta.dirname, 'results');
    mkdirSync(out, { recursive: true });
    writeFileSync(path.join(out, 'volumes.json'), `${JSON.stringify(results, null, 2)}\n`);
  }
  process.stdout.write(table(rows, peers));
  drop(work);
}

type Add = (row: Row) => void;

/** Times of one step by who took it, `ours` among them; a row has their medians. */
class Timings {
  readonly #times = new Map<string, number[]>();

  add(who: string, time: number): void {
    this.#times.set(who, [...(this.#times.get(who) ?? []), time]);
  }

  row(): Pick<Row, 'ours' | 'peers'> {
    const { ours = NaN, ...peers } = Object.fromEntries([...this.#times].map(([who, times]) => [who, median(times)]));
    return { ours, peers };
  }
}

const peerTimes = (peers: readonly Peer[], work: (peer: Peer) => number): Record<string, number> =>
  Object.fromEntries(peers.map((peer) => [peer.name, work(peer)]));
const repositoryOf = (installation: Installation, peer: Peer, name: string): string =>
  path.join(installation.folder, `${peer.name}-${name}`);

async function firstCaptures(
  installation: Installation,
  images: { a: string; b: string },
  peers: readonly Peer[],
  rounds: number,
  add: Add,
): Promise<void> {
  for (const [name, image] of Object.entries(images)) {
    warm(image);
    const one: number[] = [];
    const three: number[] = [];
    const theirs = new Map<string, number[]>();
    let read = 0;
    for (let i = 0; i < rounds; i++) {
      await installation.addVolume(`${name}-one-${i}`, image, ['one']);
      one.push((await installation.run('captureSnapshot', { volume: `${name}-one-${i}` })).seconds);
      await installation.addVolume(`${name}-three-${i}`, image, ['one', 'two', 'three']);
      const timed = await installation.run('captureSnapshot', { volume: `${name}-three-${i}` });
      three.push(timed.seconds);
      read = timed.result.readBytes;
      for (const peer of peers) {
        const repository = repositoryOf(installation, peer, `${name}-${i}`);
        peer.create(repository);
        theirs.set(peer.name, [...(theirs.get(peer.name) ?? []), seconds(() => peer.capture(repository, image, 'g0'))]);
        if (name === 'b' || i > 0) drop(repository);
      }
      for (const kept of ['one', 'three'])
        if (i > 0 || name === 'b')
          for (const store of ['one', 'two', 'three'])
            drop(path.join(installation.folder, 'stores', store, 'repositories', `${name}-${kept}-${i}`));
    }
    const fastest = Object.fromEntries([...theirs].map(([peer, times]) => [peer, median(times)]));
    add({ step: `first capture of ${name}`, unit: 's', ours: median(one), peers: fastest });
    add({
      step: `first capture of ${name} into three stores`,
      unit: 's',
      ours: median(three),
      peers: {},
      note: `${round(median(three) / median(one))}x of one; source read ${Math.round(read / MIB)} MiB once`,
    });
  }
  add({ step: 'peak memory of the node, 4 GiB volume, three stores', unit: 'MiB', ours: installation.nodePeakMib(), peers: {} });
}

async function later(installation: Installation, original: string, peers: readonly Peer[], rounds: number, add: Add): Promise<void> {
  const image = path.join(installation.folder, 'a.img');
  // With its holes: node's own copy would fill them, and both sides would read 1.4 GiB of zeros that no volume has.
  execFileSync('cp', ['--sparse=auto', '--reflink=never', original, image]);
  await installation.addVolume('later', image, ['one']);
  const first = await installation.run('captureSnapshot', { volume: 'later' });
  for (const peer of peers) {
    peer.create(repositoryOf(installation, peer, 'later'));
    peer.capture(repositoryOf(installation, peer, 'later'), image, 'g0');
  }
  const hints = path.join(installation.folder, 'changed');
  let since = first.result.snapshot;
  const hinted = async (text: string) => {
    writeFileSync(hints, text);
    const timed = await installation.run('captureSnapshot', { volume: 'later', changed: { since, ranges: hints } });
    since = timed.result.snapshot;
    return timed;
  };
  const withHint = new Timings();
  const without = new Timings();
  const nothing = new Timings();
  let hintedBytes = 0;
  for (let i = 0; i < rounds; i++) {
    const byPeers = (to: Timings, generation: string): void => {
      for (const peer of peers)
        to.add(
          peer.name,
          seconds(() => peer.capture(repositoryOf(installation, peer, 'later'), image, `${generation}${i}`)),
        );
    };
    const ranges = changeShare(image, 0.01, 2 * i + 1);
    warm(image);
    byPeers(withHint, 'hint');
    const timed = await hinted(ranges);
    withHint.add('ours', timed.seconds);
    hintedBytes = timed.result.readBytes;
    changeShare(image, 0.01, 2 * i + 2);
    const compared = await installation.run('captureSnapshot', { volume: 'later' });
    without.add('ours', compared.seconds);
    since = compared.result.snapshot;
    byPeers(without, 'compare');
    nothing.add('ours', (await hinted('')).seconds);
    byPeers(nothing, 'nothing');
  }
  add({ step: '1 % changed, with a hint', unit: 's', ...withHint.row(), note: `${Math.round(hintedBytes / MIB)} MiB read` });
  add({ step: '1 % changed, no hint', unit: 's', ...without.row() });
  add({ step: 'nothing changed, with a hint', unit: 's', ...nothing.row() });
  const target = path.join(installation.folder, 'restored.img');
  const restored = new Timings();
  for (let i = 0; i < rounds; i++) {
    drop(target);
    restored.add('ours', (await installation.run('restoreVolume', { volume: 'later', store: 'one', target, host: 'bench' })).seconds);
    for (const peer of peers) {
      const folder = path.join(installation.folder, 'restored');
      restored.add(
        peer.name,
        seconds(() => peer.restore(repositoryOf(installation, peer, 'later'), folder)),
      );
      drop(folder);
    }
  }
  execFileSync('cmp', [image, target]);
  add({ step: 'restore of a', unit: 's', ...restored.row() });
  const verified = await installation.run('verifyStore', { volume: 'later', store: 'one', depth: 'all' });
  const checked = peerTimes(peers, (peer) => seconds(() => peer.check(repositoryOf(installation, peer, 'later'))));
  add({
    step: 'read and check all data',
    unit: 's',
    ours: verified.seconds,
    peers: checked,
    note: `${verified.result.valuesChecked} values`,
  });
  for (const peer of peers) drop(repositoryOf(installation, peer, 'later'));
  drop(target);
}

async function deletions(installation: Installation, peers: readonly Peer[], generations: number, add: Add): Promise<void> {
  const image = path.join(installation.folder, 'generations.img');
  writeFileSync(image, randomBytes(512 * MIB).subarray(0, 512 * MIB));
  await installation.addVolume('generations', image, ['two']);
  for (const peer of peers) peer.create(repositoryOf(installation, peer, 'generations'));
  const ids = [];
  for (let g = 0; g < 20; g++) {
    // The same five places with new content: each generation alone owns its five extents.
    if (g > 0) changeShare(image, 5 / 2048, 100);
    ids.push((await installation.run('captureSnapshot', { volume: 'generations' })).result.snapshot);
    for (const peer of peers) peer.capture(repositoryOf(installation, peer, 'generations'), image, `g${g}`);
  }
  const repository = await installation.home.repository(
    storeName('two'),
    (await installation.home.catalog.sync()).volumes.get(volumeName('generations'))!.repository,
  );
  const folder = path.join(installation.folder, 'stores', 'two', 'repositories', 'generations', 'a');
  const id = ids[10]!;
  const plan = await planDelete(repository, id);
  const before = usedBytes(folder);
  const removed = await installation.run('deleteSnapshot', { volume: 'generations', store: 'two', snapshot: id });
  const given = before - usedBytes(folder);
  const theirs = peerTimes(peers, (peer) => seconds(() => peer.remove(repositoryOf(installation, peer, 'generations'), 'g10')));
  add({
    step: 'delete 1 of 20 and give back',
    unit: 's',
    ours: removed.seconds,
    peers: theirs,
    note: `${round((100 * given) / plan.freedBytes)} % of ${Math.round(plan.freedBytes / 1024)} KiB given back`,
  });
  const second = await installation.run('deleteSnapshot', { volume: 'generations', store: 'two', snapshot: ids[5]! });
  const small = second.seconds;
  const long = await buildLineage(installation, generations);
  const inLong = await installation.run('deleteSnapshot', { volume: 'long', store: 'two', snapshot: long });
  const again = await installation.run('deleteSnapshot', { volume: 'long', store: 'two', snapshot: anotherOfLineage() });
  add({
    step: `delete 1 of ${generations}`,
    unit: 's',
    ours: Math.min(inLong.seconds, again.seconds),
    peers: {},
    note: `${round(again.seconds / small)}x of 1 of 20`,
  });
  const [narrow, wide] = await buildWideRepository(installation);
  const inNarrow = await installation.run('deleteSnapshot', { volume: 'narrow', store: 'three', snapshot: narrow });
  const inWide = await installation.run('deleteSnapshot', { volume: 'wide', store: 'three', snapshot: wide });
  add({
    step: 'delete in a repository of ten times the size',
    unit: 's',
    ours: inWide.seconds,
    peers: {},
    note: `${round(inWide.seconds / inNarrow.seconds)}x of the small one`,
  });
  for (const peer of peers) drop(repositoryOf(installation, peer, 'generations'));
}

async function memory(installation: Installation, add: Add): Promise<void> {
  const image = path.join(installation.folder, 'sparse.img');
  const fd = openSync(image, 'w');
  ftruncateSync(fd, 1024 * GIB);
  for (let i = 0; i < 1024; i++) writeSync(fd, randomBytes(MIB), 0, MIB, i * GIB);
  closeSync(fd);
  await installation.addVolume('sparse', image, ['one']);
  await installation.restartNode();
  const timed = await installation.run('captureSnapshot', { volume: 'sparse' });
  add({
    step: 'first capture of 1 TiB sparse, 1 GiB of data',
    unit: 's',
    ours: timed.seconds,
    peers: {},
    note: `${Math.round(timed.result.readBytes / MIB)} MiB read`,
  });
  add({ step: 'peak memory of the node, 1 TiB sparse volume', unit: 'MiB', ours: installation.nodePeakMib(), peers: {} });
}

function table(rows: readonly Row[], peers: readonly Peer[]): string {
  const head = ['step', 'ours', ...peers.map((peer) => `${peer.name} ${peer.version}`), 'best peer / ours', 'note'];
  const lines = rows.map((row) => {
    const best = Math.min(...Object.values(row.peers));
    return [
      row.step,
      `${round(row.ours)} ${row.unit}`,
      ...peers.map((peer) => (row.peers[peer.name] === undefined ? '' : `${round(row.peers[peer.name]!)} s`)),
      Number.isFinite(best) ? `${round(best / row.ours)}x` : '',
      row.note ?? '',
    ];
  });
  return `${[head, head.map(() => '---'), ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n')}\n`;
}
