/** `holdfast rescue unseal`: what a receiver has restored of a volume that was sealed end to end, opened at the sender's side. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { passphraseReference } from '../arguments.ts';
import { counted, formatBytes, parseBytes } from '../quantities.ts';
import { showRescue } from '../rescue-display.ts';
import type { Session } from '../session.ts';

interface UnsealOptions {
  readonly passphrase: string;
  readonly size?: number;
}

async function unsealImage(session: Session, sealed: string, target: string, options: UnsealOptions): Promise<void> {
  const [{ unseal }, { resolvePassphrase }, { INTERRUPTED_EXIT }] = await Promise.all([
    import('../../../systems/replication/unsealing.ts'),
    import('../../../ground/sealing/passphrase.ts'),
    import('../watch-job.ts'),
  ]);
  const passphrase = await resolvePassphrase(options.passphrase, session.variables);
  const left = new AbortController();
  const ignore = session.terminal.onInterrupt(() => left.abort());
  const shown = await showRescue(session);
  try {
    const result = await unseal({
      ...{ sealed: resolve(sealed), target: resolve(target), passphrase, sizeBytes: options.size ?? null, signal: left.signal },
      onProgress: (unitBytes, unitTotalBytes) =>
        shown.show({ phase: 'unsealing', doneUnits: 0, totalUnits: 1, unitBytes, unitTotalBytes, readBytes: 0 }),
    });
    shown.stop();
    const { sizeBytes, extentBytes, extents } = result;
    session.print(
      result,
      () =>
        `${result.target}: ${formatBytes(sizeBytes)}, ${extentBytes === null ? 'all zeros' : `${counted(extents, 'extent')} of ${formatBytes(extentBytes)} opened, the rest is zeros`}\n`,
    );
  } catch (error) {
    if (!left.signal.aborted) throw error;
    session.fail(INTERRUPTED_EXIT);
    session.say('left; nothing is at the target');
  } finally {
    shown.stop();
    ignore();
  }
}

const HELP = `
For a volume that was replicated with --seal sender. The receiver's operator restores it as it lies there, sealed, with what they have, and hands
the file over; here it is opened with the passphrase of the receiver's record, and nothing else is needed. What does not open is named, and
then nothing is left at the target. Which bytes belong where is the receiver's word: the seal shows that each extent is one of yours.

At the receiver:
  holdfast rescue restore berlin-db /tmp/sealed.img --store /srv/backup --passphrase file:/root/store-passphrase
Here:
  holdfast rescue unseal /tmp/sealed.img /var/lib/db.img --passphrase file:/root/offsite-passphrase`;

export const addRescueUnseal = (rescue: Command, session: Session): Command =>
  rescue
    .command('unseal')
    .description('open the image of a volume that was sealed by its sender')
    .argument('<sealed>', 'file that the receiver has restored')
    .argument('<target>', 'file that is not there yet')
    .requiredOption('--passphrase <ref>', 'env:NAME, file:/path or command:... of what was given with --seal sender', passphraseReference)
    .option(
      '--size <bytes>',
      "of the volume, where it is not whole extents (default: the last one's padding is kept)",
      parseBytes('--size'),
    )
    .addHelpText('after', HELP)
    .action((sealed: string, target: string, options: UnsealOptions) => unsealImage(session, sealed, target, options));
