/** Activities of captures and copies (systems A and C): parse, call the system, translate errors. */
import { activityInfo } from '@temporalio/activity';
import { captureInput, copyInput, parseInput, type CaptureInput, type CopyInput } from '../src/domain/job-inputs.ts';
import type { RepositoryName, SnapshotId, StoreName } from '../src/domain/ids.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import type { Host } from '../src/engine/volumes/host.ts';
import { mirrorCatalog } from '../src/engine/catalog/mirror.ts';
import type { CommitOutcome, Shipment } from '../src/engine/repository/commit.ts';
import { openCapture, shipVolume, type Attempt, type OpenedCapture, type ShippedPart } from '../src/systems/shipping/capture.ts';
import { closeCopy, copyPart, copyPin, openCopy, type CopiedPart, type OpenedCopy } from '../src/systems/shipping/copy.ts';
import { abandonClaims, commitTo, type HeldClaim, type OpenClaim } from '../src/systems/shipping/destinations.ts';
import { releaseMoment, type Moment } from '../src/systems/shipping/moment.ts';
import { planCapture, planCopy, type CapturePlan, type CopyPlan } from '../src/systems/shipping/plan.ts';
import { probeStore, type ProbeAnswer } from '../src/systems/shipping/probe.ts';
import type { Threads } from '../src/ground/threads/threads.ts';
import { translated } from './failure.ts';
import { ownerNow } from './owner.ts';
import { startPulse } from './pulse.ts';

/** What these activities take and give, for the workflows that call them. */
export type { CommitOutcome, Moment, OpenClaim, OpenedCapture, OpenedCopy, ProbeAnswer, Shipment };
export type { StoreParts } from '../src/systems/shipping/destinations.ts';
export type { SubtreeReceipt } from '../src/engine/transfer/contract.ts';
export type { OpenedDestination } from '../src/systems/shipping/plan.ts';

export interface ActivityParts {
  readonly home: Home;
  readonly host: Host;
  readonly threads: Threads;
}

const attemptNow = (): Attempt => ({ owner: ownerNow(), attempt: activityInfo().attempt });

export const createShippingActivities = ({ home, host, threads }: ActivityParts) =>
  translated({
    async planCapture(input: CaptureInput, snapshot: SnapshotId): Promise<CapturePlan> {
      return planCapture(await home.catalog.sync(), parseInput(captureInput, 'captureSnapshot', input), snapshot);
    },

    openCapture: (plan: CapturePlan): Promise<OpenedCapture> => openCapture(home, host, plan, attemptNow()),

    async shipVolume(plan: CapturePlan, opened: OpenedCapture, subtree: number, claims: readonly OpenClaim[]): Promise<ShippedPart> {
      const pulse = startPulse(subtree);
      return await shipVolume(home, plan, opened, subtree, claims, { threads, ...pulse });
    },

    async commitTo(store: StoreName, repository: RepositoryName, shipment: Shipment): Promise<CommitOutcome> {
      const outcome = await commitTo(home, store, repository, shipment);
      if (outcome.kind === 'committed') await mirrorCatalog(home, await home.repository(store, repository));
      return outcome;
    },

    abandonClaims: (repository: RepositoryName, lineage: Shipment['lineage'], claims: readonly HeldClaim[]): Promise<void> =>
      abandonClaims(home, repository, lineage, claims),

    releaseMoment: (plan: CapturePlan, moment: Moment): Promise<void> => releaseMoment(host, plan, moment),

    probeStore: (store: StoreName): Promise<ProbeAnswer> => probeStore(home, store),

    async planCopy(input: CopyInput): Promise<CopyPlan> {
      return planCopy(await home.catalog.sync(), parseInput(copyInput, 'copySnapshot', input));
    },

    openCopy: (plan: CopyPlan): Promise<OpenedCopy> => openCopy(home, plan, attemptNow()),

    async copyPart(plan: CopyPlan, snapshot: SnapshotId, subtree: number, claims: readonly OpenClaim[]): Promise<CopiedPart> {
      const pulse = startPulse(subtree);
      return await copyPart(home, plan, snapshot, subtree, claims, { pin: copyPin(ownerNow()), threads, ...pulse });
    },

    closeCopy: (plan: CopyPlan, pin: string): Promise<SnapshotId | null> => closeCopy(home, plan, pin),
  });
