/** Activities of protected disks that change hosts (system E): parse, call the system, translate errors. */
import { Context } from '@temporalio/activity';
import { HoldfastError } from '../src/domain/errors.ts';
import {
  failbackInput,
  failoverInput,
  parseInput,
  testFailoverInput,
  type FailbackInput,
  type FailoverInput,
  type TestFailoverInput,
} from '../src/domain/job-inputs.ts';
import type { TestFailoverResult } from '../src/domain/jobs.ts';
import { findProtection, type ProtectionMoved, type ProtectionRecord } from '../src/engine/catalog/protections.ts';
import { awaitProtected } from '../src/systems/protection/failover/await-protected.ts';
import { beginFailback, type BegunFailback } from '../src/systems/protection/failover/begin-failback.ts';
import {
  catchUp,
  catchUpLast,
  fetchWhole,
  type CatchingUp,
  type CaughtUp,
  type CaughtUpLast,
} from '../src/systems/protection/failover/catch-up.ts';
import { endFailover } from '../src/systems/protection/failover/end.ts';
import { fence, type Fenced } from '../src/systems/protection/failover/fence.ts';
import { noteMoved, type Moved } from '../src/systems/protection/failover/moved.ts';
import { planFailover, type FailoverPlan } from '../src/systems/protection/failover/plan.ts';
import { prepareFailover, type Prepared } from '../src/systems/protection/failover/prepare.ts';
import { recoverDisks, type RecoveredDisks } from '../src/systems/protection/failover/recover-disks.ts';
import { serveRecovered, type ServedDisks } from '../src/systems/protection/failover/serve.ts';
import { journalIn, openProtection } from '../src/systems/protection/home-journal.ts';
import { takeBase, type BaseOutcome } from '../src/systems/protection/take-base.ts';
import type { Check } from '../src/systems/protection/testing/check-files.ts';
import { checkTest, endTest, testRecovery, type TestRecovered } from '../src/systems/protection/testing/test-failover.ts';
import { translated } from './failure.ts';
import { ownerNow } from './owner.ts';
import { startCount } from './pulse.ts';
import type { ActivityParts } from './shipping.ts';

/** What these activities take and give, for the workflows that call them. */
export type { FailoverPlan, Fenced, RecoveredDisks, ServedDisks };

export interface TestPlan {
  readonly protection: ProtectionRecord;
  readonly host: string;
}

export const createProtectionActivities = ({ home, host, threads }: ActivityParts) => {
  const catchingUp = (): CatchingUp => {
    const count = startCount();
    return { threads, signal: Context.current().cancellationSignal, onFetched: (bytes) => count(bytes, 0) };
  };
  return translated({
    planFailover: (input: FailoverInput): Promise<FailoverPlan> => planFailover(home, parseInput(failoverInput, 'failover', input)),

    /** On the new host, before anything is done to the old one. */
    prepareFailover: async (plan: FailoverPlan): Promise<Prepared> =>
      prepareFailover(host, await openProtection({ home, threads }, plan.protection), plan),

    /** On the old host: the number at which the journal ends. */
    async handOverGroup(journal: string): Promise<number> {
      const end = await host.disks.handOver(journal);
      if (end !== null) return end;
      throw new HoldfastError('NOT_PROTECTED', `${host.name} has no journal ${journal} to hand over`, { journal });
    },

    /** On the old host, when nobody has taken it over. */
    takeUpGroup: (journal: string): Promise<void> => host.disks.takeUp(journal),

    /** `told`: where the old host said that the journal ends; null: it was not asked, or an earlier try was told. */
    fenceGroup: async ({ protection, tailLost }: FailoverPlan, told: number | null): Promise<Fenced> =>
      fence(host, await journalIn(home, protection, false), { tailLost, told }),

    /** Beats with the bytes that are written. */
    async recoverGroup({ protection }: FailoverPlan, fenced: Fenced): Promise<RecoveredDisks> {
      const count = startCount();
      return recoverDisks(host, await openProtection({ home, threads }, protection), fenced, {
        threads,
        signal: Context.current().cancellationSignal,
        onProgress: ({ writtenBytes }) => count(writtenBytes, 0),
      });
    },

    serveGroup: ({ protection }: FailoverPlan, fenced: Fenced): Promise<ServedDisks> => serveRecovered(host, protection.journal, fenced),

    /** Until every flush is a point again; takes a base where one is needed. */
    async awaitProtected(protection: ProtectionRecord): Promise<void> {
      const { cancellationSignal: signal } = Context.current();
      await awaitProtected({
        ...{ disks: host.disks, journal: protection.journal, signal, onBase: startCount() },
        opened: () => openProtection({ home, threads }, protection, { create: true }),
      });
    },

    /** One, of the live disks, on their host: which regions have it now, and why others have none. NOT_PROTECTED: no records are made. */
    async takeGroupBase(protection: ProtectionRecord): Promise<readonly BaseOutcome[]> {
      const { cancellationSignal: signal } = Context.current();
      const onBase = startCount();
      const { reading, bases } = await openProtection({ home, threads }, protection, { create: true });
      return takeBase({
        ...{ disks: host.disks, reading, bases: [...bases.values()], signal },
        group: { journal: protection.journal, disks: protection.disks.map(({ disk }) => disk) },
        onProgress: ({ readBytes, ofBytes }) => onBase(readBytes, ofBytes),
      });
    },

    noteMoved: (moved: Moved, how: ProtectionMoved['how']): Promise<void> => noteMoved(home.catalog, moved, how),

    async planTestFailover(input: TestFailoverInput): Promise<TestPlan> {
      const given = parseInput(testFailoverInput, 'testFailover', input);
      const protection = findProtection(await home.catalog.sync(), given.journal);
      return { protection, host: given.host ?? protection.host };
    },

    async recoverForTest(protection: ProtectionRecord): Promise<TestRecovered> {
      const count = startCount();
      return testRecovery(host, await openProtection({ home, threads }, protection), protection, {
        ...{ threads, owner: ownerNow() },
        signal: Context.current().cancellationSignal,
        onProgress: ({ writtenBytes }) => count(writtenBytes, 0),
      });
    },

    async checkForTest(protection: ProtectionRecord): Promise<readonly Check[]> {
      const count = startCount();
      let read = 0;
      return checkTest(host, protection, {
        owner: ownerNow(),
        signal: Context.current().cancellationSignal,
        onRead: (bytes) => count((read += bytes), 0),
      });
    },

    endTestFailover: async (protection: ProtectionRecord): Promise<void> =>
      endTest(host, await journalIn(home, protection, false), ownerNow()),

    async noteTested({ journal, host: on, epoch, point, rpoMsMax, rtoMs, passed, checks }: TestFailoverResult): Promise<void> {
      const by = checks.map((check) => check.by);
      await home.catalog.append(() => ({ kind: 'PROTECTION_TESTED', journal, host: on, epoch, point, rpoMsMax, rtoMs, passed, by }));
    },

    endFailover: async (protection: ProtectionRecord): Promise<void> => endFailover(host, await journalIn(home, protection, false)),

    async planFailback(input: FailbackInput): Promise<FailoverPlan> {
      return planFailover(home, parseInput(failbackInput, 'failback', input));
    },

    /** On the host that is to have the disks again. */
    beginFailback: async (plan: FailoverPlan): Promise<BegunFailback> =>
      beginFailback(host, await openProtection({ home, threads }, plan.protection), plan),

    /** One round, with what is newest; `whole`: into new files. Beats with the bytes that were fetched. */
    async catchUpGroup({ protection }: FailoverPlan, whole: boolean): Promise<CaughtUp> {
      return (whole ? fetchWhole : catchUp)(host, await openProtection({ home, threads }, protection), catchingUp());
    },

    catchUpLast: async ({ protection }: FailoverPlan, fenced: Fenced): Promise<CaughtUpLast> =>
      catchUpLast(host, await openProtection({ home, threads }, protection), fenced, catchingUp()),
  });
};
