/**
 * The configuration as the command line and the workers that it starts see it: where nobody names a Temporal server, the one
 * that `holdfast up` started is meant. The order: environment, config.json, the standing stack, the usual port.
 * What the environment says of TLS and keys is for servers that somebody names, and never for our own.
 */
import { readConfiguration, type Configuration, type Variables } from '../../ground/configuration/configuration.ts';
import { noSecurity, withoutTemporalVariables } from '../../ground/configuration/temporal-access.ts';
import { readStackEnvironment, type StackEnvironment } from '../stack/environment.ts';

/** What the environment or config.json says of Temporal, as the stack's own environment shows it. */
export function stackEnvironmentOf(variables: Variables): StackEnvironment {
  const { temporal } = readConfiguration(variables, '');
  const environment = readStackEnvironment({
    ...variables,
    HOLDFAST_TEMPORAL_ADDRESS: temporal.address,
    HOLDFAST_TEMPORAL_NAMESPACE: temporal.namespace,
  });
  return { ...environment, temporal: { ...environment.temporal, security: temporal.security } };
}

/** The environment of a worker of this configuration. */
export const workerVariables = ({ temporal }: Configuration, variables: Variables): Variables => ({
  ...(temporal.security === noSecurity ? withoutTemporalVariables(variables) : variables),
  HOLDFAST_TEMPORAL_ADDRESS: temporal.address,
  HOLDFAST_TEMPORAL_NAMESPACE: temporal.namespace,
});

export async function readStandingConfiguration(variables: Variables): Promise<Configuration> {
  const named = readConfiguration(variables, '');
  if (named.temporal.address !== '') return named;
  const { readRecord } = await import('../stack/standing-record.ts');
  const record = await readRecord('temporal', stackEnvironmentOf(variables));
  if (record === null) return readConfiguration(variables);
  const namespace = record.namespace ?? named.temporal.namespace;
  return { ...named, temporal: { address: `127.0.0.1:${record.port}`, namespace, security: noSecurity } };
}
