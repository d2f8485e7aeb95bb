/** The first capture: one read, three stores. And the second: 1 % changed, and little more than that sent. */
import { readFile } from 'node:fs/promises';
import type { CaptureResult } from '../../../domain/jobs.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { capture, EXTENT_BYTES, imageOf, type DemoContext } from '../demo-context.ts';
import { STORES } from '../demo-folder.ts';
import { digestOfFile } from '../disk-image.ts';
import { choose, overwrite } from '../overwrite.ts';
import { left, requireThat, type Figures, type Step } from '../step.ts';
import { bytesIn } from '../store-folders.ts';

/** Share of the extents that is changed. */
const CHANGED_SHARE = 0.01;
/** What may be sent beside the changed extents, in one store: map nodes, a change, records. */
const OVERHEAD_BYTES = 1024 * 1024;

/** Bytes that the kernel has given to a process; null where it does not tell. */
async function bytesReadBy(pid: number): Promise<number | null> {
  const io = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => null);
  const rchar = /^rchar: (\d+)$/m.exec(io ?? '')?.[1];
  return rchar === undefined ? null : Number(rchar);
}

const sentBy = ({ stores }: CaptureResult): ReadonlyMap<string, number> =>
  new Map(stores.flatMap((one) => (one.kind === 'committed' ? [[one.store as string, one.sentBytes] as const] : [])));

export function requireAllCommitted(result: CaptureResult): ReadonlyMap<string, number> {
  const sent = sentBy(result);
  for (const store of STORES) requireThat(sent.has(store), `${store} did not commit the snapshot: ${JSON.stringify(result.stores)}`);
  const roots = new Set(result.stores.map((one) => (one.kind === 'committed' ? one.root : null)));
  requireThat(roots.size === 1, 'the stores have committed different roots');
  return sent;
}

export const sentFigures = (sent: ReadonlyMap<string, number>): Figures =>
  Object.fromEntries([...sent].map(([store, bytes]) => [`${store}SentBytes`, bytes]));
export const sentLine = (sent: ReadonlyMap<string, number>): string =>
  `sent: ${[...sent].map(([store, bytes]) => `${store} ${formatBytes(bytes)}`).join(', ')}`;

export const protect: Step<DemoContext> = {
  name: 'protect',
  title: 'the volume goes into three stores with one read',
  async run(context) {
    const { folder, installation, story, note } = context;
    const { dataBytes, dataExtents, sizeBytes } = imageOf(context);
    const { pid } = installation.worker('node');
    note('one capture, three stores');
    const before = await bytesReadBy(pid);
    const result = await capture(context, 'first');
    const after = await bytesReadBy(pid);
    const sent = requireAllCommitted(result);
    // The last extent may reach beyond a range of data; nothing else is read that holds none.
    requireThat(
      result.readBytes <= dataExtents * EXTENT_BYTES,
      `${result.readBytes} bytes were read of a volume with ${dataBytes} bytes of data`,
    );
    requireThat(result.extentsRead <= dataExtents, `${result.extentsRead} extents were read of ${dataExtents} with data`);
    note('BLAKE3 of the volume as it is now');
    story.first = { result, snapshot: result.snapshot, digest: await digestOfFile(folder.volume) };
    const kernelBytes = before === null || after === null ? null : after - before;
    return {
      figures: {
        ...{ snapshot: result.snapshot, root: result.root, sizeBytes, dataBytes },
        ...{ sourceReadBytes: result.readBytes, timesRead: result.readBytes / dataBytes, kernelReadBytes: kernelBytes },
        ...{ extentsRead: result.extentsRead, dataExtents, ...sentFigures(sent) },
      },
      lines: [
        `read ${formatBytes(result.readBytes)} of ${formatBytes(dataBytes)} of data: ${(result.readBytes / dataBytes).toFixed(3)} times, for three stores`,
        `${result.extentsRead} extents read once, hashed once`,
        ...(kernelBytes === null ? [] : [`the kernel counts ${formatBytes(kernelBytes)} read by the node's process, all files together`]),
        sentLine(sent),
        `one root in all three: ${result.root?.slice(0, 16) ?? 'all zeros'}`,
      ],
    };
  },
};

export const change: Step<DemoContext> = {
  name: 'change',
  title: '1 % of the extents change, and are all that is sent',
  async run(context) {
    const { folder, options, story, note } = context;
    const { overwritable, dataExtents } = imageOf(context);
    const chosen = choose(overwritable, Math.max(1, Math.round(dataExtents * CHANGED_SHARE)), options.seed);
    const overwrittenBytes = await overwrite(folder.volume, chosen, options.seed, 1);
    note(`${chosen.length} extents overwritten in place; capturing`);
    const result = await capture(context, 'second');
    const sent = requireAllCommitted(result);
    requireThat(result.changedExtents === chosen.length, `${chosen.length} extents were changed and ${result.changedExtents} found`);
    const most = chosen.length * EXTENT_BYTES + OVERHEAD_BYTES;
    for (const [store, bytes] of sent) requireThat(bytes <= most, `${store} was sent ${bytes} bytes for ${chosen.length} extents`);
    for (const one of result.stores)
      requireThat(
        one.kind === 'committed' && one.base === left(story.first, 'a first capture').snapshot,
        'the base is not the first snapshot',
      );
    story.changed = chosen;
    story.second = { result, snapshot: result.snapshot, digest: null };
    const held = await Promise.all(STORES.map((store) => bytesIn(folder.store(store))));
    return {
      figures: {
        ...{ snapshot: result.snapshot, seed: options.seed, changedExtents: chosen.length, overwrittenBytes },
        ...{ changedShare: chosen.length / dataExtents, sourceReadBytes: result.readBytes, ...sentFigures(sent) },
        ...Object.fromEntries(STORES.map((store, i) => [`${store}HeldBytes`, held[i] ?? 0])),
      },
      lines: [
        `${chosen.length} of ${dataExtents} extents overwritten in place (seed ${options.seed}), ${formatBytes(overwrittenBytes)}; as many found by comparing`,
        sentLine(sent),
      ],
    };
  },
};
