/**
 * One try of a restore, as the activities of a worker do it: `restore-process.ts <folder> <plan> <owner> <point or -> [prepared]`.
 * `prepared`: an earlier try has told the workflow so, which then does not ask again.
 */
import { trap, type RestorePoint } from './restore-points.ts';
import { endRestoring, prepareRestoring, writePast, type RestoringPlan } from '../../../src/systems/tables/restoring.ts';
import { environmentOf, openHomeIn } from '../../systems/installation.ts';

const [folder = '', plan = '', owner = '', point = '-', prepared] = process.argv.slice(2);
if (point !== '-') trap(point as RestorePoint);
const job = JSON.parse(plan) as RestoringPlan;
await using home = await openHomeIn(
  folder,
  process.env,
  environmentOf(owner, () => undefined),
);
if (prepared === undefined) await prepareRestoring(home, job, owner);
const { proof } = await writePast(home, job, { owner });
await endRestoring(home, job, owner, null);
process.stdout.write(JSON.stringify({ rows: proof.rows, hash: proof.hash }));
