/** Where a restore is killed: named, and sprung by what the process does next. Imported before everything that is to be caught. */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { Kafka } from 'kafkajs';
import pg from 'pg';
import { Duck } from '../../../src/engine/tables/archive/duck.ts';

export const FILE_POINTS = [
  'segment opened',
  'folded',
  'file begun',
  'rows half written',
  'before it is synced',
  'before the link',
  'after the link',
  'before tidying up',
] as const;
export const POSTGRES_POINTS = [
  'segment opened',
  'before the table',
  'after the table',
  'after some rows',
  'before the commit',
  'after the commit',
] as const;
/** Of making the topic, and of filling it. */
export const TOPIC_PREPARE_POINTS = ['before the topic', 'after the topic'] as const;
export const TOPIC_WRITE_POINTS = ['segment opened', 'before the first records', 'after some rows', 'after the last records'] as const;
export type RestorePoint =
  | (typeof FILE_POINTS)[number]
  | (typeof POSTGRES_POINTS)[number]
  | (typeof TOPIC_PREPARE_POINTS)[number]
  | (typeof TOPIC_WRITE_POINTS)[number];

const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  // The signal is on its way; nothing more is to be done.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  throw new Error('not killed');
};

const isPart = (file: unknown): boolean => String(file).endsWith('.holdfast-part');

/** Sets the trap. */
export function trap(point: RestorePoint): void {
  const at = (here: RestorePoint): void => void (here === point && die());
  const { open, link, rm, rename } = fs;
  let chunks = 0;
  fs.link = async (from, to) => {
    if (isPart(from)) at('before the link');
    await link(from, to);
    if (isPart(from)) at('after the link');
  };
  fs.open = async (file, flags, mode) => {
    if (isPart(file) && flags === 'r') at('before it is synced');
    const opened = await open(file, flags, mode);
    if (isPart(file) && flags === 'w') at('file begun');
    return opened;
  };
  fs.rename = async (from, to) => {
    await rename(from, to);
    if (String(from).endsWith('.parquet.part')) at('segment opened');
    if (isPart(to)) at('file begun');
  };
  fs.rm = async (file, options) => {
    if (isPart(file)) at('before tidying up');
    await rm(file, options);
  };
  syncBuiltinESMExports();
  const { run, chunks: chunksOf } = Duck.prototype;
  Duck.prototype.run = async function (this: Duck, sql) {
    await run.call(this, sql);
    if (sql.startsWith('CREATE OR REPLACE TABLE past ')) at('folded');
  };
  Duck.prototype.chunks = async function* (this: Duck, sql) {
    for await (const rows of chunksOf.call(this, sql)) {
      yield rows;
      if (++chunks === 2) for (const here of ['rows half written', 'after some rows'] as const) at(here);
    }
  };
  const query = pg.Client.prototype.query as (...args: unknown[]) => Promise<unknown>;
  pg.Client.prototype.query = async function (this: pg.Client, ...args: unknown[]) {
    const [asked] = args;
    if (asked === 'COMMIT') at('before the commit');
    if (typeof asked === 'string' && asked.startsWith('CREATE TABLE')) at('before the table');
    const answer = await query.apply(this, args);
    if (asked === 'COMMIT') at('after the commit');
    if (typeof asked === 'string' && asked.startsWith('CREATE TABLE')) at('after the table');
    return answer;
  } as typeof pg.Client.prototype.query;
  trapTopics(at);
}

function trapTopics(at: (here: RestorePoint) => void): void {
  const { admin, producer } = Kafka.prototype;
  Kafka.prototype.admin = function (this: Kafka, config) {
    const made = admin.call(this, config);
    const { createTopics } = made;
    made.createTopics = async (options) => {
      at('before the topic');
      const answer = await createTopics(options);
      at('after the topic');
      return answer;
    };
    return made;
  };
  Kafka.prototype.producer = function (this: Kafka, config) {
    const made = producer.call(this, config);
    const { send, disconnect } = made;
    made.send = (record) => {
      at('before the first records');
      return send(record);
    };
    made.disconnect = () => {
      at('after the last records');
      return disconnect();
    };
    return made;
  };
}
