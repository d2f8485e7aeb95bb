/**
 * The bench of tables, to bench/results/tables.json: a past state of five million events over a million keys beside DuckDB's own fold of the same events on plain
 * Parquet, in turns; what it takes with a base near T in an archive of one size and of four times that; what it takes with more segments since the base;
 * archiving from a broker (tables-archiving.ts).
 *
 * Local folders, encryption on, page cache warm, two threads and the memory of a restore for both.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { DuckDBInstance } from '@duckdb/node-api';
import { DUCKDB_FOLD_BYTES } from '../src/domain/limits.ts';
import { Duck } from '../src/engine/tables/archive/duck.ts';
import { buildPastState } from '../src/engine/tables/past-state/past-state.ts';
import { makeSnapshot } from '../src/engine/tables/past-state/snapshot.ts';
import { createFileStore } from '../src/ground/stores/file-store.ts';
import { initialiseFileStore } from '../src/ground/stores/file-root.ts';
import { settleDisk } from './installation.ts';
import { benchArchiving } from './tables-archiving.ts';
import { createBenchArchive, OWN_FOLDS, stampOf, writePlainParquet, type BenchArchive } from './tables-archive.ts';

const EVENTS = '5000000';
const ALL = 'fold,growth,archiving';
const ARCHIVED = 800_000;

interface Sizes {
  readonly rounds: number;
  readonly events: number;
  /** Of them, since the base near T. */
  readonly sinceBase: number;
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const round = (n: number): number => Math.round(n * 1000) / 1000;

const openDuck = (parent: string): Promise<Duck> => Duck.open({ memoryBytes: DUCKDB_FOLD_BYTES, threads: 2, parent });

interface Built {
  readonly seconds: number;
  readonly rows: number;
  readonly readRows: number;
}

/** A past state from the opening of a session to its proof. */
async function build({ archive }: BenchArchive, work: string, event: number, withoutBases: boolean): Promise<Built> {
  settleDisk();
  const begun = performance.now();
  await using duck = await openDuck(work);
  const built = await buildPastState(archive, duck, { kind: 'time', us: stampOf(event) }, { withoutBases });
  const seconds = (performance.now() - begun) / 1000;
  if (built.kind !== 'built') throw new Error(JSON.stringify(built));
  const parts = built.proof.partitions.flatMap(({ read }) => read);
  return { seconds: round(seconds), rows: built.proof.rows, readRows: parts.reduce((sum, { from, to }) => sum + to - from, 0) };
}

/** DuckDB's own fold of the first events in one of its forms, from the opening of a session like ours. */
async function own(files: readonly string[], form: keyof typeof OWN_FOLDS): Promise<Built> {
  settleDisk();
  const begun = performance.now();
  const instance = await DuckDBInstance.create(':memory:', { memory_limit: `${Math.floor(DUCKDB_FOLD_BYTES / 1e6)}MB`, threads: '2' });
  const connection = await instance.connect();
  await connection.run(OWN_FOLDS[form]?.(files) ?? '');
  const seconds = (performance.now() - begun) / 1000;
  const [[rows] = []] = (await connection.runAndReadAll('SELECT count(*) FROM own')).getRowsJS();
  connection.closeSync();
  instance.closeSync();
  return { seconds: round(seconds), rows: Number(rows), readRows: 0 };
}

async function snapshotAll({ archive, keeper }: BenchArchive, work: string): Promise<number> {
  const begun = performance.now();
  for (const id of archive.known().partitions.keys()) {
    await using duck = await openDuck(work);
    await makeSnapshot(archive, duck, keeper, id);
  }
  return round((performance.now() - begun) / 1000);
}

async function beside(bench: BenchArchive, work: string, { rounds, events }: Sizes) {
  await using plain = await openDuck(work);
  const files = await writePlainParquet(plain, events);
  const ours: number[] = [];
  const theirs = new Map(Object.keys(OWN_FOLDS).map((form) => [form, [] as number[]]));
  const rows = new Set<number>();
  for (let i = 0; i < rounds; i++) {
    const built = await build(bench, work, events, true);
    ours.push(built.seconds);
    rows.add(built.rows);
    for (const [form, times] of theirs) {
      const folded = await own(files, form);
      times.push(folded.seconds);
      rows.add(folded.rows);
    }
    process.stderr.write(`past state ${built.seconds} s; ${[...theirs].map(([form, times]) => `${form} ${times.at(-1)} s`).join(', ')}\n`);
  }
  if (rows.size > 1) throw new Error(`the folds differ: ${[...rows].join(', ')}`);
  const own_ = Object.fromEntries([...theirs].map(([form, times]) => [form, median(times)]));
  const fastest = Math.min(...Object.values(own_));
  return { events, rows: Math.max(...rows), seconds: median(ours), duckdbSeconds: own_, ofFastest: round(median(ours) / fastest) };
}

export async function runTablesBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      folder: { type: 'string', default: '/tmp/hf-bench' },
      rounds: { type: 'string', default: '3' },
      events: { type: 'string', default: EVENTS },
      only: { type: 'string', default: ALL },
    },
  });
  const only = new Set(values.only.split(','));
  const sizes = { rounds: Number(values.rounds), events: Number(values.events), sinceBase: Number(values.events) / 10 };
  const work = path.join(values.folder, 'tables');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const results = {
    machine: { cpu: os.cpus()[0]?.model.trim(), cores: os.cpus().length, node: process.version },
    rounds: sizes.rounds,
    ...(only.has('fold') || only.has('growth') ? await benchPastStates(work, sizes, only) : {}),
    ...(only.has('archiving') ? { archiving: await benchArchiving(work, ARCHIVED) } : {}),
  };
  const file = path.join(import.meta.dirname, 'results', 'tables.json');
  // A run of some steps replaces theirs.
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {};
  if (values.events === EVENTS) writeFileSync(file, `${JSON.stringify({ ...before, ...results }, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  rmSync(work, { recursive: true, force: true });
}

async function benchPastStates(work: string, sizes: Sizes, only: ReadonlySet<string>) {
  const root = path.join(work, 'store');
  mkdirSync(root);
  await initialiseFileStore(root);
  await using maker = await openDuck(work);
  const bench = await createBenchArchive(createFileStore({ root }), maker);
  await bench.growTo(sizes.events - sizes.sinceBase);
  const snapshotSeconds = only.has('growth') ? await snapshotAll(bench, work) : null;
  await bench.growTo(sizes.events);
  return {
    ...(only.has('fold') ? { fold: await beside(bench, work, sizes) } : {}),
    ...(only.has('growth') ? { growth: { snapshotSeconds, ...(await growth(bench, work, sizes)) } } : {}),
  };
}

async function several(bench: BenchArchive, work: string, event: number, rounds: number) {
  const built: Built[] = [];
  for (let i = 0; i < rounds; i++) built.push(await build(bench, work, event, false));
  return { seconds: median(built.map(({ seconds }) => seconds)), readRows: built[0]?.readRows ?? 0 };
}

/** With a base near T: in an archive of events and in one of four times that; then with ever more since the base. */
async function growth(bench: BenchArchive, work: string, { rounds, events, sinceBase }: Sizes) {
  const once = await several(bench, work, events, rounds);
  await bench.growTo(4 * events - sinceBase);
  await snapshotAll(bench, work);
  await bench.growTo(4 * events);
  const fourTimes = await several(bench, work, 4 * events, rounds);
  const since = [];
  for (const more of [1, 2, 4]) {
    await bench.growTo(4 * events + (more - 1) * sinceBase * 2);
    since.push(await several(bench, work, 4 * events + (more - 1) * sinceBase * 2, 1));
  }
  return { once, fourTimes, ofOnce: round(fourTimes.seconds / once.seconds), since };
}
