/**
 * Everything else is gone: no Temporal, no worker, no catalog, no other store, not the volume. Each store in turn gives it
 * back with its address and its passphrase; other people's programs judge what came. Then one byte of a store is flipped.
 */
import { chmod, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ERROR_KINDS } from '../../../domain/errors.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { imageOf, type Captured, type DemoContext } from '../demo-context.ts';
import { STORES, type DemoStore } from '../demo-folder.ts';
import { digestOfFile } from '../disk-image.ts';
import { passphraseVariable, storeUrl, VOLUME } from '../installation.ts';
import { left, requireThat, type Figures, type Outcome, type Step } from '../step.ts';

const restoredSchema = z.looseObject({ snapshot: z.string(), readBytes: z.number(), writtenBytes: z.number(), sizeBytes: z.number() });

const rescueArguments = ({ folder }: DemoContext, store: DemoStore): readonly string[] => [
  ...['--store', storeUrl(folder, store), '--passphrase', `env:${passphraseVariable(store)}`],
];

/** The environment of a machine that has one passphrase and nothing else of ours. */
const rescueVariables = ({ installation }: DemoContext, store: DemoStore) => {
  const name = passphraseVariable(store);
  return { ...installation.bareVariables, [name]: installation.secrets[name] };
};

/** Takes away all but one store while `work` is done. */
async function alone<T>({ folder }: DemoContext, store: DemoStore, work: (original: string) => Promise<T>): Promise<T> {
  const others = STORES.filter((name) => name !== store).map((name) => folder.store(name));
  const gone = [...others, folder.home, folder.volume];
  for (const file of gone) await folder.moveAway(file);
  try {
    return await work(path.join(folder.away, path.basename(folder.volume)));
  } finally {
    for (const file of gone) await folder.bringBack(file);
  }
}

interface Judged {
  readonly lines: readonly string[];
  readonly figures: Figures;
}

/** e2fsck where there is such a file system; then byte by byte where the volume is still as it was, else by its BLAKE3. */
async function judge(context: DemoContext, restored: string, captured: Captured, original: string | null): Promise<Judged> {
  const { programs, note } = context;
  const lines: string[] = [];
  let e2fsckStatus: number | null = null;
  if (imageOf(context).checked) {
    note('e2fsck -fn');
    const ran = await programs.run('e2fsck', ['-fn', restored]);
    e2fsckStatus = ran.status;
    requireThat(ran.status === 0, `e2fsck -fn ends with ${ran.status}: ${ran.stdout.slice(-300)}`);
    programs.remember(ran, `exit status ${ran.status}: clean`);
    lines.push('e2fsck -fn: clean');
  }
  if (original !== null && (await programs.find('cmp')) !== null) {
    note('cmp');
    const ran = await programs.run('cmp', [restored, original]);
    requireThat(ran.status === 0, `cmp ends with ${ran.status}: ${ran.stdout}`);
    programs.remember({ line: ran.line.replace(original, context.folder.volume) }, `exit status ${ran.status}: not a byte differs`);
    return { lines: [...lines, 'cmp: not a byte differs'], figures: { e2fsckStatus, cmpStatus: ran.status } };
  }
  note('BLAKE3');
  const expected = original === null ? left(captured.digest, 'the digest of the volume') : await digestOfFile(original);
  const blake3 = await digestOfFile(restored);
  requireThat(blake3 === expected, `BLAKE3 is ${blake3} and was ${expected}`);
  return { lines: [...lines, `BLAKE3 ${blake3.slice(0, 16)}: as when it was captured`], figures: { e2fsckStatus, blake3 } };
}

async function restore(
  context: DemoContext,
  store: DemoStore,
  captured: Captured,
  name: string,
  original: string | null,
): Promise<Outcome> {
  const { folder, options, programs, note } = context;
  const target = path.join(folder.restored, `${name}.img`);
  note(`holdfast rescue restore from ${store}`);
  const begunMs = performance.now();
  const args = ['rescue', 'restore', VOLUME, target, '--snapshot', captured.snapshot, ...rescueArguments(context, store)];
  const result = await programs.holdfastJson(restoredSchema, args, rescueVariables(context, store));
  const restoreSeconds = (performance.now() - begunMs) / 1000;
  const { lines, figures } = await judge(context, target, captured, original);
  if (!options.keep) await rm(target);
  return {
    figures: {
      ...{ store, snapshot: captured.snapshot, restoreSeconds, storeReadBytes: result.readBytes, writtenBytes: result.writtenBytes },
      ...figures,
    },
    lines: [
      `${formatBytes(result.sizeBytes)} from ${formatBytes(result.readBytes)} in ${restoreSeconds.toFixed(1)} s, ${formatBytes(result.sizeBytes / restoreSeconds)}/s`,
      ...lines,
    ],
  };
}

export const restoreAlone = (store: DemoStore): Step<DemoContext> => ({
  name: `rescue ${store}`,
  title: `the newest snapshot from ${store}, with everything else gone`,
  async run(context) {
    await context.installation.stopAll();
    const captured = left(context.story.fourth, 'a fourth capture');
    return alone(context, store, (original) => restore(context, store, captured, `newest-${store}`, original));
  },
});

export const restoreFirst: Step<DemoContext> = {
  name: 'rescue first',
  title: 'the first snapshot, whose successor was reclaimed, from gamma alone',
  run: (context) =>
    alone(context, 'gamma', () => restore(context, 'gamma', left(context.story.first, 'a first capture'), 'first-gamma', null)),
};

async function flipByte(file: string, offset: number): Promise<void> {
  await chmod(file, 0o600);
  await using handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, offset);
  await handle.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset);
  await handle.sync();
}

const refusal = z.looseObject({
  error: z.looseObject({ code: z.string(), message: z.string(), details: z.looseObject({ object: z.string(), extent: z.number() }) }),
});
const verified = z.looseObject({ damaged: z.array(z.looseObject({ object: z.string(), extents: z.array(z.number()) })) });

/** The last line that is JSON. */
const lastJson = (text: string): unknown => JSON.parse(text.trim().split('\n').at(-1) ?? '');

export const damage: Step<DemoContext> = {
  name: 'damage',
  title: 'one byte of a store is flipped: refused, with the name of the extent',
  async run(context) {
    const { folder, programs, story, note } = context;
    const { store, extent, object, offset } = left(story.damage, 'the place of a value');
    const { snapshot } = left(story.fourth, 'a fourth capture');
    const file = path.join(folder.store(store), 'repositories', VOLUME, object);
    await flipByte(file, offset);
    const [variables, where] = [rescueVariables(context, store), rescueArguments(context, store)];
    note('verifying, and trying to restore');
    const target = path.join(folder.restored, 'refused.img');
    const [check, ran] = await Promise.all([
      programs.holdfast(['rescue', 'verify', VOLUME, '--snapshot', snapshot, '--all', ...where, '--json'], variables),
      programs.holdfast(['rescue', 'restore', VOLUME, target, '--snapshot', snapshot, ...where, '--json'], variables),
    ]);
    const found = verified.parse(lastJson(check.stdout));
    const expected = ERROR_KINDS.DAMAGED.exitCode;
    requireThat(check.status === expected, `verify ends with ${check.status} and not with ${expected}`);
    requireThat(
      found.damaged.length === 1 && found.damaged[0]?.object === object && found.damaged[0].extents.includes(extent),
      `verify names ${JSON.stringify(found.damaged)} and not extent ${extent} in ${object}`,
    );
    programs.remember(check, `exit status ${check.status}: extent ${extent} is damaged, in ${object}`);
    const { error } = refusal.parse(lastJson(ran.stderr));
    requireThat(ran.status === expected && error.code === 'DAMAGED', `restore ends with ${ran.status}, ${error.code}`);
    requireThat(error.details.extent === extent && error.details.object === object, `restore names extent ${error.details.extent}`);
    programs.remember(ran, `exit status ${ran.status}: ${error.message}`);
    await rm(target, { force: true });
    return {
      figures: { store, object, offset, extent, verifyStatus: check.status, restoreStatus: ran.status, code: error.code },
      lines: [
        `bit 0 of byte ${offset} of ${object} in ${store}`,
        `rescue verify: exit status ${check.status}, names extent ${extent} and nothing else`,
        `rescue restore: exit status ${ran.status}, ${error.code}: ${error.message}`,
      ],
    };
  },
};

export const restoreElsewhere: Step<DemoContext> = {
  name: 'elsewhere',
  title: 'the same snapshot from another store',
  run: (context) => restore(context, 'beta', left(context.story.fourth, 'a fourth capture'), 'elsewhere-beta', context.folder.volume),
};
