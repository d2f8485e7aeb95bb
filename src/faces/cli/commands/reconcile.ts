/** `holdfast reconcile`: rebuilds what Temporal should hold from the logs, after its data was wiped or in doubt. */
import type { Command } from 'commander';
import { isHoldfastError } from '../../../domain/errors.ts';
import { volumeOf } from '../../../domain/ids.ts';
import type { JobClient } from '../jobs.ts';
import type { HeldPin, HiddenSnapshot, Known, Step } from '../reconcile-plan.ts';
import type { Session } from '../session.ts';

async function findings(session: Session): Promise<{ readonly hidden: readonly HiddenSnapshot[]; readonly pins: readonly HeldPin[] }> {
  const { openPlaces, placesOf } = await import('../repositories.ts');
  const state = await (await session.home()).catalog.sync();
  const hidden: HiddenSnapshot[] = [];
  const pins: HeldPin[] = [];
  for await (const { store, repository, opened } of openPlaces(session, placesOf(state, {}))) {
    const ledger = opened.ledger();
    for (const snapshot of ledger.snapshots.values())
      if (snapshot.hidden) hidden.push({ store, volume: volumeOf(snapshot.lineage), snapshot: snapshot.id, purge: snapshot.purge });
    for (const [pin, { untilMs }] of ledger.pins) pins.push({ store, repository, pin, untilMs });
  }
  return { hidden, pins };
}

async function knownOf(jobs: JobClient, id: string): Promise<Known> {
  try {
    return (await jobs.look(id)).status === 'RUNNING' ? 'running' : 'closed';
  } catch (error) {
    if (isHoldfastError(error, 'JOB_NOT_FOUND')) return 'unknown';
    throw error;
  }
}

async function carryOut(session: Session, step: Step): Promise<void> {
  const home = await session.home();
  switch (step.kind) {
    case 'start': {
      const { JOB_SCHEMAS, parseInput } = await import('../../../domain/job-inputs.ts');
      const input = parseInput(JOB_SCHEMAS[step.job], step.job, step.input);
      await (await session.jobs()).startAs(step.id, step.job, input);
      return;
    }
    case 'close':
      await home.catalog.append((state) =>
        state.jobs.get(step.id)?.ended === null
          ? { kind: 'JOB_END', id: step.id, outcome: 'cancelled', summary: 'ended in Temporal by hand' }
          : null,
      );
      return;
    case 'unpin': {
      const { lapsePins } = await import('../../../engine/repository/pins.ts');
      await lapsePins(await home.reader(step.store, step.repository), Date.now());
      return;
    }
  }
}

async function reconcile(session: Session, { dryRun }: { readonly dryRun?: boolean }): Promise<void> {
  const { idsToAsk, planReconcile, stepLine } = await import('../reconcile-plan.ts');
  const jobs = await session.jobs();
  const { hidden, pins } = await findings(session);
  const records = [...(await (await session.home()).catalog.sync()).jobs.values()];
  const known = new Map<string, Known>();
  for (const id of idsToAsk(records, hidden)) known.set(id, await knownOf(jobs, id));
  const plan = planReconcile({ jobs: records, hidden, pins, known, nowMs: Date.now() });
  const text = plan.length === 0 ? 'Temporal holds all that the logs ask for\n' : plan.map((step) => `${stepLine(step)}\n`).join('');
  if (!session.settings.json) session.terminal.out(text);
  if (dryRun !== true) for (const step of plan) await carryOut(session, step);
  // Made anew whether they are there or not, which nobody can tell from one that was changed by hand.
  if (dryRun !== true)
    for (const policy of (await (await session.home()).catalog.sync()).policies.values())
      if (policy.everyMs !== null) await jobs.schedule(policy);
  const running = [...known.values()].filter((one) => one === 'running').length;
  session.print({ dryRun: dryRun === true, running, plan }, () =>
    plan.length === 0
      ? ''
      : dryRun === true
        ? 'nothing was done (--dry-run)\n'
        : `${plan.length} steps are done; \`holdfast job list\` shows what runs\n`,
  );
}

export function addReconcileCommand(program: Command, session: Session): void {
  program
    .command('reconcile')
    .description('start again what the logs say is unfinished, after the data of Temporal was lost')
    .helpGroup('When something is broken:')
    .option('--dry-run', 'only print the plan')
    .addHelpText('after', '\nMay be given at any time and twice: what runs is left alone.')
    .action((options: { readonly dryRun?: boolean }) => reconcile(session, options));
}
