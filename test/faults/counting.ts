/** Counts of a campaign: a number for each key of a table of what is counted. */
export type CountsOf<Table> = Record<keyof Table, number>;

export const noCountsOf = <Table extends object>(table: Table): CountsOf<Table> =>
  // Every key of the table gets its zero.
  Object.fromEntries(Object.keys(table).map((name) => [name, 0])) as CountsOf<Table>;

export function addCounts<Table extends string>(sum: Record<Table, number>, more: Readonly<Record<Table, number>>): void {
  for (const name of Object.keys(more) as Table[]) sum[name] += more[name];
}
