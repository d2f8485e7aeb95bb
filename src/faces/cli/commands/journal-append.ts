/** `holdfast journal append`: standard input into a stream, acknowledged when two regions hold it. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { storeName, type StoreName } from '../../../domain/ids.ts';
import { EPOCH_MEMBERS_MAX, MEMBER_ATTEMPTS_MAX, MEMBER_MS_MAX, STREAM_GIVE_UP_MS } from '../../../domain/limits.ts';
import type { StreamRecord } from '../../../engine/catalog/streams.ts';
import type { StreamWriter } from '../../../systems/regions/stream-writer.ts';
import { formatBytes, formatDuration, parseDuration, parseInteger } from '../quantities.ts';
import { journalName, memberOf, type RegionOption } from '../region-options.ts';
import type { Session } from '../session.ts';

interface AppendOptions {
  readonly region?: readonly RegionOption[];
  readonly spare?: readonly RegionOption[];
  readonly log?: StoreName;
  readonly resumeAt?: number;
  readonly retries: number;
  readonly slow: number;
  readonly giveUp: number;
}

/** What the catalog is to say: regions that are named now come first, and none that it knows is forgotten, for it may hold the only copy. */
function wantedRecord(journal: string, before: StreamRecord | undefined, { region = [], spare = [], log }: AppendOptions): StreamRecord {
  const named = [...region, ...spare];
  const regions = [...named, ...(before?.regions ?? []).filter((known) => !named.some((one) => one.region === known.region))];
  if (before === undefined && (region.length < 2 || new Set(region.slice(0, 2).map(({ domain }) => domain)).size < 2))
    throw new HoldfastError('ARGUMENT_INVALID', `${journal} is new, and needs two regions that do not fail at once`, {
      field: '--region',
      expected: '--region STORE[:DOMAIN], twice, with distinct domains',
    });
  if (new Set(named.map((one) => one.region)).size < named.length || regions.length > EPOCH_MEMBERS_MAX)
    throw new HoldfastError('ARGUMENT_INVALID', 'a region is named twice, or there are too many', {
      field: '--region',
      expected: `up to ${EPOCH_MEMBERS_MAX} stores, each once`,
    });
  // While the log's store is away nobody can take the place of a member: best it is none of the first two.
  const place = log ?? before?.log ?? spare.at(-1)?.region ?? regions[0]?.region;
  if (place === undefined) throw new HoldfastError('INTERNAL', 'a stream without a region');
  return { journal, log: place, regions };
}

async function append(session: Session, journal: string, options: AppendOptions): Promise<void> {
  const [{ openForAppending }, { StreamWriter }] = await Promise.all([
    import('../../../systems/regions/home-stream.ts'),
    import('../../../systems/regions/stream-writer.ts'),
  ]);
  const home = await session.home();
  const before = (await home.catalog.sync()).streams.get(journal);
  const record = wantedRecord(journal, before, options);
  // Said first: what has no entry in the catalog nobody would find.
  await home.catalog.append(({ streams }) =>
    JSON.stringify(streams.get(journal)) === JSON.stringify(record) ? null : { kind: 'STREAM_SET', stream: record },
  );
  const asked = options.region !== undefined || options.spare !== undefined;
  const { journal: opened, candidates } = await openForAppending(home, record, asked, (line) => session.say(line));
  const telling = tell(session, journal);
  await using writer = await StreamWriter.open({
    ...{ journal: opened, candidates, owner: home.environment.writer, resumeAt: options.resumeAt ?? null, giveUpMs: options.giveUp },
    limits: { memberAttemptsMax: options.retries, memberMsMax: options.slow },
    onAcknowledged: (offset) => telling.acknowledged(offset, writer),
  });
  telling.begun(writer);
  const stop = new AbortController();
  const ignore = session.terminal.onInterrupt(() => {
    stop.abort();
    session.say(`${journal}: takes nothing more; waits for what it has`);
    ignore();
  });
  try {
    for await (const bytes of until(AbortSignal.any([stop.signal, writer.failure]), session.terminal.input())) await writer.append(bytes);
    if (!(await writer.finish())) session.say(`${journal}: readers are given the last bytes when it is appended to the next time`);
  } catch (error) {
    throw unfinished(error, writer.acknowledged);
  } finally {
    ignore();
  }
  session.print({ ended: writer.acknowledged }, () => `${journal}: acknowledged up to byte ${writer.acknowledged}\n`);
  if (stop.signal.aborted) session.fail(130);
}

/** What comes until somebody has had enough. */
async function* until(signal: AbortSignal, input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const stopped = new Promise<null>((resolve) => signal.addEventListener('abort', () => resolve(null), { once: true }));
  const coming = input[Symbol.asyncIterator]();
  while (!signal.aborted) {
    const next = await Promise.race([coming.next(), stopped]);
    if (next === null || next.done === true) return;
    yield next.value;
  }
}

/** The same error, with what is safe. */
function unfinished(error: unknown, acknowledged: number): unknown {
  if (!(error instanceof HoldfastError)) return error;
  return new HoldfastError(
    error.code,
    `acknowledged up to byte ${acknowledged}, and no further: ${error.message}`,
    { ...error.details, acknowledged },
    error,
  );
}

const TELL_MS = 1000;

interface Telling {
  begun(writer: StreamWriter): void;
  acknowledged(offset: number, writer: StreamWriter): void;
}

/** Lines of JSON for programs; for people what changes, and on a terminal how far it is. */
function tell(session: Session, journal: string): Telling {
  let epoch = 0;
  let toldMs = Date.now();
  const begunMs = toldMs;
  const line = (data: unknown): void => {
    if (session.settings.json) session.print(data, () => '');
  };
  return {
    begun(writer) {
      const { epoch: first, members } = writer.status();
      epoch = first;
      line({ begin: writer.begin, epoch, members: members.map(({ region }) => region) });
      session.say(`${journal}: goes on at byte ${writer.begin}, in ${members.map(({ region }) => region).join(' and ')}`);
    },
    acknowledged(offset, writer) {
      const { epoch: now, members } = writer.status();
      line({ acknowledged: offset, epoch: now });
      if (now !== epoch) {
        epoch = now;
        session.say(
          `${journal}: goes on in ${members.map(({ region }) => region).join(' and ')}; \`holdfast journal backfill ${journal}\` copies what the new one lacks`,
        );
      }
      if (session.terminal.bar === null || Date.now() - toldMs < TELL_MS) return;
      toldMs = Date.now();
      const rate = ((offset - writer.begin) * 1000) / (toldMs - begunMs);
      session.say(`${journal}: acknowledged up to byte ${offset}, ${formatBytes(rate)}/s`);
    },
  };
}

const atLeastOne =
  (field: string) =>
  (text: string): number =>
    Math.max(1, parseInteger(field)(text));

export function addAppendCommand(journal: Command, session: Session): void {
  journal
    .command('append')
    .description('append standard input to a stream; a byte is acknowledged when two regions hold it')
    .argument('<name>', 'of the stream; it begins with its first append', journalName)
    .option('--region <store[:domain]>', 'holds a copy; two, of what does not fail at once', memberOf)
    .option('--spare <store[:domain]>', 'takes the place of one that is gone', memberOf)
    .option('--log <store>', 'where its log lies; best none of the two regions (default: the last spare, or the first region)', storeName)
    .option('--resume-at <byte>', 'the caller goes on at this byte; refused if the stream does not end there', parseInteger('--resume-at'))
    .option(
      '--retries <count>',
      'tries in a row that a region may fail before a spare takes its place',
      atLeastOne('--retries'),
      MEMBER_ATTEMPTS_MAX,
    )
    .option(
      '--slow <duration>',
      `how long a region may take (default: ${formatDuration(MEMBER_MS_MAX)})`,
      parseDuration('--slow'),
      MEMBER_MS_MAX,
    )
    .option(
      '--give-up <duration>',
      `end when nothing is acknowledged for so long (default: ${formatDuration(STREAM_GIVE_UP_MS)})`,
      parseDuration('--give-up'),
      STREAM_GIVE_UP_MS,
    )
    .action((name: string, options: AppendOptions) => append(session, name, options));
}
