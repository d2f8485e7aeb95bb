/**
 * The journal of a group becomes the new host's: by the log alone, or after the old one has handed over and said where it ends. What it said is
 * compared with the end by the fencing itself, so that no other try passes over it.
 */
import { CancellationScope, log } from '@temporalio/workflow';
import type { FailoverPlan, Fenced } from '../activities/protection.ts';
import { hostQueue } from '../src/domain/jobs.ts';
import { failureOf, type Book } from './book.ts';
import { brief, briefWithin } from './queues.ts';
import type { Watch } from './watch.ts';

/** A planned failover wants its old host; one that is not there is failed over from without plan. */
const ANSWERS_WITHIN_MS = 120_000;

export async function fenceFrom(plan: FailoverPlan, book: Book, watch: Watch, told: number | null = null): Promise<Fenced> {
  book.update({ phase: `fencing ${plan.protection.host}` });
  const fenced = await brief(hostQueue(plan.to)).fenceGroup(plan, told);
  watch.lap('fence');
  return fenced;
}

/** When it fails the old host is told to go on; if it was fenced by then it learns that, and serves nothing. */
export async function switchFrom(plan: FailoverPlan, book: Book, watch: Watch): Promise<Fenced> {
  const { journal, host } = plan.protection;
  const here = briefWithin(hostQueue(host), ANSWERS_WITHIN_MS);
  try {
    book.update({ phase: `waiting for ${host} to hand over` });
    const told = await here.handOverGroup(journal);
    watch.lap('hand over');
    return await fenceFrom(plan, book, watch, told);
  } catch (error) {
    await CancellationScope.nonCancellable(() => here.takeUpGroup(journal)).catch((why: unknown) => {
      log.warn('the old host was not told to go on; its disk server does when it is started', { code: failureOf(why).code });
    });
    throw error;
  }
}
