/** `holdfast job`: what runs, how far it is, and what can be asked of it. */
import type { Command } from 'commander';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { storeName, type StoreName } from '../../../domain/ids.ts';
import { DETACH_UPDATE, PAUSE_UPDATE, RESUME_UPDATE, type JobKind } from '../../../domain/jobs.ts';
import type { JobRecord } from '../../../engine/catalog/catalog.ts';
import type { JobView } from '../jobs.ts';
import { counted, formatDuration, formatTime, parseInteger } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderFields, renderTable } from '../table.ts';

interface JobLine {
  readonly id: string;
  readonly job: string;
  readonly state: string;
  readonly begunMs: number;
  readonly endedMs: number | null;
  readonly summary: string;
}

const STATES: Readonly<Record<string, string>> = {
  RUNNING: 'running',
  COMPLETED: 'done',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  TERMINATED: 'terminated',
};

const lineOfRecord = ({ id, job, begunMs, ended }: JobRecord, temporal: boolean): JobLine => ({
  ...{ id, job, begunMs },
  state: ended?.outcome ?? (temporal ? 'lost: `holdfast reconcile` starts it' : 'begun'),
  endedMs: ended?.atMs ?? null,
  summary: ended?.summary ?? '',
});

const lineOfView = ({ id, kind, status, begunMs, endedMs }: JobView): JobLine => ({
  ...{ id, job: kind, begunMs, endedMs },
  state: STATES[status] ?? status.toLowerCase(),
  summary: '',
});

/** What runs, from Temporal; what was begun and ended, from the catalog, which survives it. */
async function list(session: Session, { all = false, limit }: { readonly all?: boolean; readonly limit: number }): Promise<void> {
  const records = (await (await session.home()).catalog.sync()).jobs;
  const lines = new Map<string, JobLine>();
  let running: readonly JobView[] | null = null;
  try {
    running = await (await session.jobs()).list({ running: true, limit });
  } catch (error) {
    if (!isHoldfastError(error, 'TEMPORAL_UNREACHABLE')) throw error;
    session.say('Temporal does not answer; these are the jobs that the catalog knows');
  }
  for (const record of records.values()) if (all || record.ended === null) lines.set(record.id, lineOfRecord(record, running !== null));
  for (const view of running ?? []) lines.set(view.id, lineOfView(view));
  const shown = [...lines.values()].sort((a, b) => b.begunMs - a.begunMs).slice(0, limit);
  session.print(shown, () =>
    renderTable(
      [
        { title: 'JOB', cell: (line) => line.id },
        { title: 'STATE', cell: (line) => line.state },
        { title: 'BEGUN', cell: (line) => formatTime(line.begunMs) },
        { title: 'TOOK', align: 'right', cell: (line) => (line.endedMs === null ? '' : formatDuration(line.endedMs - line.begunMs)) },
        { title: 'SUMMARY', cell: (line) => line.summary },
      ],
      shown,
      all ? 'no jobs' : 'no job runs; --all shows those that ended',
    ),
  );
}

async function show(session: Session, id: string): Promise<void> {
  const record = (await (await session.home()).catalog.sync()).jobs.get(id) ?? null;
  const view = await (await session.jobs()).look(id).catch((error: unknown) => {
    if (record !== null && isHoldfastError(error, 'JOB_NOT_FOUND')) return null;
    throw error;
  });
  const [{ hindrance }, { figureLines }] = await Promise.all([import('../job-progress.ts'), import('../job-results.ts')]);
  const progress = view?.progress ?? null;
  session.print({ job: id, view, record }, () =>
    renderFields([
      ['job', id],
      ['kind', view?.kind ?? record?.job ?? null],
      ['state', view === null ? 'not known to Temporal' : (STATES[view.status] ?? view.status)],
      ['begun', formatTime(view?.begunMs ?? record?.begunMs ?? 0)],
      ['ended', typeof view?.endedMs === 'number' ? formatTime(view.endedMs) : null],
      ['phase', progress === null ? null : `${progress.state}, ${progress.phase}`],
      ['done', progress === null || progress.totalUnits === 0 ? null : `${progress.doneUnits} of ${counted(progress.totalUnits, 'unit')}`],
      ...(progress?.replication ? figureLines(progress.replication).map((line) => ['session', line] as const) : []),
      ['held up', view === null ? null : hindrance(view, Date.now())],
      ['input', record === null ? null : JSON.stringify(record.input)],
      ['outcome', record?.ended ? `${record.ended.outcome}: ${record.ended.summary}` : null],
    ]),
  );
}

/** Kinds of jobs that can be paused, resumed and told to leave a store behind. */
const STEERED: ReadonlySet<string> = new Set<JobKind>(['captureSnapshot', 'copySnapshot', 'replicateSnapshot', 'archiveTable']);

async function ask(session: Session, id: string, update: string, done: string, ...args: readonly [] | readonly [unknown]): Promise<void> {
  const jobs = await session.jobs();
  const { kind } = await jobs.look(id);
  if (!STEERED.has(kind))
    throw new HoldfastError('ARGUMENT_INVALID', `${id} is a ${kind}, which takes no ${update}`, {
      field: 'id',
      expected: 'a capture, copy, replication or archive of a table',
    });
  await jobs.update(id, update, ...args);
  session.print({ job: id, asked: update }, () => `${id} ${done}\n`);
}

async function wait(session: Session, id: string): Promise<void> {
  const jobs = await session.jobs();
  const { kind, runId } = await jobs.look(id);
  const [{ watchJob }, { readResult }] = await Promise.all([import('../watch-job.ts'), import('../job-results.ts')]);
  const watched = await watchJob(session, { id, runId });
  if (watched.kind !== 'ended') return;
  const { lines, exitCode } = readResult(kind, watched.result);
  session.fail(exitCode);
  session.print({ job: id, runId, state: 'done', result: watched.result }, () => lines.map((line) => `${line}\n`).join(''));
}

/** The job takes any name; one that is misspelt would be waited for in vain. */
async function detach(session: Session, id: string, store: StoreName | undefined): Promise<void> {
  if (store === undefined)
    throw new HoldfastError('ARGUMENT_INVALID', 'which store shall be left behind?', { field: '--store', expected: 'one of the job' });
  const { findStore } = await import('../../../engine/catalog/catalog.ts');
  findStore(await (await session.home()).catalog.sync(), store);
  await ask(session, id, DETACH_UPDATE, `leaves ${store} behind`, store);
}

export function addJobCommands(program: Command, session: Session): void {
  const job = program.command('job').description('what runs and what ran').helpGroup('Every day:');
  job
    .command('list')
    .description('jobs that run')
    .option('-a, --all', 'those that ended, too')
    .option('--limit <n>', 'at most so many', parseInteger('--limit'), 50)
    .action((options: { readonly all?: boolean; readonly limit: number }) => list(session, options));
  const named = (name: string, description: string): Command =>
    job.command(name).description(description).argument('<id>', 'as `holdfast job list` shows it');
  named('show', 'one job').action((id: string) => show(session, id));
  named('wait', 'watch a job until it ends; its exit status is that of the job').action((id: string) => wait(session, id));
  named('pause', 'stop a capture, copy or replication; what the stores have confirmed stays').action((id: string) =>
    ask(session, id, PAUSE_UPDATE, 'is paused'),
  );
  named('resume', 'let a paused job go on').action((id: string) => ask(session, id, RESUME_UPDATE, 'goes on'));
  named('detach', 'leave a store behind that holds the job up; it catches up in a job of its own')
    .option('-s, --store <name>', 'which store', storeName)
    .action((id: string, { store }: { readonly store?: StoreName }) => detach(session, id, store));
  named('cancel', 'end a job; starting it again goes on where it stopped').action(async (id: string) => {
    await (await session.jobs()).cancel(id);
    session.print({ job: id, asked: 'cancel' }, () => `${id} is asked to end\n`);
  });
}
