/** All activities of a process that has a home; nodes and controllers serve the same ones. */
import { createDomainActivities } from './domain.ts';
import { createJobActivities } from './jobs.ts';
import { createLifecycleActivities } from './lifecycle.ts';
import { createProtectionActivities } from './protection.ts';
import { createReplicationActivities } from './replication.ts';
import { createRestoringTablesActivities } from './restoring-tables.ts';
import { createServingActivities } from './serving.ts';
import { createShippingActivities, type ActivityParts } from './shipping.ts';

export const createActivities = (parts: ActivityParts) => ({
  ...createJobActivities(parts),
  ...createShippingActivities(parts),
  ...createLifecycleActivities(parts),
  ...createServingActivities(parts),
  ...createReplicationActivities(parts),
  ...createProtectionActivities(parts),
  ...createDomainActivities(parts),
  ...createRestoringTablesActivities(parts),
});
export type Activities = ReturnType<typeof createActivities>;
