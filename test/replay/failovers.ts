/** Protected disks that change hosts, for a history of each workflow that moves them. */
import type { StoreName } from '../../src/domain/ids.ts';
import { LOOK_AGAIN_SIGNAL } from '../../src/domain/jobs.ts';
import { useDisk } from '../engine/volumes/nbd/disk-user.ts';
import { raiseSite } from '../workflows/protected-site.ts';
import { until, type Stage } from '../workflows/stage.ts';

export async function recordFailovers(stage: Stage, save: (kind: string, workflowId: string) => Promise<void>): Promise<void> {
  for (const store of ['log', 'near', 'far']) await stage.installation.addStore(store);
  await using a = await raiseSite(stage, 'one');
  await using b = await raiseSite(stage, 'two');
  await Promise.all([a.start(), b.start()]);
  await a.attach('disk', 4 * 1024 * 1024);
  const members = ['near', 'far'].map((region) => ({ region: region as never, domain: region }));
  await a.protect('db', ['disk'], { members });
  using user = await useDisk(a.uri('disk'));
  await user.write(0, Buffer.alloc(4096, 1));
  await a.point('db');
  const tested = await stage.start('testFailover', { journal: 'db', host: 'two' });
  await tested.result();
  await save('testFailover', tested.workflowId);
  // Protected anew, behind a gap: the upkeep takes a base first.
  await a.host.disks.unprotect('db');
  await a.host.disks.protect({ format: 1, journal: 'db', disks: ['disk'], mode: 'local', log: 'log' as StoreName, members });
  await a.until('db', 'RESYNC');
  const kept = await stage.start('protectDomain', { journal: 'db' });
  await until(kept, ({ phase }) => phase.includes('PROTECTED'), 60_000);
  const moved = await stage.start('failover', { journal: 'db', host: 'two', planned: true });
  await moved.result();
  await save('failover', moved.workflowId);
  const back = await stage.start('failback', { journal: 'db', host: 'one' });
  await back.result();
  await save('failback', back.workflowId);
  const filled = await stage.start('backfillRegion', { journal: 'db', region: 'near' as StoreName });
  await filled.result();
  await save('backfillRegion', filled.workflowId);
  await stage.installation.home.catalog.append(() => ({ kind: 'PROTECTION_REMOVE', journal: 'db' }));
  await kept.signal(LOOK_AGAIN_SIGNAL);
  await kept.result();
  await save('protectDomain', kept.workflowId);
}
