/**
 * The names of a repository's objects. A name is used once, ever; what a name says is all that a sweep needs to know.
 *
 *     repository.json                       identity and format, written first
 *     keys/<20 digits>                      key slots; the highest number is the one in force
 *     log/<20 digits>                       records; never deleted
 *     a/<claim>/<group>-<try>-p<index>      packs of a claim: the group is the subtree (ffffffff: none), the try is random
 *     a/<claim>/<group>-<try>-c<index>      change parts of a claim
 *     checkpoint/<99999999999999999999 - n> manifest of the fold of the first n records; the newest sorts first
 *     checkpoint-part/<n>/<try>-<index>     its rows
 *     mirror/<99999999999999999999 - n>     copy of the home catalog, sealed with this repository's key
 */

/** A pack in 16 bytes: claim u48 | group u32 | try u32 | index u16, big-endian. */
export const PACK_ID_BYTES = 16;

export interface ClaimObject {
  readonly claim: number;
  readonly group: number;
  /** 32 random bits: two tries of one piece of work never write one name. */
  readonly attempt: number;
  readonly index: number;
}

const pad = (n: number): string => String(n).padStart(20, '0');
const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0');
const CEILING = 99_999_999_999_999_999_999n;

export const REPOSITORY_OBJECT = 'repository.json';
export const keyName = (generation: number): string => `keys/${pad(generation)}`;
export const logName = (seq: number): string => `log/${pad(seq)}`;
const claimPrefix = (claim: number): string => `a/${pad(claim)}/`;
export const groupPrefix = (claim: number, group: number): string => `${claimPrefix(claim)}${hex(group, 8)}-`;
export const packName = (o: ClaimObject): string => `${groupPrefix(o.claim, o.group)}${hex(o.attempt, 8)}-p${hex(o.index, 4)}`;
export const changeName = (o: ClaimObject): string => `${groupPrefix(o.claim, o.group)}${hex(o.attempt, 8)}-c${hex(o.index, 4)}`;
export const checkpointName = (n: number): string => `checkpoint/${(CEILING - BigInt(n)).toString().padStart(20, '0')}`;
export const checkpointPartName = (n: number, attempt: number, index: number): string =>
  `checkpoint-part/${pad(n)}/${hex(attempt, 8)}-${hex(index, 4)}`;
export const mirrorName = (n: number): string => `mirror/${(CEILING - BigInt(n)).toString().padStart(20, '0')}`;

/** Of the catalog alone: how far its events are relayed. */
export const relayName = (k: number): string => `relay/${(CEILING - BigInt(k)).toString().padStart(20, '0')}`;

/** The n of a checkpoint, mirror or relay name. */
export const inverseNumber = (name: string): number => Number(CEILING - BigInt(name.slice(name.lastIndexOf('/') + 1)));

const CLAIM_OBJECT = /^a\/([0-9]{20})\/([0-9a-f]{8})-([0-9a-f]{8})-([pc])([0-9a-f]{4})$/;

/** What a name below `a/` says, or null when it is none of ours. */
export function parseClaimObject(name: string): (ClaimObject & { readonly kind: 'pack' | 'change' }) | null {
  const match = CLAIM_OBJECT.exec(name);
  if (!match) return null;
  const [, claim = '', group = '', attempt = '', kind, index = ''] = match;
  return {
    claim: Number(claim),
    group: parseInt(group, 16),
    attempt: parseInt(attempt, 16),
    index: parseInt(index, 16),
    kind: kind === 'p' ? 'pack' : 'change',
  };
}

export function encodePackId(o: ClaimObject): Buffer {
  const id = Buffer.alloc(PACK_ID_BYTES);
  id.writeUIntBE(o.claim, 0, 6);
  id.writeUInt32BE(o.group, 6);
  id.writeUInt32BE(o.attempt, 10);
  id.writeUInt16BE(o.index, 14);
  return id;
}

export const decodePackId = (id: Uint8Array): ClaimObject => {
  const view = Buffer.from(id.buffer, id.byteOffset, PACK_ID_BYTES);
  return { claim: view.readUIntBE(0, 6), group: view.readUInt32BE(6), attempt: view.readUInt32BE(10), index: view.readUInt16BE(14) };
};

export const packNameOf = (id: Uint8Array): string => packName(decodePackId(id));
