/**
 * Whether a failover would do, without one (system E): docs/protection.md, section 8.
 *
 *     recover the newest point to scratch files ─▶ check them ─▶ report ─▶ files and pin are gone, whatever became of it
 *
 * Capture is not touched, and a check that fails is an outcome of the job, not its failure.
 */
import { CancellationScope } from '@temporalio/workflow';
import type { TestPlan } from '../activities/protection.ts';
import type { TestFailoverInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type TestFailoverResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { brief, bulk, short } from './queues.ts';
import { startWatch } from './watch.ts';

export function testFailover(input: TestFailoverInput): Promise<TestFailoverResult> {
  const { journal } = input;
  return runJob(
    openBook({ kind: 'testFailover', title: `Test failover of ${journal}`, volume: journal, store: null }),
    input,
    async (book) => {
      const plan = await short.planTestFailover(input);
      try {
        return await test(plan, book);
      } finally {
        await CancellationScope.nonCancellable(() => brief(hostQueue(plan.host)).endTestFailover(plan.protection));
      }
    },
    ({ point, passed, rpoMsMax, rtoMs }) =>
      `point ${point} ${passed ? 'is good' : 'is NOT good'}: at most ${rpoMsMax} ms old, recovered in ${rtoMs} ms`,
  );
}

async function test({ protection, host }: TestPlan, book: Book): Promise<TestFailoverResult> {
  const { journal } = protection;
  const there = bulk(hostQueue(host));
  const watch = startWatch();
  book.update({ phase: `recovering on ${host}`, totalUnits: 1 });
  const recovered = await there.recoverForTest(protection);
  watch.lap('recover');
  book.update({ phase: `checking point ${recovered.point}`, doneUnits: 1, readBytes: recovered.baseBytes + recovered.replayBytes });
  const checks = await there.checkForTest(protection);
  watch.lap('check');
  const passed = checks.every((check) => check.passed);
  const result = { journal, host, ...recovered, rtoMs: watch.laps['recover'] ?? 0, passed, checks, stepsMs: watch.laps };
  await short.noteTested(result);
  return result;
}
