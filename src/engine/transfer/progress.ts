/**
 * What a transfer tells while it goes on. Events are increments: adding them up, rates and time left are the caller's.
 */
export type Progress =
  /** Plain bytes of the volume that are dealt with: holes, found unchanged, or on their way. `ofBytes` is the subtree's. */
  | { readonly kind: 'settled'; readonly bytes: number; readonly ofBytes: number }
  /** Bytes read from the source or the target's old content. */
  | { readonly kind: 'read'; readonly bytes: number }
  /** Bytes got from a store. */
  | { readonly kind: 'got'; readonly store: string; readonly bytes: number }
  /** Bytes of a pack that a store has confirmed. */
  | { readonly kind: 'sent'; readonly store: string; readonly bytes: number }
  /** Bytes written to the target of a restore. */
  | { readonly kind: 'written'; readonly bytes: number };

export type OnProgress = (event: Progress) => void;
