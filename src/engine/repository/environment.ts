/** What a repository needs of the world besides its store: all of it injected, so that a simulation can be the world. */
export interface Environment {
  /** Who writes: host and process, shown in the log. */
  readonly writer: string;
  nowMs(): number;
  random(size: number): Buffer;
  sleep(ms: number): Promise<void>;
  /** Something an operator should know and that no caller can act on. */
  alarm(message: string, details: Readonly<Record<string, string | number>>): void;
}
