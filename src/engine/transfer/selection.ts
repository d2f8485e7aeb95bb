/**
 * Which extents of a subtree have to be looked at for one destination.
 *
 * Without a hint: all of them. With a hint ("these ranges changed since your base"): those, everything from where the
 * smaller of the two sizes ends (what grew or was cut off), and a seeded sample of the rest that must turn out to be as
 * the base says; one that is not proves the hint wrong. The sample is one extent of each of n equal strata of the volume,
 * so its size is exact and does not depend on how the job is cut.
 *
 * A hint is relative to one base snapshot. A destination with another base gets 'all'.
 */
import { HINT_SAMPLE_MAX, HINT_SAMPLE_SHARE, MAP_FANOUT } from '../../domain/limits.ts';
import type { DataRange } from '../../ground/libc/libc.ts';

export type Selection =
  | { readonly kind: 'all' }
  | {
      readonly kind: 'changed';
      /** Byte ranges that may differ from the base. */
      readonly ranges: readonly DataRange[];
      readonly baseSizeBytes: number;
      /** Any 32-bit number; the same for all subtrees of a job. */
      readonly seed: number;
    };

/** What an extent is looked at for. */
export const ROLE_NONE = 0;
export const ROLE_COMPARE = 1;
export const ROLE_SAMPLE = 2;

/** A 32-bit finaliser (murmur3): enough to spread a sample. */
export function mix(n: number): number {
  let h = n | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export interface Span {
  readonly firstExtent: number;
  readonly extentCount: number;
}

interface Volume {
  readonly sizeBytes: number;
  readonly extentBytes: number;
}

function markSample(roles: Uint8Array, span: Span, volume: Volume, seed: number): void {
  const total = Math.ceil(volume.sizeBytes / volume.extentBytes);
  const strata = Math.min(HINT_SAMPLE_MAX, Math.ceil(total * HINT_SAMPLE_SHARE));
  const until = Math.min(total, span.firstExtent + span.extentCount);
  for (let s = Math.floor((span.firstExtent * strata) / total); s < strata; s++) {
    const from = Math.ceil((s * total) / strata);
    const to = Math.ceil(((s + 1) * total) / strata);
    if (from >= until) return;
    const extent = from + (mix(seed ^ mix(s)) % (to - from));
    const at = extent - span.firstExtent;
    if (at >= 0 && extent < until && roles[at] === ROLE_NONE) roles[at] = ROLE_SAMPLE;
  }
}

/** A role for each extent of the span. */
export function rolesOf(selection: Selection, span: Span, volume: Volume): Uint8Array {
  const roles = new Uint8Array(span.extentCount);
  if (selection.kind === 'all') return roles.fill(ROLE_COMPARE);
  const mark = (fromByte: number, toByte: number): void => {
    const from = Math.max(0, Math.floor(fromByte / volume.extentBytes) - span.firstExtent);
    const to = Math.min(roles.length, Math.ceil(toByte / volume.extentBytes) - span.firstExtent);
    if (from < to) roles.fill(ROLE_COMPARE, from, to);
  };
  for (const range of selection.ranges) if (range.length > 0) mark(range.offset, range.offset + range.length);
  const common = Math.min(selection.baseSizeBytes, volume.sizeBytes);
  const larger = Math.max(selection.baseSizeBytes, volume.sizeBytes);
  if (common < larger) mark(common, larger);
  markSample(roles, span, volume, selection.seed);
  return roles;
}

/** The part of `roles` that belongs to one leaf of the span, or null when nothing in it is looked at. */
export function leafRoles(roles: Uint8Array, leafOfSpan: number): Uint8Array | null {
  const part = roles.subarray(leafOfSpan * MAP_FANOUT, (leafOfSpan + 1) * MAP_FANOUT);
  return part.some((role) => role !== ROLE_NONE) ? part : null;
}
