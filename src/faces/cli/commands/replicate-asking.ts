/** What `holdfast replicate` asks a receiver: `hide`, and `status --receiver`, sessions as they stand there. */
import type { Command } from 'commander';
import { snapshotId, volumeName, type SnapshotId, type VolumeName } from '../../../domain/ids.ts';
import type { ToldSession } from '../../../engine/replication/transport/asking.ts';
import { receiverName } from '../arguments.ts';
import { formatBytes, formatTime } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';

/** Of this side's token, since the receiver was started. */
export async function statusAt(session: Session, receiver: string): Promise<void> {
  const { sessionsAt } = await import('../../../systems/replication/sender-questions.ts');
  const sessions = await sessionsAt(await session.home(), receiver);
  session.print({ receiver, sessions }, () =>
    renderTable(COLUMNS, sessions, `${receiver} has heard no session of this token since it was started`),
  );
}

const COLUMNS: Parameters<typeof renderTable<ToldSession>>[0] = [
  { title: 'LINEAGE', cell: ({ lineage }) => lineage },
  { title: 'SNAPSHOT', cell: ({ snapshot }) => snapshot },
  { title: 'STATE', cell: ({ status }) => status },
  { title: 'HEARD', cell: ({ heardMs }) => (heardMs === 0 ? '' : formatTime(heardMs)) },
  { title: 'SIZE', align: 'right', cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
  { title: 'NAMED', align: 'right', cell: ({ figures }) => String(figures.named) },
  { title: 'HELD', align: 'right', cell: ({ figures }) => String(figures.held) },
  { title: 'ASKED', align: 'right', cell: ({ figures }) => String(figures.asked) },
  { title: 'TAKEN', align: 'right', cell: ({ figures }) => String(figures.accepted) },
  { title: 'WIRE', align: 'right', cell: ({ figures }) => formatBytes(figures.wireBytes) },
  { title: 'STORED', align: 'right', cell: ({ figures }) => formatBytes(figures.storedBytes) },
];

async function hide(session: Session, volume: VolumeName, snapshot: SnapshotId, receiver: string): Promise<void> {
  const { hideAt } = await import('../../../systems/replication/sender-questions.ts');
  const result = await hideAt(await session.home(), receiver, volume, snapshot);
  session.print(
    result,
    () => `${snapshot} ${result.already ? 'was hidden at' : 'is hidden at'} ${receiver}; its bytes go when the receiver's side lets them\n`,
  );
}

export function addReplicateHide(replicate: Command, session: Session): void {
  replicate
    .command('hide')
    .description('hide a snapshot at a receiver, as far as its token allows')
    .argument('<volume>', 'as `holdfast volume list` shows it', volumeName)
    .argument('<snapshot>', 'its id', snapshotId)
    .requiredOption('--receiver <name>', 'as `holdfast replicate receiver list` shows it', receiverName)
    .addHelpText('after', HELP)
    .action((volume: VolumeName, snapshot: SnapshotId, { receiver }: { readonly receiver: string }) =>
      hide(session, volume, snapshot, receiver),
    );
}

const HELP = `
Needs a token with the right to hide; what is younger than its retention floor is refused (RETENTION_FLOOR). The snapshot stays in this side's
stores. Reclaiming what is hidden, or showing it again, is for the receiver's operator.`;
