/**
 * Whether a bucket's own rules would take away what Holdfast keeps.
 *
 * A lifecycle rule that expires objects deletes behind the back of the log. Everything below the store's prefix is
 * needed until Holdfast deletes it, so a rule that reaches any of it is refused; not only one that reaches `log/`. Rules
 * for tagged objects reach nothing, because Holdfast tags nothing. Rules that move objects to colder storage are a warning:
 * log and index are read all the time, and reading them from an archive fails or costs.
 */
import type { LifecycleRule as BucketRule } from '@aws-sdk/client-s3';

export interface LifecycleRule {
  readonly id: string;
  readonly enabled: boolean;
  readonly prefix: string;
  readonly tagged: boolean;
  readonly expires: boolean;
  readonly moves: boolean;
}

export interface LifecycleFinding {
  readonly refused: readonly string[];
  readonly warnings: readonly string[];
}

export function judgeLifecycle(rules: readonly LifecycleRule[], storePrefix: string): LifecycleFinding {
  const reaching = rules.filter(
    (rule) => rule.enabled && !rule.tagged && (rule.prefix.startsWith(storePrefix) || storePrefix.startsWith(rule.prefix)),
  );
  const name = (rule: LifecycleRule): string => `${rule.id} (prefix ${JSON.stringify(rule.prefix)})`;
  return {
    refused: reaching.filter((rule) => rule.expires).map(name),
    warnings: reaching.filter((rule) => rule.moves && !rule.expires).map(name),
  };
}

/** The rules as S3 writes them, read down to what matters here. */
export const lifecycleRulesOf = (rules: readonly BucketRule[]): readonly LifecycleRule[] =>
  rules.map(({ ID, Status, Prefix, Filter, Expiration, Transitions }) => ({
    id: ID ?? '(no id)',
    enabled: Status === 'Enabled',
    prefix: Filter?.Prefix ?? Filter?.And?.Prefix ?? Prefix ?? '',
    tagged: Filter?.Tag !== undefined || (Filter?.And?.Tags?.length ?? 0) > 0,
    expires: Expiration?.Days !== undefined || Expiration?.Date !== undefined,
    moves: (Transitions?.length ?? 0) > 0,
  }));
