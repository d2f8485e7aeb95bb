/** `holdfast protect region`: what becomes of a journal's regions. */
import type { Command } from 'commander';
import { storeName, type StoreName } from '../../../domain/ids.ts';

import { journalName } from '../region-options.ts';
import type { Session } from '../session.ts';

async function note(session: Session, journal: string, region: StoreName, kind: 'REGION_LOST' | 'REGION_BACK'): Promise<void> {
  const { lostRegionsOf } = await import('../../../engine/catalog/lost-regions.ts');
  const { catalog } = await session.home();
  const isLost = kind === 'REGION_LOST';
  await catalog.append((state) => (lostRegionsOf(state, journal).has(region) === isLost ? null : { kind, journal, region }));
  session.print({ journal, region, lost: isLost }, () =>
    isLost
      ? `nobody waits for what only ${region} could answer of ${journal}; what it alone held is gone, and is said to be\n`
      : `${region} is asked for ${journal} again\n`,
  );
}

async function backfill(session: Session, journal: string, region: StoreName, options: { readonly detach?: boolean }): Promise<void> {
  const { runJob } = await import('../run-job.ts');
  await runJob(session, 'backfillRegion', { journal, region }, options);
}

export function addRegionCommands(protect: Command, session: Session): void {
  const region = protect.command('region').description('the regions of a journal, of disks or a stream');
  const of = (name: string, description: string): Command =>
    region
      .command(name)
      .description(description)
      .argument('<journal>', 'as `holdfast protect status` or `journal status` shows it', journalName)
      .argument('<region>', 'the store', storeName);
  of('lost', 'it will not come back: nobody waits for its answer any more').action((journal: string, name: StoreName) =>
    note(session, journal, name, 'REGION_LOST'),
  );
  of('back', 'it has come back all the same').action((journal: string, name: StoreName) => note(session, journal, name, 'REGION_BACK'));
  of('backfill', 'copy to it what it lacks of closed epochs; the upkeep of a journal does so by itself')
    .option('-d, --detach', 'start it and leave')
    .action((journal: string, name: StoreName, options: { readonly detach?: boolean }) => backfill(session, journal, name, options));
}
