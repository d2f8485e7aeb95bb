/**
 * Looks after a journal (systems E and I): an entity that goes on for as long as the catalog has it, and has nothing but its name.
 *
 *     each look:  the log     regions that lack something ─▶ backfillRegion, a job of its own
 *                 the host    what state the group is in ─▶ noted when it has changed; waits for a base ─▶ one is taken
 *     each hour:  fold, retention, collection
 *
 * No write waits for it, and nothing is decided here: what a disk server, or an owner, has to know within a second it knows itself. A host that does
 * not answer is looked at again.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  condition,
  continueAsNew,
  defineSignal,
  isCancellation,
  log,
  ParentClosePolicy,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { DomainLook, GroupState } from '../activities/domain.ts';
import type { ProtectDomainInput } from '../src/domain/job-inputs.ts';
import { hostQueue, JOB_IDS, LOOK_AGAIN_SIGNAL, QUEUE_DATA, type ProtectDomainResult } from '../src/domain/jobs.ts';
import type { backfillRegion } from './backfillRegion.ts';
import { failureOf, openBook, runJob, type Book } from './book.ts';
import { takeOrders, type Orders } from './orders.ts';
import { briefOnce, bulk, bulkOnce, short } from './queues.ts';

const lookAgain = defineSignal(LOOK_AGAIN_SIGNAL);

const LOOK_EVERY_MS = 60_000;
/** While something is amiss that ends by itself: a region is filled, and then there is a base. */
const LOOK_SOON_MS = 10_000;
const KEEP_EVERY_MS = 3_600_000;
const HOST_WITHIN_MS = 30_000;

export function protectDomain(input: ProtectDomainInput): Promise<ProtectDomainResult> {
  const { journal } = input;
  const book = openBook({ kind: 'protectDomain', title: `Upkeep of ${journal}`, volume: journal, store: null });
  const orders = takeOrders(book);
  const wish = { isThere: false };
  setHandler(lookAgain, () => {
    wish.isThere = true;
  });
  return runJob(
    book,
    input,
    () => lookAfter(input, book, orders, wish),
    () => 'the journal is not in the catalog any more',
  );
}

async function lookAfter(input: ProtectDomainInput, book: Book, orders: Orders, wish: { isThere: boolean }): Promise<ProtectDomainResult> {
  const { journal } = input;
  for (let keptMs = -Infinity; ;) {
    await orders.toGoOn();
    const look = await short.lookAtDomain(input);
    if (look === null) return { journal };
    for (const region of look.lagging) await startBackfill(journal, region);
    const group = look.protection === null ? null : await lookAtHost(look.protection);
    const unordered = group?.state === 'RESYNC' ? look.protection : null;
    const noBase = unordered === null ? null : await takeBase(unordered);
    book.update({ state: 'running', phase: phaseOf(look, group, noBase) });
    if (look.protection !== null && Date.now() - keptMs >= KEEP_EVERY_MS) {
      await keep(input, book);
      keptMs = Date.now();
    }
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof protectDomain>(input);
    await condition(() => wish.isThere, unordered === null ? LOOK_EVERY_MS : LOOK_SOON_MS);
    wish.isThere = false;
  }
}

function phaseOf({ lagging, atRiskBytes }: DomainLook, group: GroupState | null, noBase: string | null): string {
  const parts = [
    group === null ? null : `${group.state}, RPO ${group.rpoMs} ms`,
    lagging.length === 0 ? null : `${lagging.join(', ')} lacks something`,
    atRiskBytes === 0 ? null : `${atRiskBytes} bytes are held once`,
    noBase === null ? null : `no base yet: ${noBase}`,
  ];
  return parts.filter((part) => part !== null).join('; ') || 'looking after it';
}

async function startBackfill(journal: string, region: string): Promise<void> {
  const input = { journal, region };
  try {
    await startChild<typeof backfillRegion>('backfillRegion', {
      ...{ workflowId: JOB_IDS.backfillRegion(input), args: [input], parentClosePolicy: ParentClosePolicy.ABANDON },
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}

/** Null: it does not answer, or does not serve the group. */
async function lookAtHost(protection: NonNullable<DomainLook['protection']>): Promise<GroupState | null> {
  const { journal, host } = protection;
  const group = await briefOnce(hostQueue(host), HOST_WITHIN_MS)
    .lookAtGroup(journal)
    .catch((error: unknown) => {
      if (isCancellation(error)) throw error;
      return null;
    });
  await short.noteGroupState(journal, group);
  return group;
}

/**
 * Null: a region has it. Why none has, else: it is taken at the next look. One try, for what it waits for may have to be started by a look: a region
 * that took another's place meanwhile is filled first.
 */
async function takeBase(protection: NonNullable<DomainLook['protection']>): Promise<string | null> {
  try {
    const outcomes = await bulkOnce(hostQueue(protection.host)).takeGroupBase(protection);
    const missing = outcomes.flatMap((one) => (one.kind === 'none' ? [one.why] : []));
    return missing.length < outcomes.length ? null : missing.join('; ') || 'no region has a repository for it';
  } catch (error) {
    if (isCancellation(error)) throw error;
    const { code, message } = failureOf(error);
    log.warn('a base is not taken', { journal: protection.journal, code });
    return message;
  }
}

async function keep(input: ProtectDomainInput, book: Book): Promise<void> {
  try {
    const { folded, bytes, troubles } = await bulk(QUEUE_DATA).keepJournal(input);
    if (troubles.length > 0) book.update({ phase: `${folded} folded, ${bytes} bytes collected; ${troubles.join('; ')}` });
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.warn('a journal is not folded', { journal: input.journal, code: failureOf(error).code });
  }
}
