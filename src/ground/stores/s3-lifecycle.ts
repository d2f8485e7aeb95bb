/**
 * Whether a bucket's own rules would take away what Holdfast keeps.
 *
 * A lifecycle rule that expires objects deletes behind the back of the log. Everything below the store's prefix is
 * needed until Holdfast deletes it, so a rule that reaches any of it is refused; not only one that reaches `log/`. Rules
 * for tagged objects reach nothing, because Holdfast tags nothing. Rules that move objects to colder storage are a warning:
 * log and index are read all the time, and reading them from an archive fails or costs.
 */
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
