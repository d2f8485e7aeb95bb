/** A group that was taken up is waited for; where it needs a base of its live disks first, that is taken. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../../domain/errors.ts';
import type { Disks } from '../../../engine/volumes/disks/disk-client.ts';
import type { ProtectionStatus } from '../../../engine/volumes/disks/protection-port.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { takeBase } from '../take-base.ts';

export interface AwaitProtected {
  readonly disks: Disks;
  /** With repositories for the bases. */
  readonly opened: () => Promise<OpenedProtection>;
  readonly journal: string;
  readonly signal: AbortSignal;
  readonly onBase: (readBytes: number, ofBytes: number) => void;
}

const LOOK_MS = 200;
/** Between bases that nobody could be given: a region is filled first, by whoever looks after the journal. */
const AGAIN_MS = 5000;

/** JOURNAL_FENCED, or whatever keeps it from being opened for good. */
export async function awaitProtected({ disks, opened, journal, signal, onBase }: AwaitProtected): Promise<ProtectionStatus> {
  for (;;) {
    signal.throwIfAborted();
    const status = (await disks.protection()).find(({ group }) => group.journal === journal);
    switch (status?.state) {
      case 'PROTECTED':
      case 'CATCHING_UP':
        return status;
      case 'FENCED':
      case 'FAILED':
        throw new HoldfastError(status.lastError?.code ?? 'INTERNAL', status.lastError?.message ?? `${journal} is ${status.state}`, {
          journal,
          state: status.state,
        });
      case 'RESYNC': {
        const { reading, bases } = await opened();
        const onProgress = (progress: { readonly readBytes: number; readonly ofBytes: number }): void =>
          onBase(progress.readBytes, progress.ofBytes);
        const outcomes = await takeBase({ group: status.group, disks, reading, bases: [...bases.values()], signal, onProgress });
        if (outcomes.every(({ kind }) => kind === 'none')) await sleep(AGAIN_MS, undefined, { signal });
        break;
      }
      case 'OPENING':
      case 'BITMAP':
      case undefined:
    }
    await sleep(LOOK_MS, undefined, { signal });
  }
}
