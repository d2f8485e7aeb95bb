/** The volume as a disk that steps write to: attached, connected to, written where it does no harm, judged. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { connectNbd, type NbdClient } from '../../engine/volumes/nbd/client.ts';
import { parseNbdUri } from '../../engine/volumes/nbd/uri.ts';
import { BLOCK_BYTES } from './counting-writer.ts';
import { imageOf, type DemoContext } from './demo-context.ts';
import { VOLUME } from './installation.ts';
import { choose } from './overwrite.ts';
import { requireThat } from './step.ts';

/** Places that a writer writes to, each in an extent of its own. */
const PLACES_MAX = 200;

const attached = z.looseObject({ result: z.looseObject({ uris: z.tuple([z.string()], z.string()) }) });

/** Starts the disk server; answers the disk's address. */
export async function attachVolume({ programs, installation }: DemoContext): Promise<string> {
  await installation.startWorker('disks');
  const { result } = await programs.holdfastJson(attached, ['volume', 'attach', VOLUME], installation.variables);
  return result.uris[0];
}

const served = z.array(z.looseObject({ record: z.looseObject({ name: z.string() }) }));
const SERVED_WITHIN_MS = 30_000;

/** Resolves when a disk server that was started anew serves the disks that it had. */
export async function awaitServed({ programs, installation }: DemoContext): Promise<void> {
  for (const fromMs = Date.now(); ; await sleep(200)) {
    if ((await programs.holdfastJson(served, ['volume', 'disks'], installation.variables)).length > 0) return;
    requireThat(Date.now() - fromMs < SERVED_WITHIN_MS, 'the disk server does not serve its disk again');
  }
}

export async function detachVolume({ programs, installation }: DemoContext): Promise<void> {
  await programs.holdfastJson(z.unknown(), ['volume', 'detach', VOLUME], installation.variables);
  await installation.stopWorker('disks');
}

export function connect(uri: string | undefined): Promise<NbdClient> {
  const parsed = parseNbdUri(uri ?? '');
  requireThat(parsed !== null, `${uri ?? 'nothing'} is no address of a disk`);
  return connectNbd({ at: parsed.at, export: parsed.export, tls: null }, { contexts: [] });
}

/** A block in each of some extents that may be overwritten without harm to the file system. */
export const choosePlaces = (context: DemoContext): readonly number[] =>
  choose(imageOf(context).overwritable, PLACES_MAX, context.options.seed + 2).flatMap(({ ranges }) => {
    const fits = ranges.find(({ length }) => length >= BLOCK_BYTES);
    return fits === undefined ? [] : [fits.offset];
  });

export async function requireSound({ programs, note }: DemoContext, file: string): Promise<void> {
  note('e2fsck -fn');
  const ran = await programs.run('e2fsck', ['-fn', file]);
  requireThat(ran.status === 0, `e2fsck -fn ends with ${ran.status}: ${ran.stdout.slice(-300)}`);
  programs.remember(ran, `exit status ${ran.status}: clean`);
}
