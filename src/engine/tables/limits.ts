/**
 * Bounds of table archives, with their arithmetic. docs/tables.md quotes them.
 */
import { KIB, MIB } from '../../domain/limits.ts';

/** Key and value of a record together. Kafka's own default is 1 MiB; what is larger is quarantined, its first bytes kept. */
export const RECORD_BYTES_MAX = 8 * MIB;
/** Bytes of a quarantined value that are kept. */
export const QUARANTINE_BYTES_KEPT = 64 * KIB;
/** Columns of a row, and of a segment: each is a buffer in every row group. */
export const COLUMNS_MAX = 1000;
/** Columns that an archive ever numbers; plain JSON could name new ones for ever. The names are in the state, 30 bytes each. */
export const TABLE_COLUMNS_MAX = 10_000;
/** How far a stamp may lie past the broker's time of its record: clocks are minutes apart at the worst, and a stamp holds back the cut for ever. */
export const STAMP_AHEAD_US_MAX = 24 * 3600 * 1_000_000;
/** Schemas that a decoder remembers; one more than a table has versions of within a batch. */
export const SCHEMAS_CACHED = 64;

/** Records of one batch: 2 s of 30,000 a second, and a few MB of log state at 20 partitions. */
export const BATCH_RECORDS_MAX = 65_536;
/** Bytes of keys and values of one batch; they are in memory twice while it is encoded. */
export const BATCH_BYTES_MAX = 64 * MIB;
/** Truncates, gaps and quarantined offsets that one part names; a batch ends early before it would name more. About 60 bytes each. */
export const PART_NOTES_MAX = 256;
/** Plain bytes of one blob of a file: what a blob may hold (EXTENT_BYTES_MAX). */
export const FILE_BLOB_BYTES = 4 * MIB;
/** Blobs of one pack: 3 of 4 MiB with their overhead stay below PACK_BYTES_MAX. */
export const FILE_PACK_BLOBS = 3;

/** Memory that DuckDB may take for encoding segments, and for a fold before it spills to its temporary folder. */
export const DUCKDB_ENCODE_BYTES = 256 * MIB;
export const DUCKDB_FOLD_BYTES = 2048 * MIB;
/** Rows of a DuckDB data chunk. More is not refused but corrupts memory (duckdb-node-neo #205). */
export const CHUNK_ROWS = 2048;
/** Files fetched at once for a fold: 16 MiB packs, so 64 MiB. */
export const FILES_IN_FLIGHT = 4;
