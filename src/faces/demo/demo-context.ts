/**
 * What the steps share: the folder, the programs, the installation, and what each has left for those after it.
 */
import { z } from 'zod';
import { EXTENT_BYTES_DEFAULT } from '../../domain/limits.ts';
import type { CaptureResult } from '../../domain/jobs.ts';
import type { SnapshotId } from '../../domain/ids.ts';
import type { DemoFolder, DemoStore } from './demo-folder.ts';
import type { Tree } from './disk-image.ts';
import type { DemoOptions } from './demo-options.ts';
import { VOLUME, type Installation } from './installation.ts';
import type { Overwritable } from './overwritable.ts';
import type { Programs } from './programs.ts';
import { left } from './step.ts';
import type { Place } from './store-evidence.ts';

export interface DemoContext {
  readonly options: DemoOptions;
  readonly folder: DemoFolder;
  readonly programs: Programs;
  readonly installation: Installation;
  /** Shown while the step runs. */
  note(text: string): void;
  /** Aborted when the demo ends before its time. */
  readonly signal: AbortSignal;
  readonly story: Story;
}

/** Filled in as the steps run. */
export interface Story {
  /** Size and time of the file of one's own when the demo began. */
  original?: string;
  tree?: Tree;
  image?: ImageFacts;
  changed?: readonly Overwritable[];
  first?: Captured;
  second?: Captured;
  third?: Captured;
  fourth?: Captured;
  damage?: Place & { readonly store: DemoStore };
}

export interface ImageFacts {
  readonly sizeBytes: number;
  readonly dataBytes: number;
  readonly dataExtents: number;
  readonly overwritable: readonly Overwritable[];
  /** Whether e2fsck has something to say of it: there is such a file system, sound from the beginning. */
  readonly checked: boolean;
}

export interface Captured {
  readonly result: CaptureResult;
  readonly snapshot: SnapshotId;
  /** BLAKE3 of the volume as it was then, where a later step compares with it. */
  readonly digest: string | null;
}

export const EXTENT_BYTES = EXTENT_BYTES_DEFAULT;

/** What `holdfast snapshot create --json` and `job wait --json` print; the result is the job's own. */
export const captureReport = z.looseObject({
  state: z.literal('done'),
  result: z.custom<CaptureResult>((value) => typeof value === 'object'),
});

export const listing = z.array(
  z.looseObject({
    id: z.string(),
    store: z.string(),
    state: z.string(),
    obstacle: z.string().nullable().optional(),
    holdsBytes: z.number().nullable().optional(),
  }),
);

export const listSnapshots = ({ programs, installation }: DemoContext, all: boolean): Promise<z.output<typeof listing>> =>
  programs.holdfastJson(listing, ['snapshot', 'list', VOLUME, ...(all ? ['--all'] : [])], installation.variables);

export async function capture(context: DemoContext, label: string): Promise<CaptureResult> {
  const { programs, installation } = context;
  const args = ['snapshot', 'create', VOLUME, '--label', label];
  const { result } = await programs.holdfastJson(captureReport, args, installation.variables);
  return result;
}

export const imageOf = ({ story }: DemoContext): ImageFacts => left(story.image, 'the image');
