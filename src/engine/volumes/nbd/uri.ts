/** Where an export is, as a URI (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md). */

export type NbdAddress = { readonly path: string } | { readonly host: string; readonly port: number };

export interface NbdUri {
  readonly at: NbdAddress;
  /** Empty: the default export. */
  readonly export: string;
  /** Null: in the clear. */
  readonly tls: TlsOfUri | null;
}

export interface TlsOfUri {
  /** Whom the server's certificate names. */
  readonly host: string;
  /** `tls-certificates`: a folder of ca-cert.pem, client-cert.pem and client-key.pem, as libnbd has it. Null: not said. */
  readonly certificates: string | null;
}

/** As IANA has it. */
const PORT = 10_809;

/** The URI of an export at an address; without a name that of the default one. */
export function nbdUri(at: NbdAddress, secure: boolean, name = ''): string {
  const scheme = secure ? 'nbds' : 'nbd';
  if ('path' in at) return `${scheme}+unix:///${encodeURIComponent(name)}?socket=${encodeURI(at.path)}`;
  return `${scheme}://${at.host.includes(':') ? `[${at.host}]` : at.host}:${at.port}/${encodeURIComponent(name)}`;
}

/**
 * `nbd://host:port/name`, `nbd+unix:///name?socket=/path`; with TLS `nbds://`, `nbds+unix://`, and libnbd's parameters
 * `tls-certificates` and `tls-hostname`. Null: no such thing.
 */
export function parseNbdUri(text: string): NbdUri | null {
  const form = /^(nbds?)(\+unix)?:\/\/([^/]*)/.exec(text);
  if (form === null) return null;
  const [, scheme, local, authority] = form;
  // A URI without a host is no http URL.
  const parsed = URL.parse(text.replace(/^[^:]+:\/\/[^/]*/, `http://${authority === '' && local !== undefined ? 'localhost' : authority}`));
  if (parsed === null) return null;
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  const parameter = (key: string): string | null => parsed.searchParams.get(key);
  const socket = parameter('socket');
  if (local !== undefined && socket === null) return null;
  return {
    at: local !== undefined && socket !== null ? { path: socket } : { host, port: parsed.port === '' ? PORT : Number(parsed.port) },
    export: decodeURIComponent(parsed.pathname.replace(/^\//, '')),
    tls: scheme === 'nbds' ? { host: parameter('tls-hostname') ?? host, certificates: parameter('tls-certificates') } : null,
  };
}
