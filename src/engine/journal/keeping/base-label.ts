/**
 * The label of a snapshot that was made to be a base: of which epoch it is and from which number (docs/journal.md, section 7).
 *
 * It is what collection goes by when no record names the snapshot (`mayDeleteSnapshot`), so it is written with the snapshot
 * itself. What has no such label is none of the journal's, and is left alone.
 */
const LABEL = /^journal base, epoch ([1-9][0-9]{0,15}), from ([0-9]{1,16})$/;

export const baseLabel = ({ epoch, from }: { readonly epoch: number; readonly from: number }): string =>
  `journal base, epoch ${epoch}, from ${from}`;

export function parseBaseLabel(label: string | null): { readonly epoch: number; readonly from: number } | null {
  const match = LABEL.exec(label ?? '');
  return match === null ? null : { epoch: Number(match[1]), from: Number(match[2]) };
}
