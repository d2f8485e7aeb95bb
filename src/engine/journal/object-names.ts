/**
 * The names of a journal's objects; repository.json, keys/ and log/ are named as a repository's are.
 *
 *     e/<epoch, 20 digits>/<index, 12 digits>    a batch or a seal, created only if absent
 *     b/<epoch, 20 digits>/<index, 12 digits>    a batch that was copied later; apart, so that it never lengthens a chain
 */
/** Where a journal lies in each of its stores. */
export const journalPrefix = (name: string): string => `journals/${name}/`;

const digits = (n: number, width: number): string => String(n).padStart(width, '0');

export const batchName = (epoch: number, index: number): string => `e/${digits(epoch, 20)}/${digits(index, 12)}`;
export const copyName = (epoch: number, index: number): string => `b/${digits(epoch, 20)}/${digits(index, 12)}`;

const BATCH = /^([eb])\/([0-9]{20})\/([0-9]{12})$/;

export interface BatchName {
  readonly copy: boolean;
  readonly epoch: number;
  readonly index: number;
}

/** What a name says, or null when it is none of ours. */
export function parseBatchName(name: string): BatchName | null {
  const match = BATCH.exec(name);
  return match === null ? null : { copy: match[1] === 'b', epoch: Number(match[2]), index: Number(match[3]) };
}
