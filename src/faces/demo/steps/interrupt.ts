/**
 * kill -9 in the middle of a capture, and a new process that finishes it.
 *
 * The stores are given slow links for it, so that there is a middle whatever the size of the volume and the speed of the
 * machine. It is seen in the stores: the node is killed as soon as each of them holds a pack of the new claim. What was put is counted afterwards from the packs themselves: every value that lies in more than one pack was
 * sent again, and so was every body that the kill cut off. The bound is a pack for each store and thread.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { storeName } from '../../../domain/ids.ts';
import { MIB, PACK_BYTES_MAX } from '../../../domain/limits.ts';
import { findStore } from '../../../engine/catalog/catalog.ts';
import { openHome } from '../../../engine/catalog/home.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { createEnvironment } from '../../cli/session.ts';
import { captureReport, EXTENT_BYTES, imageOf, type DemoContext } from '../demo-context.ts';
import { STORES, type DemoStore } from '../demo-folder.ts';
import { VOLUME } from '../installation.ts';
import { choose, overwrite } from '../overwrite.ts';
import { requireThat, type Step } from '../step.ts';
import { lookInto, repeatedBytes } from '../store-evidence.ts';
import { bytesOf, incomingBytes, isPack, objectsIn, type StoredObject } from '../store-folders.ts';
import { requireAllCommitted } from './protect.ts';

/** Some ten packs a store. */
const CHANGED_BYTES = 160 * MIB;
/** At the most, of the volume's extents. */
const CHANGED_SHARE_MAX = 0.6;
/** How long the changed bytes would be on their way over the slow links. */
const SLOW_SECONDS = 6;
const POLL_MS = 20;
const PUT_WITHIN_MS = 2_000;
const MIDDLE_WITHIN_MS = 60_000;

const JOB = `capture.${VOLUME}`;
type Packs = ReadonlyMap<DemoStore, readonly StoredObject[]>;

const packsNow = async ({ folder }: DemoContext): Promise<Packs> =>
  new Map(await Promise.all(STORES.map(async (store) => [store, (await objectsIn(folder.store(store), VOLUME)).filter(isPack)] as const)));

const newIn = (now: Packs, before: Packs, store: DemoStore): readonly StoredObject[] => {
  const known = new Set((before.get(store) ?? []).map(({ name }) => name));
  return (now.get(store) ?? []).filter(({ name }) => !known.has(name));
};

/** Resolves when each store holds a pack that it did not hold before. */
async function middleOfCapture(context: DemoContext, before: Packs): Promise<void> {
  const deadlineMs = performance.now() + MIDDLE_WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const now = await packsNow(context);
    if (STORES.every((store) => newIn(now, before, store).length > 0)) return;
    await sleep(POLL_MS, undefined, { signal: context.signal });
  }
  requireThat(false, `no pack came into the stores within ${MIDDLE_WITHIN_MS / 1000} s`);
}

/** Bytes a second that each store is sent by workers that start from now on; null: as many as it takes. */
async function limitStores({ folder, installation }: DemoContext, bytesPerSecondMax: number | null): Promise<void> {
  await using home = await openHome({
    url: `file://${folder.home}/home`,
    passphrase: 'env:HOLDFAST_PASSPHRASE',
    cacheDir: folder.inside('cache'),
    variables: installation.variables,
    environment: await createEnvironment(`demo.${process.pid}`, () => undefined),
  });
  for (const store of STORES)
    await home.catalog.append((state) => ({ kind: 'STORE_SET', store: { ...findStore(state, storeName(store)), bytesPerSecondMax } }));
}

/** Waits for a put to be under way, so that the kill cuts it off; a machine may be too fast for that, and then it does not. */
async function putUnderWay({ folder, signal }: DemoContext): Promise<void> {
  const deadlineMs = performance.now() + PUT_WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const cut = await Promise.all(STORES.map((store) => incomingBytes(folder.store(store))));
    if (cut.some((bytes) => bytes > 0)) return;
    await sleep(1, undefined, { signal });
  }
}

const started = z.looseObject({ job: z.string(), runId: z.string() });

interface Sent {
  readonly store: DemoStore;
  /** Packs confirmed when the node was killed. */
  readonly confirmedBytes: number;
  readonly cutOffBytes: number;
  readonly putBytes: number;
  readonly repeatedBytes: number;
}

async function countSent(context: DemoContext, before: Packs, killed: Packs, cutOff: ReadonlyMap<DemoStore, number>): Promise<Sent[]> {
  const after = await packsNow(context);
  return Promise.all(
    STORES.map(async (store) => {
      const put = newIn(after, before, store);
      const { bytes, repeated } = await lookInto(context, store, (repository) => repeatedBytes(repository, put));
      return {
        store,
        confirmedBytes: bytesOf(newIn(killed, before, store)),
        cutOffBytes: cutOff.get(store) ?? 0,
        putBytes: bytes,
        repeatedBytes: repeated,
      };
    }),
  );
}

const history = z.looseObject({
  events: z.array(
    z.looseObject({
      activityTaskStartedEventAttributes: z
        .looseObject({ attempt: z.number().optional(), lastFailure: z.looseObject({ message: z.string() }).optional() })
        .optional(),
    }),
  ),
});

/** What Temporal's own command says of the job: how often its longest step was begun, and why again. */
async function attemptsIn({ programs, installation }: DemoContext): Promise<{ readonly attempt: number; readonly why: string }> {
  const { address, namespace } = installation.temporal;
  const shown = await programs.run(await installation.temporalCommand(), [
    'workflow',
    'show',
    '--workflow-id',
    JOB,
    '--address',
    address,
    '--namespace',
    namespace,
    '--output',
    'json',
  ]);
  const { events } = history.parse(JSON.parse(shown.stdout));
  let most = { attempt: 0, why: '' };
  for (const { activityTaskStartedEventAttributes: begun } of events)
    if ((begun?.attempt ?? 0) > most.attempt) most = { attempt: begun?.attempt ?? 0, why: begun?.lastFailure?.message ?? '' };
  programs.remember(shown, `attempt ${most.attempt}: ${most.why}`);
  return most;
}

export const interrupt: Step<DemoContext> = {
  name: 'kill',
  title: 'kill -9 in the middle of a capture; a new process finishes it',
  async run(context) {
    const { folder, options, programs, installation, story, note } = context;
    const { overwritable, dataExtents } = imageOf(context);
    const share = Math.min(Math.ceil(CHANGED_BYTES / EXTENT_BYTES), Math.floor(dataExtents * CHANGED_SHARE_MAX));
    const chosen = choose(overwritable, Math.max(1, share), options.seed + 1);
    const overwrittenBytes = await overwrite(folder.volume, chosen, options.seed, 3);
    const before = await packsNow(context);
    note(`${chosen.length} extents changed; slow links for a new node`);
    await installation.killWorker('node');
    await limitStores(context, Math.ceil(overwrittenBytes / SLOW_SECONDS));
    await installation.startWorker('node');
    note('capturing');
    const job = await programs.holdfastJson(
      started,
      ['snapshot', 'create', VOLUME, '--label', 'fourth', '--detach'],
      installation.variables,
    );
    await middleOfCapture(context, before);
    await putUnderWay(context);
    const pid = await installation.killWorker('node');
    const killed = await packsNow(context);
    const cutOff = new Map(await Promise.all(STORES.map(async (store) => [store, await incomingBytes(folder.store(store))] as const)));
    note(`node ${pid} killed; a new one starts, Temporal gives it the work when the old one has been silent for 10 s`);
    await limitStores(context, null);
    const node = await installation.startWorker('node');
    const { result } = await programs.holdfastJson(captureReport, ['job', 'wait', job.job], installation.variables);
    requireAllCommitted(result);
    const { attempt, why } = await attemptsIn(context);
    requireThat(attempt > 1, 'the capture had ended before its node was killed');
    const sent = await countSent(context, before, killed, cutOff);
    requireBounded(sent);
    story.fourth = { result, snapshot: result.snapshot, digest: null };
    const most = Math.max(...sent.map(againBytes));
    return {
      figures: {
        ...{
          snapshot: result.snapshot,
          changedExtents: result.changedExtents,
          overwrittenBytes,
          killedPid: pid,
          newPid: node.pid,
          attempt,
        },
        ...Object.fromEntries(
          sent.flatMap((one) => [
            [`${one.store}ConfirmedAtKillBytes`, one.confirmedBytes],
            [`${one.store}ValuesPutBytes`, one.putBytes + one.cutOffBytes],
            [`${one.store}ValuesInSnapshotBytes`, one.putBytes - one.repeatedBytes],
            [`${one.store}CutOffBytes`, one.cutOffBytes],
            [`${one.store}SentAgainBytes`, againBytes(one)],
          ]),
        ),
        sentAgainBytesMax: AGAIN_BYTES_MAX,
      },
      lines: [
        `node ${pid} killed with ${sent.map((one) => formatBytes(one.confirmedBytes)).join(', ')} confirmed; node ${node.pid} finished it`,
        `Temporal: attempt ${attempt} (${why}); confirmed packs were adopted`,
        `put / in the snapshot: ${sent.map((one) => `${one.store} ${formatBytes(one.putBytes + one.cutOffBytes)} / ${formatBytes(one.putBytes - one.repeatedBytes)}`).join(', ')}`,
        `sent again: at most ${formatBytes(most)} a store; the bound is a pack for each thread, ${formatBytes(AGAIN_BYTES_MAX)}`,
      ],
    };
  },
};

/** A pack for each thread, in each store. */
const AGAIN_BYTES_MAX = availableParallelism() * PACK_BYTES_MAX;

const againBytes = (one: Sent): number => one.repeatedBytes + one.cutOffBytes;

function requireBounded(sent: readonly Sent[]): void {
  for (const one of sent) requireThat(one.putBytes > 0, `no value is in what ${one.store} was sent`);
  for (const one of sent) requireThat(againBytes(one) <= AGAIN_BYTES_MAX, `${one.store} was sent ${againBytes(one)} bytes again`);
}
