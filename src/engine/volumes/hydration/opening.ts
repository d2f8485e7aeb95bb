/**
 * Whether a volume is to be hydrated when it is opened: what its owner says, held against its state file and its file.
 *
 * The owner says so until some time after the end, and a crash may come between. So what is begun is never begun again over
 * what clients have written, and a volume that lacks something is never served as if it lacked nothing.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { LiveFile } from '../live-file.ts';
import type { ExtentSet } from '../tracking/extent-set.ts';
import { StateFile, type Hydrated, type StatePlace } from './state-file.ts';

export type HydrationPlan =
  /** It has all that it needs. */
  | { readonly kind: 'alone' }
  | { readonly kind: 'begin'; readonly hydrated: Hydrated }
  | { readonly kind: 'go on'; readonly state: StateFile; readonly local: ExtentSet };

export interface PlanInput {
  readonly volume: Pick<Hydrated, 'volume' | 'sizeBytes' | 'extentBytes'>;
  /** What its file is known by. */
  readonly identity: string;
  readonly file: Pick<LiveFile, 'readsZero'>;
  readonly place: StatePlace;
  /** What its owner says it is hydrated from, by its name. */
  readonly origin: string | null;
}

export async function planHydration(input: PlanInput): Promise<HydrationPlan> {
  const { volume, identity, file, place, origin } = input;
  await using opening = new AsyncDisposableStack();
  const found = await StateFile.open(place);
  if (found !== null) opening.use(found.state);
  if (origin === null) {
    if (found !== null && !found.state.isDone) throw lacks(volume.volume, found.state.hydrated.snapshot);
    await opening.disposeAsync();
    await place.remove();
    return { kind: 'alone' };
  }
  const hydrated: Hydrated = { ...volume, snapshot: origin, file: identity };
  if (found !== null && isSame(found.state.hydrated, hydrated)) {
    if (found.state.isDone) return { kind: 'alone' };
    opening.move();
    return { kind: 'go on', ...found };
  }
  // What is there is another hydration's, or nobody's: an empty file may be begun with, any other is somebody's data.
  if (found?.state.hydrated.file === identity || !file.readsZero(0, volume.sizeBytes)) throw notEmpty(volume.volume, origin);
  return { kind: 'begin', hydrated };
}

const isSame = (a: Hydrated, b: Hydrated): boolean =>
  a.volume === b.volume && a.sizeBytes === b.sizeBytes && a.extentBytes === b.extentBytes && a.snapshot === b.snapshot && a.file === b.file;

const lacks = (volume: string, origin: string): HoldfastError =>
  new HoldfastError('ARGUMENT_INVALID', `${volume} does not hold all of ${origin} yet`, { field: 'origin', expected: origin });

const notEmpty = (volume: string, origin: string): HoldfastError =>
  new HoldfastError('TARGET_EXISTS', `the file of ${volume} is no empty one, nor one that ${origin} was being restored to`, {
    volume,
    origin,
  });
