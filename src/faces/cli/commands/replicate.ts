/** `holdfast replicate`: snapshots to a receiver that is somebody else's; what goes there, and how far it is. */
import type { Command } from 'commander';
import { isHoldfastError } from '../../../domain/errors.ts';
import { snapshotId, storeName, volumeName, type SnapshotId, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import { JOB_IDS, type JobInputs } from '../../../domain/jobs.ts';
import type { Lag } from '../../../systems/replication/lag.ts';
import { receiverName } from '../arguments.ts';
import type { JobView } from '../jobs.ts';
import { formatBytes, formatDuration } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { addReplicateHide, statusAt } from './replicate-asking.ts';
import { addReplicatePolicyCommands } from './replicate-policies.ts';
import { addReplicateReceiverCommands } from './replicate-receivers.ts';

interface StartOptions {
  readonly receiver: string;
  readonly store?: StoreName;
  readonly proof?: NonNullable<JobInputs['replicateSnapshot']['proof']>;
  readonly takeOver?: boolean;
  readonly detach?: boolean;
}

async function start(session: Session, volume: VolumeName, snapshot: SnapshotId | undefined, options: StartOptions): Promise<void> {
  const { receiver, store, proof, takeOver } = options;
  const { runJob } = await import('../run-job.ts');
  await runJob(
    session,
    'replicateSnapshot',
    {
      ...{ volume, receiver },
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(store === undefined ? {} : { store }),
      ...(proof === undefined ? {} : { proof }),
      ...(takeOver === undefined ? {} : { takeOver }),
    },
    options,
  );
}

interface StatusLine extends Pick<Lag, 'volume' | 'receiver'> {
  /** Null: no store of it answers, or none has a snapshot. */
  readonly lag: Lag | null;
  /** Of a session that goes on; the figures of its subtrees are in `progress.replication`. */
  readonly session: Pick<JobView, 'id' | 'progress' | 'steps'> | null;
}

async function status(session: Session): Promise<void> {
  const home = await session.home();
  const state = await home.catalog.sync();
  const { lagOf, replicatedPairs } = await import('../../../systems/replication/lag.ts');
  const lines: StatusLine[] = [];
  for (const pair of withRunning(replicatedPairs(state), state.jobs)) {
    const lag = await lagOf(home, state, pair).catch((error: unknown) => {
      if (!isHoldfastError(error)) throw error;
      session.say(`${pair.volume}: ${error.code}: ${error.message}`);
      return null;
    });
    lines.push({ ...pair, lag, session: await running(session, JOB_IDS.replicateSnapshot(pair), state.jobs) });
  }
  session.print(lines, () =>
    renderTable(COLUMNS, lines, 'nothing was replicated yet; `holdfast replicate start VOLUME --receiver NAME` does'),
  );
}

type Jobs = ReadonlyMap<string, { readonly job: string; readonly input: unknown; readonly ended: unknown }>;
type Pair = Pick<Lag, 'volume' | 'receiver'>;

/** And those whose first session goes on. */
function withRunning(pairs: readonly Pair[], jobs: Jobs): readonly Pair[] {
  const all = new Map(pairs.map((pair) => [JOB_IDS.replicateSnapshot(pair), pair]));
  for (const [id, { job, input, ended }] of jobs) {
    if (job !== 'replicateSnapshot' || ended !== null || all.has(id)) continue;
    // What a workflow of ours noted of itself.
    const { volume, receiver } = input as Pair;
    all.set(id, { volume, receiver });
  }
  return [...all.values()];
}

/** Asks Temporal only for what the catalog calls open. */
async function running(session: Session, id: string, jobs: Jobs): Promise<StatusLine['session']> {
  if (jobs.get(id)?.ended !== null) return null;
  try {
    const { progress, steps, status: state } = await (await session.jobs()).look(id);
    return state === 'RUNNING' ? { id, progress, steps } : null;
  } catch (error) {
    if (!isHoldfastError(error, 'JOB_NOT_FOUND', 'TEMPORAL_UNREACHABLE')) throw error;
    session.say(`${id}: ${error.code}: ${error.message}`);
    return null;
  }
}

/** Of the session that goes on, else of the last one. */
const figure =
  (of: (figures: NonNullable<NonNullable<JobView['progress']>['replication']>) => string) =>
  ({ session, lag }: StatusLine): string => {
    const figures = session === null ? lag?.last?.figures : session.progress?.replication;
    return figures ? of(figures) : '';
  };

const COLUMNS = [
  { title: 'VOLUME', cell: ({ volume }: StatusLine) => volume },
  { title: 'RECEIVER', cell: ({ receiver }: StatusLine) => receiver },
  { title: 'HAS', cell: ({ lag }: StatusLine) => lag?.last?.snapshot ?? 'none' },
  {
    title: 'BEHIND',
    cell: ({ lag }: StatusLine) =>
      lag === null
        ? 'not known'
        : lag.snapshots === 0
          ? 'nothing'
          : `${lag.snapshots} snapshots, ${formatBytes(lag.bytes)}, ${formatDuration(lag.ms)}`,
  },
  { title: 'SESSION', cell: ({ session }: StatusLine) => (session === null ? '' : (session.progress?.phase ?? 'goes on')) },
  { title: 'LOGICAL', align: 'right' as const, cell: figure(({ logicalBytes }) => formatBytes(logicalBytes)) },
  { title: 'UNIQUE', align: 'right' as const, cell: figure(({ uniqueBytes }) => formatBytes(uniqueBytes)) },
  { title: 'WIRE', align: 'right' as const, cell: figure(({ wireBytes }) => formatBytes(wireBytes)) },
  { title: 'NAMED', align: 'right' as const, cell: figure(({ referenced }) => String(referenced)) },
  { title: 'SENT', align: 'right' as const, cell: figure(({ sent }) => String(sent)) },
  { title: 'AGAIN', align: 'right' as const, cell: figure(({ askedAgain }) => String(askedAgain)) },
  { title: 'PROVEN', align: 'right' as const, cell: figure(({ verified }) => String(verified)) },
];

export function addReplicateCommands(program: Command, session: Session): void {
  const replicate = program.command('replicate').description("bring snapshots to a receiver of somebody else's").helpGroup('Every day:');
  replicate
    .command('start')
    .description('bring a snapshot there; what the receiver has is only named')
    .argument('<volume>', 'as `holdfast volume list` shows it', volumeName)
    .argument('[snapshot]', 'its id (default: the newest)', snapshotId)
    .requiredOption('--receiver <name>', 'as `holdfast replicate receiver list` shows it', receiverName)
    .option('-s, --store <name>', 'to read from (default: the one with the newest)', storeName)
    .option('--proof <level>', 'how the receiver proves what it holds: listed, sampled (default) or all')
    .option('--take-over', 'although another sender has the volume open there: that one ends')
    .option('-d, --detach', 'start it and leave')
    .addHelpText('after', EXAMPLES)
    .action((volume: VolumeName, snapshot: SnapshotId | undefined, options: StartOptions) => start(session, volume, snapshot, options));
  replicate
    .command('status')
    .description('how far the receivers are behind, and what goes on')
    .option('--receiver <name>', 'ask this one instead how the sessions of its token stand there', receiverName)
    .action(({ receiver }: { readonly receiver?: string }) => (receiver === undefined ? status(session) : statusAt(session, receiver)));
  addReplicateHide(replicate, session);
  addReplicateReceiverCommands(replicate, session);
  addReplicatePolicyCommands(replicate, session);
}

const EXAMPLES = `
Examples:
  holdfast replicate receiver add offsite --url https://backup.example:9470 --token file:/etc/holdfast/offsite.token --ca /etc/holdfast/offsite-ca.pem
  holdfast replicate start db --receiver offsite
  holdfast replicate policy set db --receiver offsite --after-capture --window 08:00-18:00=2M`;
