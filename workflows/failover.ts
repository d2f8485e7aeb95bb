/**
 * The disks of a protected group become another host's (system E): docs/protection.md, section 8.
 *
 *     prepare ─▶ (planned: hand over, on the old host) ─▶ fence ─▶ recover ─▶ serve ─▶ noted in the catalog ─▶ wait until protected
 *
 * Steps on the new host find by its note what earlier tries have done. Until the fence the old host can go on, and is told to when a planned
 * failover ends before; after it nobody but the new one can.
 */
import type { FailoverInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type FailoverResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { fenceFrom, switchFrom } from './fencing.ts';
import { brief, bulk, short } from './queues.ts';
import { startWatch } from './watch.ts';

export function failover(input: FailoverInput): Promise<FailoverResult> {
  const { journal, host } = input;
  return runJob(
    openBook({ kind: 'failover', title: `Failover of ${journal} to ${host}`, volume: journal, store: null }),
    input,
    (book) => failOver(input, book),
    ({ to, point, planned, lostMsMax }) =>
      `served by ${to} as of point ${point}; ${planned ? 'nothing is lost' : `at most ${lostMsMax} ms before it are lost`}`,
  );
}

async function failOver(input: FailoverInput, book: Book): Promise<FailoverResult> {
  const watch = startWatch();
  const plan = await short.planFailover(input);
  const { protection, to, planned } = plan;
  const { journal, host: from } = protection;
  const there = hostQueue(to);
  book.update({ phase: `waiting for host ${to}` });
  const prepared = await brief(there).prepareFailover(plan);
  watch.lap('prepare');
  const handsOver = planned && !prepared.fenced;
  const fenced = await (handsOver ? switchFrom : fenceFrom)(plan, book, watch);
  book.update({ phase: `recovering the disks up to ${fenced.end}`, totalUnits: 1 });
  const { seq: point, labelUs, baseBytes, replayBytes } = await bulk(there).recoverGroup(plan, fenced);
  watch.lap('recover');
  book.update({ phase: 'serving', doneUnits: 1, readBytes: baseBytes + replayBytes });
  const { disks, uris } = await brief(there).serveGroup(plan, fenced);
  watch.lap('serve');
  const { closedEpoch, end, epoch, fencingMs } = fenced;
  const lostMsMax = planned ? 0 : Math.max(0, Math.round(fencingMs - labelUs / 1000));
  const moved = { journal, from, to, closedEpoch, end, epoch, point, lostMsMax, disks };
  await short.noteMoved(moved, planned ? 'planned failover' : 'failover');
  book.update({ phase: 'served; until every flush is a point', uris });
  await bulk(there).awaitProtected({ ...protection, host: to });
  await brief(there).endFailover(protection);
  watch.lap('protect');
  return { ...moved, planned, labelUs, baseBytes, replayBytes, uris, stepsMs: watch.laps };
}
