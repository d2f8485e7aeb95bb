/** Where an archiver is killed: named, and sprung by what it asks of its store; of segments by the second one, so that something was archived before. */
export const ARCHIVE_POINTS = [
  'before a segment',
  'after a segment',
  'before a record',
  'after a record',
  'before a snapshot',
  'after a snapshot',
] as const;
export type ArchivePoint = (typeof ARCHIVE_POINTS)[number];
export const isPoint = (text: string): text is ArchivePoint => (ARCHIVE_POINTS as readonly string[]).includes(text);
