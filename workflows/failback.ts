/**
 * The disks of a protected group become those of a host again that had them before (system E): docs/protection.md, section 8.
 *
 *     begin ─▶ rounds: what was written since, while the other host serves, until that is little ─▶ hand over ─▶ fence ─▶ the last round ─▶ serve
 *
 * Only what differs is fetched. Where the host cannot say what its old files hold, the first round is all of the disks, into new files.
 */
import type { FailoverPlan } from '../activities/protection.ts';
import type { FailbackInput } from '../src/domain/job-inputs.ts';
import { hostQueue, type FailbackResult } from '../src/domain/jobs.ts';
import { openBook, runJob, type Book } from './book.ts';
import { fenceFrom, switchFrom } from './fencing.ts';
import { brief, bulk, short } from './queues.ts';
import { startWatch } from './watch.ts';

/** So much is fetched while nobody serves: seconds, of any store. */
const LITTLE_BYTES = 32 * 1024 * 1024;
/** Who writes faster than can be fetched is switched from all the same. */
const ROUNDS_MAX = 10;

export function failback(input: FailbackInput): Promise<FailbackResult> {
  const { journal, host } = input;
  return runJob(
    openBook({ kind: 'failback', title: `Failback of ${journal} to ${host}`, volume: journal, store: null }),
    input,
    (book) => failBack(input, book),
    ({ to, fetchedBytes, full }) =>
      `served by ${to} again; ${fetchedBytes} bytes fetched, ${full === null ? 'which differed' : `all, for ${full}`}`,
  );
}

async function failBack(input: FailbackInput, book: Book): Promise<FailbackResult> {
  const watch = startWatch();
  const plan = await short.planFailback(input);
  const { protection, to } = plan;
  const { journal, host: from } = protection;
  const there = hostQueue(to);
  book.update({ phase: `waiting for host ${to}` });
  const { full, whole, fenced: isFenced } = await brief(there).beginFailback(plan);
  watch.lap('begin');
  const rounds = isFenced ? 0 : await catchUp(plan, whole ? full : null, book);
  watch.lap('catch up');
  const fenced = await (isFenced ? fenceFrom : switchFrom)(plan, book, watch);
  book.update({ phase: `the last round, up to ${fenced.end}` });
  const last = await bulk(there).catchUpLast(plan, fenced);
  watch.lap('last round');
  book.update({ phase: 'serving' });
  const { disks, uris } = await brief(there).serveGroup(plan, fenced);
  watch.lap('serve');
  const { closedEpoch, end, epoch } = fenced;
  const moved = { journal, from, to, closedEpoch, end, epoch, point: last.seq, lostMsMax: 0, disks };
  await short.noteMoved(moved, 'failback');
  book.update({ phase: 'served; until every flush is a point', uris });
  await bulk(there).awaitProtected({ ...protection, host: to });
  await brief(there).endFailover(protection);
  watch.lap('protect');
  const { totalBytes: fetchedBytes, fetchedBytes: lastBytes } = last;
  return {
    ...moved,
    labelUs: last.labelUs,
    full,
    rounds: rounds + 1,
    fetchedBytes,
    lastBytes,
    uris,
    stepsMs: watch.laps,
  };
}

/** How many rounds it took. */
async function catchUp(plan: FailoverPlan, full: string | null, book: Book): Promise<number> {
  const there = bulk(hostQueue(plan.to));
  let bytes = 0;
  for (let count = 1; ; count++) {
    const whole = full !== null && count === 1;
    book.update({
      phase: whole ? `fetching all of the disks, for ${full}` : `fetching what was written since: round ${count}`,
      readBytes: bytes,
    });
    const { fetchedBytes } = await there.catchUpGroup(plan, whole);
    bytes += fetchedBytes;
    if (count === ROUNDS_MAX || (!whole && fetchedBytes <= LITTLE_BYTES)) return count;
  }
}
