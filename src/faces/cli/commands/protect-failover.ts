/** `holdfast protect failover|failback|test`: protected disks that change hosts. Jobs, on the hosts that have or get the disks. */
import path from 'node:path';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { NAME_PATTERN } from '../../../domain/ids.ts';
import { journalName } from '../region-options.ts';
import type { Session } from '../session.ts';

function hostName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 60))} is no name of a host`, {
    field: 'host',
    expected: 'as `holdfast doctor` shows it there',
  });
}

interface FailoverOptions {
  readonly to?: string;
  readonly planned?: boolean;
  readonly acceptTailLost?: boolean;
  readonly folder?: string;
  readonly detach?: boolean;
}

async function failover(
  session: Session,
  journal: string,
  { to, planned, acceptTailLost, folder, ...options }: FailoverOptions,
): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  await runJob(
    session,
    'failover',
    {
      journal,
      host: to ?? (await session.configuration()).host,
      ...(planned === undefined ? {} : { planned }),
      ...(acceptTailLost === undefined ? {} : { tailLost: acceptTailLost }),
      ...(folder === undefined ? {} : { folder }),
    },
    options,
  );
}

interface FailbackOptions {
  readonly to?: string;
  readonly folder?: string;
  readonly detach?: boolean;
}

async function failback(session: Session, journal: string, { to, folder, ...options }: FailbackOptions): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  const host = to ?? (await session.configuration()).host;
  await runJob(session, 'failback', { journal, host, ...(folder === undefined ? {} : { folder }) }, options);
}

interface TestOptions {
  readonly on?: string;
  readonly detach?: boolean;
}

async function test(session: Session, journal: string, { on, ...options }: TestOptions): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  await runJob(session, 'testFailover', { journal, ...(on === undefined ? {} : { host: on }) }, options);
}

export function addFailoverCommands(protect: Command, session: Session): void {
  protect
    .command('failover')
    .description('serve the disks on another machine from now on; whoever served them is refused, and learns so')
    .argument('<journal>', 'of the disks', journalName)
    .option('--to <host>', 'that machine (default: this one)', hostName)
    .option('--planned', 'the one that has them answers, and ends cleanly first: nothing is lost, or nothing is done')
    .option('--accept-tail-lost', 'although a region that does not answer may hold more than those that do')
    .option('--folder <path>', "for the disks' files there (default: below the folder of its installation)", (text: string) =>
      path.resolve(text),
    )
    .option('-d, --detach', 'start it and leave')
    .addHelpText('after', EXAMPLES)
    .action((journal: string, options: FailoverOptions) => failover(session, journal, options));
  protect
    .command('failback')
    .description('serve the disks again on a machine that had them before; only what differs from what it still has is fetched')
    .argument('<journal>', 'of the disks', journalName)
    .option('--to <host>', 'that machine (default: this one)', hostName)
    .option('--folder <path>', 'for new files there, where its old ones cannot be gone on with', (text: string) => path.resolve(text))
    .option('-d, --detach', 'start it and leave')
    .action((journal: string, options: FailbackOptions) => failback(session, journal, options));
  protect
    .command('test')
    .description('recover the newest point to scratch files, check them, and report; capture is not touched, and nothing is left')
    .argument('<journal>', 'of the disks', journalName)
    .option('--on <host>', 'the machine that does it (default: the one that serves the disks)', hostName)
    .option('-d, --detach', 'start it and leave')
    .action((journal: string, options: TestOptions) => test(session, journal, options));
}

const EXAMPLES = `
Examples:
  holdfast protect failover db --to site-two --planned
  holdfast protect failover db --to site-two`;
