/** How a command line names a past state, and where it goes; what does not fit is refused before anything is asked of anybody. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../domain/errors.ts';
import { formatMicros, parseMicros } from '../../domain/micros.ts';
import type { PastAsked, PastOutput } from '../../domain/past-states.ts';
import { positionOf, positionText } from '../../engine/tables/events/position.ts';
import { passphraseReference } from './arguments.ts';
import { clusterOf } from './kafka-options.ts';
import { parseDuration, parseInteger } from './quantities.ts';

const invalid = (field: string, text: string, expected: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 80))} does not fit`, { field, expected });

/** ISO 8601 to the microsecond, so long ago, or `latest`. */
export const parsePastTime =
  (field: string, nowMs: () => number = Date.now) =>
  (text: string): Extract<PastAsked, { kind: 'latest' | 'time' }> => {
    if (text === 'latest') return { kind: 'latest' };
    const us = parseMicros(text);
    if (us !== null) return { kind: 'time', us };
    if (!/^\d+[smhd]( ago)?$/.test(text))
      throw invalid(field, text, `a moment as ${formatMicros(nowMs() * 1000)}, so long ago as 5m, or latest`);
    return { kind: 'time', us: (nowMs() - parseDuration(field)(text.replace(/ ago$/, ''))) * 1000 };
  };

const LSN = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i;
const lsnOf = (text: string): bigint | null => {
  const match = LSN.exec(text);
  if (match !== null) return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
  return /^[0-9]{1,20}$/.test(text) ? BigInt(text) : null;
};
const BINLOG = /^[^:]*\.([0-9]{1,6}):([0-9]{1,11})$/;
const BINLOG_POSITION_BITS = 36n;

/** 32 hex digits, PostgreSQL's `LAST_COMMITTED,LSN` of an event's `sequence`, or MySQL's `FILE:POSITION`. */
export function parsePastPosition(text: string): Extract<PastAsked, { kind: 'position' }> {
  const position = /^[0-9a-f]{32}$/.test(text) ? BigInt(`0x${text}`) : (placeOf(text) ?? null);
  if (position === null)
    throw invalid('--position', text, '32 hex digits as results name them, LAST_COMMITTED,LSN of PostgreSQL, or FILE:POSITION of a binlog');
  return { kind: 'position', position: positionText(position) };
}

function placeOf(text: string): bigint | null {
  const binlog = BINLOG.exec(text);
  if (binlog !== null) return positionOf((BigInt(binlog[1] ?? 0) << BINLOG_POSITION_BITS) | BigInt(binlog[2] ?? 0), 0n);
  const [last, lsn, more] = text.split(',').map((part) => lsnOf(part.trim()));
  return last === null || last === undefined || lsn === null || lsn === undefined || more !== undefined ? null : positionOf(last, lsn);
}

export interface AskedOptions {
  readonly at?: PastAsked;
  readonly position?: PastAsked;
  readonly beforeTransaction?: string;
  readonly afterTransaction?: string;
}

/** The options by which `askedOf` knows what is asked for. */
export const addAskedOptions = (command: Command): Command =>
  command
    .option(
      '--at <time>',
      'a moment of the source, as 2026-03-01T14:32:07.123456Z; so long ago, as 5m; or latest (default)',
      parsePastTime('--at'),
    )
    .option(
      '--position <place>',
      "a place in the source's log: all transactions of which nothing stands at it or beyond",
      parsePastPosition,
    )
    .option('--before-transaction <id>', 'just before a transaction, by the name that the source gave it')
    .option('--after-transaction <id>', 'just after it');

export function askedOf({ at, position, beforeTransaction, afterTransaction }: AskedOptions): PastAsked | null {
  const asked: PastAsked[] = [at, position].filter((one) => one !== undefined);
  if (beforeTransaction !== undefined) asked.push({ kind: 'transaction', id: beforeTransaction, edge: 'before' });
  if (afterTransaction !== undefined) asked.push({ kind: 'transaction', id: afterTransaction, edge: 'after' });
  if (asked.length > 1)
    throw new HoldfastError('ARGUMENT_INVALID', 'a past state is asked for in one way', {
      field: 'command line',
      expected: 'one of --at, --position, --before-transaction and --after-transaction',
    });
  return asked[0] ?? null;
}

export interface OutputOptions {
  readonly to: string;
  readonly format?: string;
  readonly sqlTable?: string;
  readonly partitions: number;
  readonly replicas?: number;
  readonly brokers?: string;
  readonly tls?: boolean;
  readonly ca?: string;
  readonly sasl?: string;
  readonly username?: string;
  readonly password?: string;
}

export const addOutputOptions = (command: Command): Command =>
  command
    .requiredOption('--to <target>', 'a file that is not there yet, topic:NAME, or postgres://USER@HOST:PORT/DATABASE')
    .option('--format <format>', 'of a file: parquet, csv, jsonl or sql (default: as its name ends)')
    .option('--sql-table <name>', 'NAME or SCHEMA.NAME of the table that is made in PostgreSQL or by SQL (default: the name of the table)')
    .option('--partitions <n>', 'of a topic', parseInteger('--partitions'), 1)
    .option('--replicas <n>', 'of a topic (default: as the brokers do)', parseInteger('--replicas'))
    .option('--brokers <host:port,...>', "of a topic elsewhere (default: the brokers of the table's events)")
    .option('--tls', 'PostgreSQL, or brokers elsewhere: speak TLS, with the authorities of the system')
    .option('--ca <file>', 'the same, with this authority')
    .option('--sasl <mechanism>', 'brokers elsewhere: plain, scram-sha-256 or scram-sha-512')
    .option('--username <name>', 'with --sasl')
    .option('--password <ref>', 'of PostgreSQL, or with --sasl: env:NAME, file:/path or command:...', passphraseReference);

const ENDINGS: Readonly<Record<string, string>> = { parquet: 'parquet', csv: 'csv', jsonl: 'jsonl', ndjson: 'jsonl', sql: 'sql' };

/** A schema has the last word on what is in it. */
export function outputOf(table: string, options: OutputOptions): Record<string, unknown> & Pick<PastOutput, 'kind'> {
  const { to } = options;
  if (to.startsWith('topic:')) return topicOf(to.slice('topic:'.length), options);
  if (/^postgres(ql)?:\/\//.test(to)) return postgresOf(table, to, options);
  if (/^[a-z][a-z0-9+.-]*:/i.test(to)) throw invalid('--to', to, 'a path, topic:NAME or postgres://USER@HOST:PORT/DATABASE');
  const format = options.format ?? ENDINGS[/\.([a-z]+)$/.exec(to)?.[1] ?? ''];
  if (format === undefined) throw invalid('--format', to, 'a name that ends in .parquet, .csv, .jsonl or .sql, or --format');
  return { kind: 'file', path: resolve(to), format, ...(options.sqlTable === undefined ? {} : { table: options.sqlTable }) };
}

function topicOf(topic: string, options: OutputOptions): ReturnType<typeof outputOf> {
  const { partitions, replicas = null, brokers } = options;
  return { kind: 'topic', topic, partitions, replicas, cluster: brokers === undefined ? null : clusterOf({ ...options, brokers }) };
}

const POSTGRES_PORT = 5432;

function postgresOf(table: string, to: string, { sqlTable, tls, ca, password }: OutputOptions): ReturnType<typeof outputOf> {
  const url = URL.canParse(to) ? new URL(to) : null;
  // Not quoted back: it may hold a password.
  if (url === null || url.search !== '' || url.hash !== '' || url.username === '')
    throw invalid('--to', 'postgres://...', 'postgres://USER@HOST:PORT/DATABASE');
  if (url.password !== '')
    throw new HoldfastError('ARGUMENT_INVALID', 'a password is given by reference, and never on a command line', {
      field: '--to',
      expected: '--password env:NAME, file:/path or command:...',
    });
  const database = decodeURIComponent(url.pathname.slice(1)) || decodeURIComponent(url.username);
  const server = { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? POSTGRES_PORT : Number(url.port), database };
  return {
    ...{ kind: 'postgres', table: sqlTable ?? table },
    server: {
      ...{ ...server, user: decodeURIComponent(url.username), password: password ?? null },
      tls: tls === true || ca !== undefined ? { ca: ca === undefined ? null : resolve(ca) } : null,
    },
  };
}
