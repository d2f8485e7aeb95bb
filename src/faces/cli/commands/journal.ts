/** `holdfast journal`: streams of bytes that two regions hold before they are acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { STREAM_LOOK_MS, STREAM_LOOK_MS_MAX } from '../../../domain/limits.ts';
import type { StreamPlace } from '../../../systems/regions/read-stream.ts';
import { giveWay } from '../../../ground/processes/give-way.ts';
import { openStreamReading } from '../opened-stream.ts';
import { counted, formatBytes, parseInteger } from '../quantities.ts';
import { journalName } from '../region-options.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { addAppendCommand } from './journal-append.ts';

interface ReadOptions {
  readonly from?: number;
  readonly to?: number;
}

async function read(session: Session, name: string, { from = 0, to }: ReadOptions): Promise<void> {
  const [{ streamEnds }, { readStream }] = await Promise.all([
    import('../../../systems/regions/stream-places.ts'),
    import('../../../systems/regions/read-stream.ts'),
  ]);
  const reading = await openStreamReading(session, name);
  const { acknowledged } = await streamEnds(reading, reading.journal.log.known());
  if (from > acknowledged || (to !== undefined && (to > acknowledged || to < from)))
    throw new HoldfastError('ARGUMENT_INVALID', `${acknowledged} bytes of ${name} are acknowledged`, {
      field: from > acknowledged ? '--from' : '--to',
      expected: `bytes up to ${acknowledged}, in order`,
    });
  for await (const bytes of readStream(reading, { offset: from, mark: null }, to ?? acknowledged)) await session.terminal.write(bytes);
}

/** Never ends by itself. A log or regions that are away are waited for. */
async function tail(session: Session, name: string, { from }: ReadOptions): Promise<void> {
  const [{ streamEnds }, { readStream }] = await Promise.all([
    import('../../../systems/regions/stream-places.ts'),
    import('../../../systems/regions/read-stream.ts'),
  ]);
  const stop = new AbortController();
  const ignore = session.terminal.onInterrupt(() => stop.abort());
  const { signal } = stop;
  try {
    const reading = await openStreamReading(session, name, signal);
    let place: StreamPlace = {
      offset: from ?? (await streamEnds(reading, reading.journal.log.known())).acknowledged,
      mark: null,
    };
    let isTold = false;
    for (let waitMs = STREAM_LOOK_MS; ; waitMs = Math.min(waitMs * 1.5, STREAM_LOOK_MS_MAX)) {
      try {
        const pieces = readStream(reading, place);
        let piece = await pieces.next();
        for (; piece.done !== true; piece = await pieces.next()) {
          await session.terminal.write(piece.value);
          place = { offset: place.offset + piece.value.length, mark: null };
          waitMs = STREAM_LOOK_MS;
        }
        place = piece.value;
        isTold = false;
      } catch (error) {
        if (!isHoldfastError(error, 'STORE_UNREACHABLE') || signal.aborted) throw error;
        if (!isTold) session.say(`waits: ${error.message}`);
        isTold = true;
      }
      await sleep(waitMs, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    session.fail(130);
  } finally {
    ignore();
  }
}

async function list(session: Session): Promise<void> {
  const { streams } = await (await session.home()).catalog.sync();
  session.print([...streams.values()], () =>
    renderTable(
      [
        { title: 'STREAM', cell: ({ journal }) => journal },
        { title: 'LOG', cell: ({ log }) => log },
        { title: 'REGIONS', cell: ({ regions }) => regions.map(({ region }) => region).join(', ') },
      ],
      [...streams.values()],
      'no streams; `holdfast journal append NAME --region STORE --region STORE` begins one',
    ),
  );
}

async function status(session: Session, name: string | undefined): Promise<void> {
  if (name === undefined) return list(session);
  const { streamStatus } = await import('../../../systems/regions/stream-status.ts');
  const now = await streamStatus(await openStreamReading(session, name));
  const { ends, why, owner, heldOnce, epochs } = now;
  session.print(now, () =>
    [
      ends === null
        ? `${name}: its end is not to be had: ${why ?? ''}\n`
        : `${name}: acknowledged up to byte ${ends.acknowledged}${ends.end > ends.acknowledged ? `; more is there, up to byte ${ends.end}` : ''}\n`,
      owner === null ? 'nobody has appended yet\n' : `appended to last by ${owner}\n`,
      heldOnce.epochs.length === 0
        ? 'two regions hold all that is closed\n'
        : `at risk: ${formatBytes(heldOnce.bytes)} of ${counted(heldOnce.epochs.length, 'epoch')} are held once; \`holdfast journal backfill ${name}\` copies them\n`,
      renderTable(
        [
          { title: 'EPOCH', align: 'right', cell: ({ epoch }) => String(epoch) },
          { title: 'WRITTEN TO', cell: ({ members }) => members.map(({ region }) => region).join(', ') },
          { title: 'HELD BY', cell: ({ full }) => full?.join(', ') ?? 'open' },
          { title: 'BATCHES', align: 'right', cell: ({ batches }) => String(batches ?? '') },
          { title: 'BY', cell: (epoch) => epoch.owner },
        ],
        epochs,
        'no epochs',
      ),
    ].join(''),
  );
}

async function backfill(session: Session, name: string): Promise<void> {
  const { backfillStream } = await import('../../../systems/regions/stream-status.ts');
  giveWay();
  const stop = new AbortController();
  const ignore = session.terminal.onInterrupt(() => stop.abort());
  try {
    const reading = await openStreamReading(session, name, stop.signal);
    const filled = await backfillStream(reading, (region) => session.say(`${region}: copies what it lacks`));
    session.print(filled, () =>
      filled.length === 0
        ? `${name}: its regions lack nothing that is closed\n`
        : filled
            .map(({ region, held, bytes }) => `${region}: holds ${counted(held.length, 'epoch')} more, ${formatBytes(bytes)} copied\n`)
            .join(''),
    );
  } finally {
    ignore();
  }
}

async function forget(session: Session, name: string): Promise<void> {
  const { catalog } = await session.home();
  await catalog.append(() => ({ kind: 'STREAM_REMOVE', journal: name }));
  session.print(
    { forgotten: name },
    () => `the catalog has forgotten ${name}; its objects stay in their stores, below journals/${name}/\n`,
  );
}

export function addJournalCommands(program: Command, session: Session): void {
  const journal = program
    .command('journal')
    .description('streams of bytes that two regions hold before they are acknowledged')
    .helpGroup('Every day:');
  addAppendCommand(journal, session);
  const of = (name: string, description: string): Command =>
    journal.command(name).description(description).argument('<name>', 'of the stream', journalName);
  of('read', 'what is acknowledged, from any region that has it, to standard output')
    .option('--from <byte>', 'from this one on', parseInteger('--from'))
    .option('--to <byte>', 'up to this one, which is left out (default: all that is acknowledged)', parseInteger('--to'))
    .action((name: string, options: ReadOptions) => read(session, name, options));
  of('tail', 'what comes, as it is acknowledged, until this is ended')
    .option('--from <byte>', 'from this one on (default: from now on)', parseInteger('--from'))
    .action((name: string, options: ReadOptions) => tail(session, name, options));
  journal
    .command('status')
    .description('how far a stream is acknowledged, who appends to it, and who holds what')
    .argument('[name]', 'of the stream (default: lists them)', journalName)
    .action((name: string | undefined) => status(session, name));
  of('backfill', 'copy what a new region lacks; who appends does not wait for it').action((name: string) => backfill(session, name));
  of('forget', 'let the catalog forget a stream; its objects stay').action((name: string) => forget(session, name));
}
