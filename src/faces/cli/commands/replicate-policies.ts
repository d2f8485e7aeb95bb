/** `holdfast replicate policy`: which volumes go to which receivers by themselves, and when. */
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { storeName, volumeName, type StoreName, type VolumeName } from '../../../domain/ids.ts';
import type { BandwidthWindow, ReplicationPolicy } from '../../../engine/catalog/replication-policies.ts';
import { receiverName } from '../arguments.ts';
import { formatBytes, formatDuration, parseBytes, parseDuration } from '../quantities.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';

interface PolicyOptions {
  readonly receiver: string;
  readonly store?: StoreName;
  readonly afterCapture?: boolean;
  readonly every?: number;
  readonly window?: BandwidthWindow;
}

const EVERY_MS_LEAST = 60_000;

/** "08:00-18:00=2M": between these times of the day (UTC) at most so many bytes a second. */
function parseWindow(text: string): BandwidthWindow {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)=(.+)$/.exec(text);
  if (!match)
    throw new HoldfastError('ARGUMENT_INVALID', `--window ${JSON.stringify(text.slice(0, 40))} is no window`, {
      field: '--window',
      expected: 'HH:MM-HH:MM=BYTES, as in 08:00-18:00=2M; times are UTC',
    });
  const [, fromHour, fromMinute, toHour, toMinute, rate = ''] = match;
  const minutes = (hour: string | undefined, minute: string | undefined): number => Number(hour) * 60 + Number(minute);
  return {
    fromMinute: minutes(fromHour, fromMinute),
    toMinute: minutes(toHour, toMinute),
    bytesPerSecondMax: parseBytes('--window')(rate),
  };
}

const clock = (minute: number): string => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
const windowText = ({ fromMinute, toMinute, bytesPerSecondMax }: BandwidthWindow): string =>
  `${clock(fromMinute)}-${clock(toMinute)} UTC ${formatBytes(bytesPerSecondMax)}/s`;

async function set(session: Session, volume: VolumeName, options: PolicyOptions): Promise<void> {
  const { receiver, store, afterCapture = false, every, window } = options;
  if (!afterCapture && every === undefined)
    throw new HoldfastError('ARGUMENT_INVALID', 'a policy says when', { field: '--after-capture', expected: 'or --every' });
  if (every !== undefined && every < EVERY_MS_LEAST)
    throw new HoldfastError('ARGUMENT_INVALID', 'that is too often', { field: '--every', expected: 'a minute or more' });
  const policy: ReplicationPolicy = {
    ...{ volume, receiver, from: store ?? null, afterCapture, everyMs: every ?? null, window: window ?? null },
  };
  const { catalog } = await session.home();
  const before = (await catalog.sync()).policies.get(`${receiver}/${volume}`);
  await catalog.append(() => ({ kind: 'REPLICATE_SET', policy }));
  // A policy that never was by the clock has no schedule, and needs no Temporal now.
  if (policy.everyMs !== null || typeof before?.everyMs === 'number') await (await session.jobs()).schedule(policy);
  session.print({ policy }, () => `${volume} is replicated to ${receiver} ${whenText(policy)}\n`);
}

const whenText = ({ afterCapture, everyMs }: ReplicationPolicy): string =>
  [...(afterCapture ? ['after each capture'] : []), ...(everyMs === null ? [] : [`every ${formatDuration(everyMs)}`])].join(' and ');

async function list(session: Session): Promise<void> {
  const policies = [...(await (await session.home()).catalog.sync()).policies.values()];
  session.print(policies, () =>
    renderTable(
      [
        { title: 'VOLUME', cell: ({ volume }) => volume },
        { title: 'RECEIVER', cell: ({ receiver }) => receiver },
        { title: 'WHEN', cell: whenText },
        { title: 'FROM', cell: ({ from }) => from ?? 'the newest' },
        { title: 'WINDOW', cell: ({ window }) => (window === null ? '' : windowText(window)) },
      ],
      policies,
      'nothing is replicated by itself; `holdfast replicate policy set VOLUME --receiver NAME --after-capture` begins that',
    ),
  );
}

async function remove(session: Session, volume: VolumeName, { receiver }: { readonly receiver: string }): Promise<void> {
  const { catalog } = await session.home();
  const before = (await catalog.sync()).policies.get(`${receiver}/${volume}`);
  await catalog.append(() => ({ kind: 'REPLICATE_REMOVE', volume, receiver }));
  if (typeof before?.everyMs === 'number') await (await session.jobs()).schedule({ volume, receiver, everyMs: null });
  session.print({ removed: { volume, receiver } }, () => `${volume} is replicated to ${receiver} by hand alone\n`);
}

export function addReplicatePolicyCommands(replicate: Command, session: Session): void {
  const policy = replicate.command('policy').description('what is replicated by itself');
  policy
    .command('set')
    .description('replicate a volume to a receiver after each capture, or at an interval')
    .argument('<volume>', 'as `holdfast volume list` shows it', volumeName)
    .requiredOption('--receiver <name>', 'as `holdfast replicate receiver list` shows it', receiverName)
    .option('-s, --store <name>', 'to read from (default: the one with the newest)', storeName)
    .option('--after-capture', 'after each capture')
    .option('--every <time>', 'at this interval, as in 6h', parseDuration('--every'))
    .option(
      '--window <times=bytes>',
      'between two times of the day (UTC) at most so many bytes a second, as in 08:00-18:00=2M',
      parseWindow,
    )
    .action((volume: VolumeName, options: PolicyOptions) => set(session, volume, options));
  policy
    .command('list')
    .description('all of them')
    .action(() => list(session));
  policy
    .command('remove')
    .description('end it; what the receiver holds stays')
    .argument('<volume>', 'of the policy', volumeName)
    .requiredOption('--receiver <name>', 'of the policy', receiverName)
    .action((volume: VolumeName, options: { readonly receiver: string }) => remove(session, volume, options));
}
