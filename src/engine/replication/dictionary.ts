/**
 * The dictionary of one subtree at the receiver: what is named there and not held, and what of it was asked for.
 *
 *     absent ──data──▶ accepted ──pack confirmed──▶ (held: not in the dictionary)
 *        ◀── pack refused ──┘            ◀── a proof finds it lost ──┘
 *
 * A name is listed in one round and not again, so that what is on its way is not sent twice; the same round lists the same
 * names, so that a response may be lost. The mark is a hint, never a fact: an inquiry with nothing under way heeds none.
 *
 * The functions change the dictionary that they are given, as a fold does its accumulator: it may hold 65,536 names.
 */
import type { Inquiry, Missing, Name, Reference } from './messages.ts';

export interface Waiting {
  /** The first position that waits for it. */
  at: number;
  /** The round that listed it; null: not asked for. */
  asked: number | null;
  /** Its data has come and its pack is not confirmed yet. */
  accepted: boolean;
}

export interface Dictionary {
  /** Pages that were noted. */
  readonly pages: Set<number>;
  readonly waiting: Map<Name, Waiting>;
  /** The newest round that was answered; 0: none. */
  round: number;
  /** Nothing was outstanding and the proof found nothing lost. */
  closed: boolean;
}

export const emptyDictionary = (): Dictionary => ({ pages: new Set(), waiting: new Map(), round: 0, closed: false });

export const cloneDictionary = ({ pages, waiting, ...rest }: Dictionary): Dictionary => ({
  ...rest,
  pages: new Set(pages),
  waiting: new Map([...waiting].map(([name, entry]) => [name, { ...entry }])),
});

/** Makes a name wait. `accepted`: its data came for another subtree. */
export function want(dictionary: Dictionary, { at, name }: Reference, accepted: boolean): void {
  const there = dictionary.waiting.get(name);
  if (there !== undefined) there.at = Math.min(there.at, at);
  else dictionary.waiting.set(name, { at, asked: null, accepted });
  dictionary.closed = false;
}

/** Its pack was refused, or its packs were lost with a crash: it is as if it had never come. */
export function giveUp(entry: Waiting): void {
  entry.accepted = false;
  entry.asked = null;
}

/** A new sender, or a receiver that was started again: rounds begin anew, and nobody is held to what was asked. */
export function beginAnew(dictionary: Dictionary): void {
  dictionary.round = 0;
  dictionary.closed = false;
  for (const entry of dictionary.waiting.values()) giveUp(entry);
}

const lackingPages = (dictionary: Dictionary, inquiry: Inquiry): number[] =>
  inquiry.pages.filter((page) => !dictionary.pages.has(page)).sort((a, b) => a - b);

/** Whether all that was named is here, so that a proof may close the subtree. Values accepted have to be confirmed first. */
export const isComplete = (dictionary: Dictionary, inquiry: Inquiry): boolean =>
  lackingPages(dictionary, inquiry).length === 0 && [...dictionary.waiting.values()].every(({ accepted }) => accepted);

/** What a proof of a subtree found: names that are not held any more, pages that are needed again. */
export interface Proof {
  readonly lost: readonly Reference[];
  readonly pages: readonly number[];
  /** Something that was lost when it was looked for has come meanwhile, for another subtree: another proof will find it. */
  readonly overtaken?: boolean;
}

/** Takes note of what a proof found, and closes the subtree if that was nothing. */
export function takeProof(dictionary: Dictionary, inquiry: Inquiry, proof: Proof): void {
  for (const page of proof.pages) dictionary.pages.delete(page);
  for (const reference of proof.lost) want(dictionary, reference, false);
  const isWhole = proof.pages.length === 0 && proof.overtaken !== true;
  dictionary.closed = isWhole && dictionary.waiting.size === 0 && lackingPages(dictionary, inquiry).length === 0;
}

/** The list of a round: names not asked for yet, or, when the round is repeated, those that it listed and that have not come. */
export function listMissing(dictionary: Dictionary, inquiry: Inquiry, proof: Proof | null, namesMax: number): Missing {
  const { subtree, round } = inquiry;
  const isNew = round > dictionary.round;
  dictionary.round = round;
  const absent = [...dictionary.waiting].filter(([, entry]) => !entry.accepted).sort(([, a], [, b]) => a.at - b.at);
  if (isNew && !inquiry.underWay) for (const [, entry] of absent) entry.asked = null;
  const listed = absent.filter(([, { asked }]) => asked === (isNew ? null : round)).slice(0, namesMax);
  for (const [, entry] of listed) entry.asked = round;
  const pages = [...new Set([...lackingPages(dictionary, inquiry), ...(proof?.pages ?? [])])].sort((a, b) => a - b);
  const open = dictionary.waiting.size + pages.length;
  return {
    kind: 'MISSING',
    subtree,
    round,
    // A subtree that is complete and not proven yet is outstanding as such.
    outstanding: dictionary.closed ? 0 : Math.max(1, open),
    pages,
    names: listed.map(([name, { at }]) => ({ at, name })),
  };
}
