/**
 * The names of a table archive's own objects; repository.json, keys/ and log/ are named as a repository's are.
 *
 *     segment/<claim>/<try>-<index>     packs of segments
 *     snapshot/<claim>/<try>-<index>    packs of partition snapshots
 *
 * A name is used once, ever: the try is random. The claim says which epoch of its role wrote it, which is all that a sweep
 * has to know about an object that no entry names.
 */
export type FileKind = 'segment' | 'snapshot';

const pad = (n: number): string => String(n).padStart(20, '0');
const hex = (n: number): string => n.toString(16).padStart(8, '0');

export const filePackName = (kind: FileKind, claim: number, attempt: number, index: number): string =>
  `${kind}/${pad(claim)}/${hex(attempt)}-${hex(index)}`;

const PACK = /^(segment|snapshot)\/([0-9]{20})\/[0-9a-f]{8}-[0-9a-f]{8}$/;

/** The kind and claim of a pack's name, or null when it is none of ours. */
export function parseFilePack(name: string): { readonly kind: FileKind; readonly claim: number } | null {
  const match = PACK.exec(name);
  return match === null ? null : { kind: match[1] === 'segment' ? 'segment' : 'snapshot', claim: Number(match[2]) };
}
