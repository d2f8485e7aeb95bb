/**
 * Temporal's database is lost with a delete pending in it. `holdfast reconcile` finds in the logs what has to run, and the
 * delete waits again; taken back, its snapshot is as it was. Nothing but Temporal ever held Temporal's data.
 */
import { z } from 'zod';
import { listSnapshots, type DemoContext } from '../demo-context.ts';
import { STORES } from '../demo-folder.ts';
import { left, requireThat, type Step } from '../step.ts';
import { lookInto, middleOf } from '../store-evidence.ts';

const DELETED_IN = 'gamma';
const DAMAGED_IN = 'alpha';
const NAMES_WITHIN_MS = 15_000;

const workflows = z.array(z.looseObject({ execution: z.looseObject({ workflowId: z.string() }), status: z.string() }));

/** What `temporal workflow list` prints. */
async function listWorkflows({ programs, installation }: DemoContext, remember: boolean): Promise<z.output<typeof workflows>> {
  const { address, namespace } = installation.temporal;
  const shown = await programs.run(await installation.temporalCommand(), [
    ...['workflow', 'list', '--address', address, '--namespace', namespace, '--output', 'json'],
  ]);
  const list = workflows.parse(JSON.parse(shown.stdout || '[]'));
  if (remember)
    programs.remember(
      shown,
      list.length === 0 ? 'none' : `${list.length}: ${list.map(({ execution }) => execution.workflowId).join(', ')}`,
    );
  return list;
}

/** Visibility follows within a moment. */
async function listUntil(context: DemoContext, count: number): Promise<z.output<typeof workflows>> {
  const deadlineMs = performance.now() + NAMES_WITHIN_MS;
  for (;;) {
    const enough = (await listWorkflows(context, false)).length >= count;
    if (enough || performance.now() > deadlineMs) return listWorkflows(context, true);
  }
}

const reconciled = z.looseObject({ plan: z.array(z.looseObject({ kind: z.string(), id: z.string().optional() })) });

export const wipe: Step<DemoContext> = {
  name: 'wipe',
  title: "Temporal's database is lost; reconcile starts what the logs ask for",
  async run(context) {
    const { programs, installation, story, note } = context;
    const { snapshot } = left(story.fourth, 'a fourth capture');
    const job = `delete.${DELETED_IN}.${snapshot}`;
    note(`a delete waits in ${DELETED_IN}`);
    await programs.holdfastJson(z.unknown(), ['snapshot', 'delete', snapshot, '--store', DELETED_IN], installation.variables);
    const before = await listUntil(context, 7);
    note('everything stops, the database goes');
    await Promise.all([installation.killWorker('controller'), installation.killWorker('node')]);
    await installation.wipeTemporal();
    await installation.startTemporal();
    const wiped = await listWorkflows(context, true);
    requireThat(wiped.length === 0, `${wiped.length} workflows are in a database that was wiped`);
    note('holdfast reconcile');
    const [reconcile] = await Promise.all([
      programs.holdfastJson(reconciled, ['reconcile'], installation.variables),
      installation.startWorker('controller'),
    ]);
    requireThat(
      reconcile.plan.some(({ id }) => id === job),
      `reconcile did not start ${job}: ${JSON.stringify(reconcile.plan)}`,
    );
    const after = await listUntil(context, 1);
    requireThat(
      after.some((one) => one.execution.workflowId === job && /running/i.test(one.status)),
      `${job} does not run`,
    );
    const [pending] = (await listSnapshots(context, true)).filter((line) => line.id === snapshot && line.store === DELETED_IN);
    requireThat(pending?.state === 'DELETE_PENDING', `the snapshot is ${pending?.state ?? 'gone'} and not DELETE_PENDING`);
    note('the delete is taken back');
    await programs.holdfastJson(z.unknown(), ['snapshot', 'undelete', snapshot, '--store', DELETED_IN], installation.variables);
    const seen = (await listSnapshots(context, false)).filter((line) => line.id === snapshot);
    requireThat(seen.length === STORES.length, `the snapshot is seen in ${seen.length} stores after its delete was taken back`);
    story.damage = { store: DAMAGED_IN, ...(await lookInto(context, DAMAGED_IN, (repository) => middleOf(repository, snapshot))) };
    return {
      figures: { workflowsBefore: before.length, workflowsAfterWipe: wiped.length, workflowsReconciled: after.length, pendingDelete: job },
      lines: [
        `${before.length} workflows, then ${wiped.length}, then ${after.length}: ${job} runs again and waits`,
        'taken back with `snapshot undelete`: AVAILABLE in all three stores',
      ],
    };
  },
};
