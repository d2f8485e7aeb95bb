/** Where an export is, as a URI (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md). */

export type NbdAddress = { readonly path: string } | { readonly host: string; readonly port: number };

export interface NbdUri {
  readonly at: NbdAddress;
  /** Empty: the default export. */
  readonly export: string;
  readonly secure: boolean;
}

/** As IANA has it. */
const PORT = 10_809;

/** The URI of an export at an address; without a name that of the default one. */
export function nbdUri(at: NbdAddress, secure: boolean, name = ''): string {
  const scheme = secure ? 'nbds' : 'nbd';
  if ('path' in at) return `${scheme}+unix:///${encodeURIComponent(name)}?socket=${encodeURI(at.path)}`;
  return `${scheme}://${at.host.includes(':') ? `[${at.host}]` : at.host}:${at.port}/${encodeURIComponent(name)}`;
}

/** `nbd://host:port/name`, `nbd+unix:///name?socket=/path`; with TLS `nbds://`, `nbds+unix://`. Null: no such thing. */
export function parseNbdUri(text: string): NbdUri | null {
  const form = /^(nbds?)(\+unix)?:\/\//.exec(text);
  const url = form === null ? null : URL.parse(text.replace(/^[^:]+/, 'http'));
  // A URI without a host is no http URL.
  const local = form?.[2] === undefined ? null : URL.parse(text.replace(/^[^:]+:\/\/[^/]*/, 'http://localhost'));
  const parsed = local ?? url;
  if (form === null || parsed === null) return null;
  const name = decodeURIComponent(parsed.pathname.replace(/^\//, ''));
  const secure = form[1] === 'nbds';
  if (local === null) return { at: { host: parsed.hostname, port: parsed.port === '' ? PORT : Number(parsed.port) }, export: name, secure };
  const socket = parsed.searchParams.get('socket');
  return socket === null ? null : { at: { path: socket }, export: name, secure };
}
