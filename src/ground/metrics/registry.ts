/**
 * The metrics of one process: a registry, made by whoever wires it and passed on as a value.
 *
 * Each subject defines its own metrics beside its code (`createStoreMetrics(registry)`), so that nothing is registered by
 * importing it and a test can have as many registries as it likes.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';

export interface RegistryOptions {
  /** What this process is: `controller`, `node`, `receiver`. A label of every metric. */
  readonly role: string;
  /** The process's own: memory, event loop, garbage collection. */
  readonly processMetrics?: boolean;
}

export function createMetricsRegistry({ role, processMetrics = false }: RegistryOptions): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  if (processMetrics) collectDefaultMetrics({ register: registry });
  return registry;
}
