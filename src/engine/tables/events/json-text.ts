/**
 * JSON as text: the members of an object as the slices they were written as, and a canonical form that keeps every digit.
 *
 * JSON.parse turns 9007199254740993 into ...992 and 1.10 into 1.1; a row must come back as its source wrote it. So values
 * stay text: white space outside strings is dropped, strings are escaped as JSON.stringify does, numbers are left alone.
 * Who calls `canonicalText` has validated the text (JSON.parse did not throw). `membersOf` is strict about the level
 * that it reads and passes over the values; each value it returns still has to be validated.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** The index after the string that opens at `from`, or -1 when it never closes. */
function endOfString(text: string, from: number): number {
  for (let at = from; ;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) return -1;
    let first = at;
    while (text.charCodeAt(first - 1) === BACKSLASH && first - 1 > from) first--;
    if ((at - first) % 2 === 0) return at + 1;
  }
}

/** The index after the value that begins at `from`, or -1. */
function endOfValue(text: string, from: number): number {
  const first = text[from];
  if (first === '"') return endOfString(text, from);
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at) - 1;
        if (at < 0) return -1;
        break;
      case '{':
      case '[':
        depth++;
        break;
      case '}':
      case ']':
        if (depth === 0) return at;
        if (--depth === 0) return at + 1;
        break;
      case ',':
        if (depth === 0) return at;
        break;
      default:
        if (depth === 0 && isSpace(text.charCodeAt(at))) return at;
    }
  }
  return depth === 0 ? text.length : -1;
}

/** The members of the object that the text is, name -> value as written; null when it is not an object on this level. */
export function membersOf(text: string): Map<string, string> | null {
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return null;
  const members = new Map<string, string>();
  at = skipSpace(text, at + 1);
  if (text[at] === '}') return skipSpace(text, at + 1) === text.length ? members : null;
  for (;;) {
    if (text.charCodeAt(at) !== QUOTE) return null;
    const nameEnd = endOfString(text, at);
    if (nameEnd < 0) return null;
    const name = unquoted(text.slice(at, nameEnd));
    at = skipSpace(text, nameEnd);
    if (name === null || text[at] !== ':') return null;
    at = skipSpace(text, at + 1);
    const end = endOfValue(text, at);
    if (end <= at) return null;
    members.set(name, text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === '}') return skipSpace(text, at + 1) === text.length ? members : null;
    if (text[at] !== ',') return null;
    at = skipSpace(text, at + 1);
  }
}

/** What a JSON string says; null when the text is not one. */
export function unquoted(text: string): string | null {
  if (text.charCodeAt(0) !== QUOTE) return null;
  const value = parsed(text);
  return typeof value === 'string' ? value : null;
}

/** The value of a JSON text, or undefined when it is not JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not JSON: an answer, which the caller gives a reason.
    return undefined;
  }
}

const canonicalString = (text: string): string => (text.includes('\\') ? JSON.stringify(JSON.parse(text)) : text);

/** The canonical form of a valid JSON text. */
export function canonicalText(text: string): string {
  const first = text.charCodeAt(0);
  if (first === QUOTE) return canonicalString(text);
  if (text[0] !== '{' && text[0] !== '[') return text;
  const pieces: string[] = [];
  let kept = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(text, at);
      pieces.push(text.slice(kept, at), canonicalString(text.slice(at, end)));
      kept = end;
      at = end - 1;
    } else if (isSpace(code)) {
      pieces.push(text.slice(kept, at));
      kept = at + 1;
    }
  }
  pieces.push(text.slice(kept));
  return pieces.join('');
}

/** The canonical form of a key: an object's members ascend by name, so that two ways of writing a key are one key. */
export function canonicalKey(text: string): string {
  const members = membersOf(text);
  if (members === null) return canonicalText(text);
  const names = [...members.keys()].sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalText(members.get(name) ?? 'null')}`).join(',')}}`;
}
