/**
 * The recovery sheet of a store: one page that, together with the passphrase, brings everything back when nothing else is
 * left. It names the passphrase by reference and never holds it; printed, it may lie in a drawer.
 */
import { formatTime } from './quantities.ts';

export interface SheetFacts {
  readonly name: string;
  readonly url: string;
  readonly endpoint: string | null;
  readonly region: string | null;
  readonly credentials: { readonly accessKeyIdEnv: string; readonly secretAccessKeyEnv: string } | null;
  readonly passphrase: string;
}

function rescueFlags({ url, endpoint, region, credentials, passphrase }: SheetFacts): string {
  const flags = [
    `--store '${url}'`,
    `--passphrase '${passphrase.replaceAll("'", `'\\''`)}'`,
    endpoint === null ? null : `--endpoint '${endpoint}'`,
    region === null ? null : `--region ${region}`,
    credentials === null ? null : `--access-key-env ${credentials.accessKeyIdEnv} --secret-key-env ${credentials.secretAccessKeyEnv}`,
  ];
  return flags.filter((flag) => flag !== null).join(' ');
}

export function recoverySheet(store: SheetFacts, nowMs: number): string {
  const flags = rescueFlags(store);
  const { credentials } = store;
  const keys =
    credentials === null
      ? 'as the AWS SDK finds them (environment, profile, role); none for a folder'
      : `from the variables ${credentials.accessKeyIdEnv} and ${credentials.secretAccessKeyEnv}`;
  return `HOLDFAST RECOVERY SHEET                                     ${formatTime(nowMs)}

Store         ${store.name}
Address       ${store.url}${store.endpoint === null ? '' : `\nEndpoint      ${store.endpoint}`}${store.region === null ? '' : `\nRegion        ${store.region}`}
Credentials   ${keys}
Passphrase    ${store.passphrase}
              (a reference: the passphrase itself is NOT on this sheet. Without it nothing in this store can be
              read by anybody. Keep a copy of it away from this machine and away from this sheet.)

What is where, below the address
  repositories/<name>/repository.json   what it is; one repository a volume, unless volumes share a group
  repositories/<name>/keys/             the data key, wrapped by the passphrase
  repositories/<name>/log/              the records that decide what exists; never delete one
  repositories/<name>/a/                packs and changes, sealed
  repositories/<name>/checkpoint/       the log, summed up
  repositories/<name>/mirror/           the catalog: which stores and volumes there were

To restore with Holdfast on any machine (no server, no catalog, no node is needed)
  holdfast rescue list ${flags}
  holdfast rescue restore VOLUME TARGET ${flags}
  holdfast rescue catalog ${flags}

To restore without Holdfast
  docs/format.md describes every byte; test/stranger/restore.py does it in Python, with AES, zstd and BLAKE3 packages.
`;
}
