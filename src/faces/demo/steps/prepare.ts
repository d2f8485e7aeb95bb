/** Before anything is protected: the server and the tools, the volume, the stores and the workers. */
import { mkdir, stat, statfs } from 'node:fs/promises';
import { z } from 'zod';
import { HoldfastError } from '../../../domain/errors.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { TEMPORAL } from '../../stack/components.ts';
import { ensureTemporal } from '../../stack/components.ts';
import { EXTENT_BYTES, type DemoContext, type ImageFacts } from '../demo-context.ts';
import { STORES, type DemoStore } from '../demo-folder.ts';
import {
  buildImage,
  copySparse,
  dataExtents,
  dataOf,
  E2FSPROGS_REMEDY,
  extBlockBytes,
  imageBytesFor,
  measureTree,
  type Tree,
} from '../disk-image.ts';
import { passphraseVariable, storeUrl, VOLUME } from '../installation.ts';
import { fileContents, wholeExtents, type Overwritable } from '../overwritable.ts';
import { left, requireThat, type Step } from '../step.ts';

const TOOLS = ['mke2fs', 'e2fsck', 'debugfs'] as const;
/** The volume, three stores, what came back from one, changes; each as large as the data at worst. */
const ROOM_TIMES = 6;

async function requireTools({ programs, options }: DemoContext): Promise<void> {
  if (options.volume !== null) return;
  for (const tool of TOOLS)
    if ((await programs.find(tool)) === null)
      throw new HoldfastError('COMPONENT_UNAVAILABLE', `${tool} is not on this machine: ${E2FSPROGS_REMEDY}`, { component: tool });
}

/** The files that go into the image, measured once. */
const treeOf = async ({ options, story }: DemoContext): Promise<Tree> => (story.tree ??= await measureTree(options.files));

async function requireRoom(context: DemoContext): Promise<void> {
  const { folder, options } = context;
  const { bavail, bsize } = await statfs(folder.root);
  const bytes = options.volume === null ? imageBytesFor(await treeOf(context)) : (await stat(options.volume)).blocks * 512;
  const needed = bytes * ROOM_TIMES;
  if (bavail * bsize < needed)
    throw new HoldfastError(
      'TARGET_FULL',
      `${options.within} has ${formatBytes(bavail * bsize)} left, the demo may need ${formatBytes(needed)}`,
      {
        field: '--within',
        expected: 'a folder with more room',
      },
    );
}

export const provision: Step<DemoContext> = {
  name: 'provision',
  title: 'a Temporal server of its own',
  async run(context) {
    const { installation, folder, note } = context;
    await requireTools(context);
    await requireRoom(context);
    await mkdir(folder.inside('nobody'));
    const located = await ensureTemporal({ environment: installation.stack, progress: note });
    note('starting the server');
    await installation.startTemporal();
    const { address, namespace, uiUrl } = installation.temporal;
    return {
      figures: { temporalOrigin: located.origin, temporalAddress: address, temporalNamespace: namespace, uiUrl },
      lines: [
        `Temporal ${TEMPORAL.version} (${located.origin === 'provisioned' ? 'built now, kept in the cache' : `from ${located.origin}`}) at ${address}`,
        ...(uiUrl === null ? [] : [`its UI: ${uiUrl}/namespaces/${namespace}/workflows`]),
      ],
    };
  },
};

/** Whether the file system in the volume is sound to begin with; only then e2fsck has something to say of what comes back. */
async function isSound({ programs }: DemoContext, file: string): Promise<boolean> {
  if ((await programs.find('e2fsck')) === null) return false;
  return (await programs.run('e2fsck', ['-fn', file])).status === 0;
}

async function overwritableOf(
  context: DemoContext,
  extents: readonly number[],
  sizeBytes: number,
): Promise<Pick<ImageFacts, 'overwritable' | 'checked'>> {
  const { folder, programs } = context;
  const blockBytes = await extBlockBytes(folder.volume);
  const anywhere = { overwritable: wholeExtents(extents, EXTENT_BYTES, sizeBytes), checked: false };
  if (blockBytes === null || (await programs.find('debugfs')) === null || !(await isSound(context, folder.volume))) return anywhere;
  const overwritable: readonly Overwritable[] = await fileContents(programs, folder.volume, blockBytes, extents, EXTENT_BYTES);
  return overwritable.length === 0 ? anywhere : { overwritable, checked: true };
}

export const image: Step<DemoContext> = {
  name: 'image',
  title: 'the volume',
  async run(context) {
    const { options, folder, programs, note, story } = context;
    let made: string;
    if (options.volume === null) {
      note(`mke2fs puts ${options.files} into an image`);
      const tree = await treeOf(context);
      await buildImage(programs, folder.volume, options.files, tree);
      made = `mke2fs: ext4 with ${tree.files} files of ${options.files}`;
    } else {
      note(`copying ${options.volume}, which is only read`);
      story.original = await stampOf(options.volume);
      made = `${await copySparse(options.volume, folder.volume)} of ${options.volume}, which is only read`;
    }
    note('looking at what it holds');
    const { sizeBytes, ranges } = await dataOf(folder.volume);
    const dataBytes = ranges.reduce((sum, { length }) => sum + length, 0);
    const extents = dataExtents(ranges);
    requireThat(extents.length > 0, `${folder.volume} holds nothing but holes`);
    const { overwritable, checked } = await overwritableOf(context, extents, sizeBytes);
    story.image = { sizeBytes, dataBytes, dataExtents: extents.length, overwritable, checked };
    return {
      figures: { sizeBytes, dataBytes, extentBytes: EXTENT_BYTES, dataExtents: extents.length, fileSystemChecked: checked },
      lines: [
        made,
        `${formatBytes(sizeBytes)}, ${formatBytes(dataBytes)} of it data in ${extents.length} extents of ${formatBytes(EXTENT_BYTES)}`,
        checked ? 'e2fsck -fn: clean' : 'no sound ext4 in it: e2fsck has nothing to say, bytes are compared all the same',
      ],
    };
  },
};

/** Size and time of the last change, to the nanosecond. */
async function stampOf(file: string): Promise<string> {
  const { size, mtimeNs } = await stat(file, { bigint: true });
  return `${size} bytes, changed ${mtimeNs}`;
}

export const untouched: Step<DemoContext> = {
  name: 'untouched',
  title: 'the file itself is as it was',
  async run({ options, story }) {
    const file = left(options.volume, 'a file');
    const stamp = await stampOf(file);
    requireThat(stamp === story.original, `${file} was ${story.original ?? ''} and is ${stamp}: somebody else writes to it`);
    return { figures: { file, stamp }, lines: [`${file}: same size, same time of change; it was opened for reading alone`] };
  },
};

const added = z.looseObject({ checks: z.array(z.looseObject({ name: z.string(), ok: z.boolean(), detail: z.string() })) });

export const stores: Step<DemoContext> = {
  name: 'stores',
  title: 'three stores, raced before they are trusted; a controller and a node',
  async run({ folder, programs, installation, note }) {
    const add = (store: DemoStore) =>
      programs.holdfastJson(
        added,
        ['store', 'add', store, storeUrl(folder, store), '--passphrase', `env:${passphraseVariable(store)}`],
        installation.variables,
      );
    const [first, ...others] = STORES;
    note('racing the stores');
    // The first makes the home; then the workers can find it.
    const reports = [await add(first)];
    const starting = Promise.all([installation.startWorker('controller'), installation.startWorker('node')]);
    starting.catch(() => undefined);
    reports.push(...(await Promise.all(others.map(add))));
    const checks = reports.flatMap((report) => report.checks);
    requireThat(
      checks.every(({ ok }) => ok),
      'a store was taken though a check failed',
    );
    const where = STORES.flatMap((store) => ['--store', store]);
    await programs.holdfastJson(z.looseObject({}), ['volume', 'add', VOLUME, folder.volume, ...where], installation.variables);
    note('starting the workers');
    const [controller, node] = await starting;
    return {
      figures: { stores: [...STORES], checks: checks.length, controllerPid: controller.pid, nodePid: node.pid },
      lines: [
        `${STORES.join(', ')}: ${checks.length} checks passed; each has a passphrase of its own`,
        `controller ${controller.pid}, node ${node.pid}`,
      ],
    };
  },
};
