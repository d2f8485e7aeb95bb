/**
 * How a Temporal server is reached, as the Temporal CLI and SDKs read it from the environment (`@temporalio/envconfig`):
 * TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS, TEMPORAL_TLS_..., TEMPORAL_GRPC_META_....
 *
 * A profile in a file counts when the environment asks for it (TEMPORAL_PROFILE or TEMPORAL_CONFIG_FILE): one that lies in the
 * home of a person for other work must not send Holdfast's jobs there. The key and certificates are behind a function, so that
 * a configuration can be printed, logged or compared as it is and holds no secret.
 */
import { loadClientConfigProfile, toClientOptions, type ClientConfigProfile } from '@temporalio/envconfig';
import { HoldfastError } from '../../domain/errors.ts';

/** What both kinds of connections of the SDK take, beside the address. */
export type ConnectionSecurity = Pick<ReturnType<typeof toClientOptions>['connectionOptions'], 'tls' | 'apiKey' | 'metadata'>;

export interface TemporalAccess {
  readonly address: string;
  readonly namespace: string;
  /** TLS, key and headers of each connection; reads the files of certificates. CONFIG_INVALID when they are not there. */
  readonly security: () => ConnectionSecurity;
}

type Variables = Readonly<Record<string, string | undefined>>;

export interface NamedAccess {
  readonly address: string | undefined;
  readonly namespace: string | undefined;
  readonly security: () => ConnectionSecurity;
}

/** A server of our own on this machine: plain. */
export const noSecurity = (): ConnectionSecurity => ({});

const PREFIX = 'TEMPORAL_';

/** For what talks to a server of our own: settings that are meant for another one must not reach it. */
export const withoutTemporalVariables = <Value>(variables: Readonly<Record<string, Value>>): Record<string, Value> =>
  Object.fromEntries(Object.entries(variables).filter(([name]) => !name.startsWith(PREFIX)));

const invalid = (field: string, message: string, cause?: unknown): HoldfastError =>
  new HoldfastError('CONFIG_INVALID', message, { field }, cause);

function loadProfile(variables: Variables): ClientConfigProfile {
  // An empty variable counts as one that is not set, as the shell's `VAR= command` means it.
  const set = Object.fromEntries(Object.entries(variables).filter((entry): entry is [string, string] => (entry[1] ?? '') !== ''));
  const disableFile = set['TEMPORAL_PROFILE'] === undefined && set['TEMPORAL_CONFIG_FILE'] === undefined;
  try {
    return loadClientConfigProfile({ overrideEnvVars: set, disableFile });
  } catch (cause) {
    // Its message may quote the line of the file that does not parse, and the line may hold the key: it is not passed on.
    const file = set['TEMPORAL_CONFIG_FILE'] ?? 'temporal.toml';
    const profile = set['TEMPORAL_PROFILE'] ?? 'default';
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no TOML, or without that profile';
    throw invalid('TEMPORAL_CONFIG_FILE', `profile ${profile} of ${file} cannot be used: ${why}`);
  }
}

function securityOf(profile: ClientConfigProfile): ConnectionSecurity {
  const { clientCert, clientKey, disabled } = profile.tls ?? {};
  if (disabled !== true && (clientCert === undefined) !== (clientKey === undefined))
    throw invalid('TEMPORAL_TLS_CLIENT_KEY_PATH', 'a client certificate for Temporal takes both, the certificate and its key');
  try {
    const { tls, apiKey, metadata } = toClientOptions(profile).connectionOptions;
    return {
      ...(tls === undefined ? {} : { tls }),
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(metadata === undefined ? {} : { metadata }),
    };
  } catch (cause) {
    throw invalid('TEMPORAL_TLS', `a certificate for Temporal cannot be read: ${cause instanceof Error ? cause.message : 'unknown'}`);
  }
}

/** What the environment says of a Temporal server. */
export function readTemporalAccess(variables: Variables): NamedAccess {
  const profile = loadProfile(variables);
  return { address: profile.address, namespace: profile.namespace, security: () => securityOf(profile) };
}
