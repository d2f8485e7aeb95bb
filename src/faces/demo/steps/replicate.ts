/**
 * Replicated to somebody else, who loses some of it in the middle of a session: after the names were said, and before the receiver has
 * proven that it holds them. What is sent then is what was lost, and the replica is the volume.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { repositoryName, storeName } from '../../../domain/ids.ts';
import type { Link } from '../../../engine/replication/frames.ts';
import { runSession } from '../../../engine/replication/sending/session.ts';
import { plainSession } from '../../../engine/replication/sending/session-parts.ts';
import { openLink, type ReceiverLink } from '../../../engine/replication/transport/client.ts';
import { newestOf, type Snapshot } from '../../../engine/repository/ledger.ts';
import type { RepositoryReader } from '../../../engine/repository/reader.ts';
import { subtreeCount, valuesOf } from '../../../engine/repository/transfer-reader.ts';
import { Threads } from '../../../ground/threads/threads.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { capture, imageOf, type DemoContext } from '../demo-context.ts';
import { STORES } from '../demo-folder.ts';
import { digestOfFile } from '../disk-image.ts';
import { VOLUME } from '../installation.ts';
import { choose, overwrite } from '../overwrite.ts';
import { openDemoHome, REPLICA, startReplica } from '../replica.ts';
import { left, requireThat, type Step } from '../step.ts';
import { requireAllCommitted } from './protect.ts';

const LOST_MAX = 20;
/** Extents that change between two sessions, and the round of their new content. */
const CHANGED = 10;
const ROUND = 9;
/** Headers of requests and answers, the frames around the values, the last words of a session. */
const OVERHEAD_BYTES = 16 * 1024;
const [STORE] = STORES;

const replicated = z.looseObject({ state: z.literal('done') });

/** Values that the older snapshot has, too: they are not named again, and the receiver is believed to have them. */
async function chooseKept(source: RepositoryReader, newer: Snapshot, older: Snapshot, seed: number): Promise<readonly Buffer[]> {
  const changed = new Set<number>();
  for await (const { extent } of valuesOf(source, newer, 0, older)) changed.add(extent);
  const kept = new Map<string, number>();
  for await (const { extent, fingerprint } of valuesOf(source, newer, 0))
    if (!changed.has(extent)) kept.set(Buffer.from(fingerprint).toString('hex'), extent);
  const chosen = choose(
    [...kept.values()].map((extent) => ({ extent, ranges: [] })),
    LOST_MAX,
    seed,
  ).map(({ extent }) => extent);
  return [...kept].flatMap(([name, extent]) => (chosen.includes(extent) ? [Buffer.from(name, 'hex')] : []));
}

interface Watched {
  readonly link: Link;
  /** What was sent from the moment at which the receiver said what it had lost. */
  sentBytes(): number;
  lostBytes(): number;
}

/** Loses what it is told to lose when the receiver is first asked what it lacks. */
function losing(link: ReceiverLink, names: ReadonlySet<string>, lose: () => Promise<number>): Watched {
  let losing: Promise<number> | null = null;
  let lostBytes = 0;
  let sentBefore: number | null = null;
  return {
    link: {
      async exchange(first, rest, signal) {
        if (rest.some(({ kind }) => kind === 'PUSH_INQUIRY')) lostBytes = await (losing ??= lose());
        const answers = await link.exchange(first, rest, signal);
        if (answers.some((answer) => answer.kind === 'MISSING' && answer.names.some(({ name }) => names.has(name))))
          sentBefore ??= link.wire().sent;
        return answers;
      },
    },
    // Of a small volume all may have changed: then there is nothing to lose.
    sentBytes: () => (names.size === 0 ? 0 : link.wire().sent - left(sentBefore, 'the names of what was lost, asked for')),
    lostBytes: () => lostBytes,
  };
}

export const replicate: Step<DemoContext> = {
  name: 'replicate',
  title: 'replicated to somebody else, who loses extents in the middle of a session',
  async run(context) {
    const { folder, programs, installation, options, note } = context;
    const { variables } = installation;
    await using replica = await startReplica(context);
    const adding = ['replicate', 'receiver', 'add', 'offsite', '--url', replica.url, '--token', replica.tokenReference];
    await programs.holdfastJson(z.unknown(), adding, variables);
    requireAllCommitted(await capture(context, 'to replicate'));
    note('holdfast replicate start');
    const begunMs = performance.now();
    await programs.holdfastJson(replicated, ['replicate', 'start', VOLUME, '--receiver', 'offsite', '--store', STORE], variables);
    const fullSeconds = (performance.now() - begunMs) / 1000;

    await overwrite(folder.volume, choose(imageOf(context).overwritable, CHANGED, options.seed + 3), options.seed, ROUND);
    requireAllCommitted(await capture(context, 'to replicate again'));
    await using home = await openDemoHome(context, folder.home, variables);
    const source = await home.reader(storeName(STORE), repositoryName(VOLUME));
    const { snapshots, order } = await source.sync();
    const [lineage, ids] = left([...order][0], 'a lineage');
    const newer = left(snapshots.get(left(newestOf(source.ledger(), lineage), 'a snapshot')), 'the newest snapshot');
    const older = left(snapshots.get(left(ids.at(-2), 'an older snapshot')), 'the snapshot before it');
    const lost = await chooseKept(source, newer, older, options.seed);
    await using threads = new Threads();
    await using link = openLink({ url: replica.url, token: replica.token });
    const watched = losing(link, new Set(lost.map((name) => name.toString('hex'))), () => replica.lose(lost));
    note(`a session, in the middle of which ${lost.length} extents are lost`);
    const outcome = await runSession(
      plainSession({
        ...{ source, store: STORE, of: newer, threads, link: watched.link, proof: 'all', takesOver: false, signal: context.signal },
        ...{ owner: 'demo', attempt: 1 },
      }),
    );
    requireThat(outcome.kind === 'committed' && outcome.root === newer.root, `the session ended as ${outcome.kind}`);
    const [lostBytes, againBytes] = [watched.lostBytes(), watched.sentBytes()];
    // Of a larger volume, other subtrees are sent meanwhile.
    requireThat(
      subtreeCount(newer.sizeBytes, newer.extentBytes) > 1 || againBytes <= lostBytes * 1.02 + OVERHEAD_BYTES,
      `${againBytes} bytes were sent again for ${lostBytes} that were lost`,
    );

    note('holdfast rescue restore from the replica');
    const target = path.join(folder.restored, 'replica.img');
    await programs.holdfastJson(z.unknown(), ['rescue', 'restore', REPLICA, target, ...replica.storeArguments], replica.variables);
    const [was, is] = [await digestOfFile(folder.volume), await digestOfFile(target)];
    requireThat(was === is, `BLAKE3 of the replica is ${is} and not ${was}`);
    await rm(target);
    const { figures } = outcome;
    return {
      figures: {
        ...{ snapshot: newer.id, fullSeconds, lostExtents: lost.length, lostBytes, sentAgainBytes: againBytes },
        ...{ referenced: figures.referenced, sent: figures.sent, wireBytes: figures.wireBytes },
      },
      lines: [
        `all of it in ${fullSeconds.toFixed(1)} s; then a session that named ${figures.referenced} extents`,
        `${lost.length} extents were lost there meanwhile, ${formatBytes(lostBytes)}: ${formatBytes(againBytes)} were sent again (${againBytes - lostBytes} bytes more), and nothing else`,
        `the replica restored: BLAKE3 ${is.slice(0, 16)}, the volume's`,
      ],
    };
  },
};
