/** What a served volume tells of itself: events as they come, and figures whenever they are asked for. */
import type { HydrationFigures } from './hydration/hydration-figures.ts';

export type VolumeEvent =
  /** A moment was frozen; a write may have waited so long for it. */
  | { readonly kind: 'frozen'; readonly volume: string; readonly snapshot: string; readonly pauseMs: number }
  /** A writer found the bound of a view's copies reached, and waited so long. */
  | { readonly kind: 'held'; readonly volume: string; readonly snapshot: string; readonly ms: number }
  /** A view that nobody read was given up for the writers that waited for it. */
  | { readonly kind: 'gaveUp'; readonly volume: string; readonly snapshot: string; readonly preservedBytes: number }
  /** Somebody asked for what was still in the store alone, and waited so long for it. */
  | { readonly kind: 'firstTouch'; readonly volume: string; readonly extent: number; readonly ms: number }
  /** The store of a volume that is being hydrated could not be opened. */
  | { readonly kind: 'originFailed'; readonly volume: string; readonly error: unknown }
  /** An extent could not be had from the store: its readers are told so. */
  | { readonly kind: 'fetchFailed'; readonly volume: string; readonly extent: number; readonly error: unknown };

export interface ViewFigures {
  readonly preservedBytes: number;
  /** Writers that found the bound reached. */
  readonly writersHeld: number;
}

export interface VolumeFigures {
  readonly views: readonly (ViewFigures & { readonly snapshot: string })[];
  /** Of all views so far. */
  readonly writersHeld: number;
  readonly heldMs: number;
  /** Null: it stands alone. */
  readonly hydration: HydrationFigures | null;
}

/** Counts what the events say, and passes them on. */
export class VolumeCounts {
  readonly #passOn: (event: VolumeEvent) => void;
  #writersHeld = 0;
  #heldMs = 0;

  constructor(passOn: (event: VolumeEvent) => void = () => undefined) {
    this.#passOn = passOn;
  }

  tell(event: VolumeEvent): void {
    if (event.kind === 'held') {
      this.#writersHeld++;
      this.#heldMs += event.ms;
    }
    this.#passOn(event);
  }

  figures(): Pick<VolumeFigures, 'writersHeld' | 'heldMs'> {
    return { writersHeld: this.#writersHeld, heldMs: this.#heldMs };
  }
}
