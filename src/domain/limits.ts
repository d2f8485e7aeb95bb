/**
 * Every bound of the product, with its arithmetic. docs/limits.md quotes this file.
 */
export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Default size of an extent. 256 KiB: 4 Mi extents a TiB, a 56-byte table row each, 0.02 % of the data. */
export const EXTENT_BYTES_DEFAULT = 256 * KIB;
/** The least: above the largest map node (8,232 bytes), so that an extent and a node can never have the same bytes. */
export const EXTENT_BYTES_MIN = 16 * KIB;
/** The most: three to a pack at the least, with its header and directory. */
export const EXTENT_BYTES_MAX = 4 * MIB;

/** Children of a map node. */
export const MAP_FANOUT = 256;
/** Levels above the extents: leaves are level 1, the root level 4. 256^4 extents of 256 KiB are 1 PiB. */
export const MAP_HEIGHT = 4;
export const VOLUME_EXTENTS_MAX = MAP_FANOUT ** MAP_HEIGHT;
/** Work is cut into subtrees of level 2: 65,536 extents, 16 GiB at the default size; 64 of them a TiB. */
export const SUBTREE_LEVEL = 2;
export const SUBTREE_EXTENTS = MAP_FANOUT ** SUBTREE_LEVEL;
/** The group number of what belongs to no subtree: levels 3 and 4, collections. Subtrees number at most 65,536. */
export const GROUP_TOP = 0xffff_ffff;

/** A pack is closed before it would pass this. 64 packs of a 1 GiB change; one request each. */
export const PACK_BYTES_MAX = 16 * MIB;
/** A pack is rewritten when at most this share of its bytes is live. */
export const PACK_LIVE_SHARE_MIN = 0.5;
/** A reclaim rewrites at most this many bytes of live values a run, so that its cost follows what it freed. */
export const REWRITE_BYTES_MAX = 256 * MIB;

/** A stored envelope (log record, change part, checkpoint part) opens to at most this. A full subtree's diff is 4.8 MB. */
export const ENVELOPE_BYTES_MAX = 64 * MIB;
/** Rows in a checkpoint part: 56 bytes each, 29 MB. */
export const CHECKPOINT_PART_ROWS = 524_288;
/** A checkpoint is written when the log has grown by this many records ... */
export const CHECKPOINT_RECORDS = 256;
/** ... or the rows touched since exceed this share of the table. */
export const CHECKPOINT_TAIL_SHARE = 0.25;
/** Plain bytes of a part of a folded log's checkpoint: a quarter of what an envelope may open to. */
export const CHECKPOINT_PART_BYTES = 16 * MIB;
/** Checkpoints kept: the newest, and the one before it for whoever has just begun to read that. */
export const CHECKPOINTS_KEPT = 2;

/** Entries in one log record. */
export const RECORD_ENTRIES_MAX = 64;
/** Earlier claims of a lineage whose packs an open one may adopt. */
export const CLAIMS_KEPT_MAX = 8;
/** Lost races before an append gives up with CONTENTION. Each loss means that another writer got on. */
export const APPEND_ROUNDS_MAX = 64;
/** Commits of a claim that may be answered *missing*; the one after them relies on nothing (missing.ts). The simulation has met two in a row. */
export const MISSING_ROUNDS_MAX = 3;
/** Repositories that a process keeps open: each takes up to 2 MiB of its cache, and its ledger; the least recently used goes. */
export const REPOSITORIES_OPEN_MAX = 64;
/** Times a reader syncs and looks again after a 404. Each one means that a collector moved the value meanwhile. */
export const READ_ROUNDS_MAX = 8;
/** Log records read ahead in parallel while syncing. */
export const SYNC_WINDOW = 16;

/** A pin without renewal lapses after this; a restore renews it every third of it. */
export const PIN_MS_DEFAULT = 24 * 3600 * 1000;

/** Share of the "unchanged" extents that a capture with a hint reads all the same, and the most of them. */
export const HINT_SAMPLE_SHARE = 0.001;
export const HINT_SAMPLE_MAX = 256;

/** Pack bodies in flight to one store; with 16 MiB packs 64 MiB. */
export const PUTS_IN_FLIGHT = 4;
/** Packs in flight from a store during restore, copy, verify. */
export const GETS_IN_FLIGHT = 4;
/** Plain bytes of one batch: what a thread hashes or opens between two looks at the main thread. */
export const BATCH_BYTES = 4 * MIB;

/** Bytes that a frozen view of a served disk may keep before writers wait for whoever reads it. */
export const DISK_VIEW_BYTES_MAX = 4 * GIB;

/** Destinations of one job. What they hold in buffers is the table in engine/transfer/sending.ts. */
export const DESTINATIONS_MAX = 8;

// Table archives; docs/tables.md quotes them.
/** Topics of one table: each is a part of every batch, and a table has one topic but for its moves. */
export const TABLE_TOPICS_MAX = 64;
/** Key and value of a record together. Kafka's own default is 1 MiB; what is larger is quarantined, its first bytes kept. */
export const EVENT_BYTES_MAX = 8 * MIB;
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
export const EVENT_BATCH_RECORDS_MAX = 65_536;
/** Bytes of keys and values of one batch; they are in memory twice while it is encoded. */
export const EVENT_BATCH_BYTES_MAX = 64 * MIB;
/** Truncates, gaps and quarantined offsets that one part names; a batch ends early before it would name more. About 60 bytes each. */
export const PART_NOTES_MAX = 256;
/** Plain bytes of one blob of a file: what a blob may hold (EXTENT_BYTES_MAX). */
export const FILE_BLOB_BYTES = 4 * MIB;
/** Blobs of one pack: 3 of 4 MiB with their overhead stay below PACK_BYTES_MAX. */
export const FILE_PACK_BLOBS = 3;

/** Memory that DuckDB may take for encoding segments, and for a fold before it spills to its temporary folder. */
export const DUCKDB_ENCODE_BYTES = 128 * MIB;
export const DUCKDB_FOLD_BYTES = 2048 * MIB;
/** Rows of a DuckDB data chunk. More is not refused but corrupts memory (duckdb-node-neo #205). */
export const CHUNK_ROWS = 2048;
/** Files fetched at once for a fold: 16 MiB packs, so 64 MiB. */
export const FILES_IN_FLIGHT = 4;
/** Records of a table's log between two checkpoints: at a batch a second 17 minutes, and at the next opening 64 rounds of 16 gets. */
export const TABLE_CHECKPOINT_RECORDS = 1024;
/** Segments of a tier that make one of the next: 86,400 a day become about 60 parts a partition, each row being written again three times. */
export const MERGE_WIDTH = 16;
/** Segments below this are of the lowest tier: a second of 500 events or fewer. */
export const MERGE_TIER_BYTES = 64 * KIB;
/** Bytes of a merged file: packed, so DuckDB sorts about ten times that and spills above DUCKDB_ENCODE_BYTES. */
export const MERGE_BYTES_MAX = 32 * MIB;
/** How much older than the window the base is that retention keeps: longer than a transaction runs or a clock steps back. */
export const RETENTION_MARGIN_US = 3600 * 1_000_000;
/** How much faster or slower rows must come than before the last snapshot, for one to be due, and how many must have come: a burst begins or has ended. */
export const SNAPSHOT_RATE_SHIFT = 4;
export const SNAPSHOT_RATE_ROWS_MIN = 100_000;
/** What a fold reads must be so many times what it would read from a copy, for a copy to be made and not a pointer. */
export const SNAPSHOT_SAVING_MIN = 2;
/** Bytes of segments, in those of the base, that make a copy whatever it saves. */
export const SNAPSHOT_SEGMENTS_MAX = 4;

// The archiver of a table.
/** How long a broker waits for something new: bounds how late a batch is put that nothing follows. */
export const FETCH_WAIT_MS = 200;
/** Of one answer of one broker, and of one partition in it. Two answers are in memory at once, one of them being taken apart. */
export const FETCH_BYTES = 8 * MIB;
export const FETCH_PARTITION_BYTES = 2 * MIB;
/** A batch is put when its first record is so old: with its encoding and the put LATEST lags the broker by less than 2 s ... */
export const ARCHIVE_BATCH_MS = 600;
/** ... or holds so much: 12,000 events of 500 bytes. One is filled while another is put, and each event is some 3 KB of objects: at 12 MiB it was 100 MiB more. */
export const ARCHIVE_BATCH_BYTES = 6 * MIB;
/** Partitions and topics that are new are noticed after this. */
export const TOPICS_LOOK_MS = 1000;
/** Partitions of all topics of a table: what one log entry may name. */
export const TABLE_PARTITIONS_MAX = 10_000;
/** A producer's requests to several partitions are under way at once: so much later than a stamp was seen is a partition believed to have been read past it. */
export const HEARTBEAT_GRACE_MS = 500;
export const HEARTBEAT_EVERY_MS = 500;
/** An archiver that has nothing to put looks this often whether it has been taken over. */
export const CLAIM_LOOK_MS = 5000;
/** Between two looks of whoever merges, makes snapshots and drops what retention lets go. */
export const KEEP_EVERY_MS = 5000;
/** Between two looks of it at what is older than the window, and at packs that no entry names. */
export const RETAIN_EVERY_MS = 3600 * 1000;
/** Between two looks at whether the catalog says something else of a table by now. */
export const DEFINITION_LOOK_MS = 5000;
/** Between tries when Kafka or the store does not answer: doubled from the first to the last. */
export const ARCHIVE_RETRY_MS = 200;
export const ARCHIVE_RETRY_MS_MAX = 5000;

// Kafka, and events out and in; docs/events.md quotes them.
/** What a compressed batch of records may open to: the largest of Kafka's own settings, so that no sender fills the memory. */
export const RECORDS_BYTES_MAX = 128 * MIB;
/** Brokers that a record names: some to begin with, the cluster names the others. */
export const KAFKA_BROKERS_MAX = 16;
/** To connect to one broker, TLS and SASL included. */
export const KAFKA_CONNECT_MS = 5_000;
/** For a broker to answer one request; acks=all waits for its replicas. */
export const KAFKA_REQUEST_MS = 15_000;
/** Partitions that the topic of events is made with at the most; a key has one, so more only spread the keys. */
export const EVENT_PARTITIONS_MAX = 256;
/** An event on the topic: below what a broker takes by default (1,048,588 bytes) with the batch around it. Larger ones go without their data. */
export const EVENT_OUT_BYTES_MAX = 900 * KIB;
/** Events in one request to the broker, and their bytes: one large event, or some hundred of about 1 KiB. */
export const EVENT_SEND_MAX = 500;
export const EVENT_SEND_BYTES_MAX = MIB;
/** Logs of which a window of records is in memory at once: 4 windows of SYNC_WINDOW records of some KiB. */
export const EVENT_WINDOWS_MAX = 4;
/** An event from outside; what is larger is passed over. Kafka's own default for a record is 1 MiB. */
export const EVENT_IN_BYTES_MAX = 1 * MIB;
/** Members that a trigger compares. */
export const TRIGGER_FIELDS_MAX = 16;
/** Older events start nothing: Temporal keeps an ended workflow for a day at the least, and so long knows that an event has started one. */
export const TRIGGER_EVENT_AGE_MS_MAX = 12 * 3600 * 1000;
/** Events passed over of which the reason is kept; counts are kept of all. */
export const EVENTS_PASSED_KEPT = 100;

/** Data of one journal record: the largest write that most NBD clients send is 32 MiB, which is eight of these. */
export const JOURNAL_WRITE_BYTES_MAX = 4 * MIB;
/** Data of a batch or of a group of the write-ahead file: a second of 8 MiB/s, or two of the largest writes. */
export const BATCH_DATA_BYTES_MAX = 8 * MIB;
/** Records of a batch or group: 8 MiB of 512-byte writes are 16,384; their rows (24 bytes each) are 1.5 MiB at the most. */
export const BATCH_RECORDS_MAX = 65_536;
/** The journal's state in batch 0 of an epoch: some hundred bytes for each epoch and base. */
export const BATCH_FOLD_BYTES_MAX = MIB;
/** First bytes of a batch that a reader of heads asks for: the head of 2,600 records. */
export const BATCH_HEAD_READ_BYTES = 64 * KIB;
/** A segment of the write-ahead file is closed when it has passed this: eight of the largest groups. */
export const SEGMENT_BYTES = 64 * MIB;
/** Files of that length that wait to be segments again: what is written between two checkpoints of volumes. */
export const SPARE_SEGMENTS_MAX = 4;
/** Data of appends that wait for the sync before theirs; more wait to be taken. */
export const APPEND_WAITING_BYTES_MAX = 64 * MIB;
/** Name of a journal: the lineages of its bases are `journal.<name>.<volume>`, 63 characters with up to five digits of volume. */
export const JOURNAL_NAME_MAX = 49;
/** Members of an epoch. */
export const EPOCH_MEMBERS_MAX = 8;

// Owning a journal; docs/journal.md section 9 quotes them.
/** Batches of one member that are under way at once: enough to fill a line of 60 ms a put, and the most that a failover has to copy. */
export const BATCHES_IN_FLIGHT = 4;
/** Records wait so long for a batch, unless a flush waits for them in mode `pair`: what is lost with a node is as old, and a put more. */
export const BATCH_MS = 1000;
/** Data that not all members have confirmed, in mode `pair`; then appends wait. In memory it is twice: the records, and the batches. */
export const PAIR_HELD_BYTES_MAX = 64 * MIB;
/** The same in mode `local`, where the write-ahead file has it, too: half a minute of 8 MiB/s without any region. */
export const LOCAL_HELD_BYTES_MAX = 192 * MIB;
/** How long an append waits when that is nearly reached; from half of it on, in proportion. */
export const LOCAL_DELAY_MS_MAX = 200;
/** In mode `local` appends are slowed so that no more waits than the store takes in this time: with the batch that is being put, an RPO below 2 s. */
export const LOCAL_SHIP_MS = 1200;
/** So much may always wait: a store whose every answer takes a second is not one that takes little. */
export const LOCAL_PACE_BYTES_MIN = MIB;
/** How long one append waits for that at the most. */
export const LOCAL_PACE_MS_MAX = 2000;
/** A store that has answered nothing for so long is not waited for: four of the largest batches at 4 MiB/s. */
export const LOCAL_SILENT_MS = 8000;
/** Attempts in a row that a member may fail, each after a wait of up to MEMBER_RETRY_MS_MAX, before the owner goes on without it ... */
export const MEMBER_ATTEMPTS_MAX = 8;
export const MEMBER_RETRY_MS = 50;
export const MEMBER_RETRY_MS_MAX = 1000;
/** ... and how old a batch may get without its confirmation. */
export const MEMBER_MS_MAX = 10_000;
/** Attempts at one call of a take-over to one region, before that region counts as one that does not answer. */
export const TAKE_OVER_ATTEMPTS_MAX = 6;
/** Seals that may lose the race for a place, before one is put so far ahead that the owner cannot outrun it; then twice as far each time. */
export const SEAL_RACES_MAX = 3;
/** Heads that a take-over reads ahead in one region: an hour of one-second batches in 7 s at 30 ms a read. */
export const CHAIN_READ_AHEAD = 16;
/** Heads of a journal that are asked for at once: at 30 ms a read an hour of one-second batches is planned in 2 s. */
export const HISTORY_HEADS_AHEAD = 64;
/** ... and rows in them, as long as batches are alike: each is some 100 bytes of objects, so about 50 MiB. */
export const HISTORY_ROWS_AHEAD = 512 * 1024;
/** Stretches of a recovery's plan, 22 bytes each and twice that while it grows: 4 KiB writes all over 16 GiB, in 200 MiB. */
export const RECOVERY_STRETCHES_MAX = 4 * 1024 * 1024;
/** Rows that wait to be worked into the plan, 30 bytes each. */
export const RECOVERY_ROWS_WAITING = 512 * 1024;
/** Batches that a recovery replays: three days of one-second batches after its base, in 50 MiB. */
export const RECOVERY_BATCHES_MAX = 256 * 1024;
/** Plans of one recovery, if what it needs is dropped under it: each time a newer base has been made meanwhile. */
export const RECOVERY_PLANS_MAX = 4;
/** Whole batches in memory at once while a journal is replayed or copied: stored and opened, 17 MiB each at the most. */
export const BATCHES_AHEAD = 4;
/** Opened batches that reads of an instant recovery keep: data of 64 MiB at the most. */
export const OVERLAY_BATCHES_KEPT = 8;
/** Recovery points in one answer. */
export const POINTS_PAGE_MAX = 1000;
/** Longer than any seal: its head is JSON with a name of at most 200 characters, six bytes each. */
export const SEAL_BYTES_MAX = 4096;

// Streams; docs/journal.md section 11 quotes them.
/** A writer ends when nothing was acknowledged for so long. */
export const STREAM_GIVE_UP_MS = 10 * 60_000;
/** How long the end of a writer waits until its last batches say that they are acknowledged. */
export const STREAM_PUBLISH_MS = 10_000;
/** Between two looks of who follows a stream; idle it becomes the longer one. A look is one LIST and a few reads in each member. */
export const STREAM_LOOK_MS = 500;
export const STREAM_LOOK_MS_MAX = 2000;

// Protection of disks; docs/protection.md quotes them.
/** Disks of a group: they are frozen in one turn. */
export const GROUP_DISKS_MAX = 64;
/** Batches of a protected group are formed so often: a put of 300 ms keeps its RPO below PROTECTION_RPO_MS, for two puts a second. */
export const PROTECTION_BATCH_MS = 500;
/** An older record that is in no region is an alarm. */
export const PROTECTION_RPO_MS = 1000;
/** Volumes are synced so often, or after so many bytes; the write-ahead file is kept as far back. */
export const CHECKPOINT_MS = 5000;
export const CHECKPOINT_BYTES = 256 * MIB;
/** Places of the newest records, 24 bytes each: more than the owner holds of 1 KiB writes. */
export const PLACES_MAX = 262_144;
/** Data of changes that were answered and that the owner has not said it has room for: what a slowed disk is ahead of its store, beyond LOCAL_SHIP_MS. */
export const UNANSWERED_BYTES_MAX = 256 * KIB;
/** In mode `local` records stop when there was no room for one for so long ... */
export const BITMAP_AFTER_MS = 10_000;
/** ... and begin again when no more than this is held. */
export const RESYNC_HELD_BYTES = LOCAL_HELD_BYTES_MAX / 4;
/** A journal that cannot be opened is tried again so often. */
export const PROTECTION_RETRY_MS = 2000;
/** A region of which a base of live volumes hears nothing for so long, nothing taken and no further number reached, has none. */
export const BASE_SILENT_MS = 60_000;
/** Points of a group are kept for so long if nobody says otherwise: a day, in which somebody notices. */
export const RETAIN_MS_DEFAULT = 24 * 3600 * 1000;
/** How long a clean stop waits for a journal to acknowledge what it has. */
export const PROTECTION_STOP_MS = 5000;
/** For the same with everything in its regions, where a member that is gone is waited for (MEMBER_MS_MAX) and gone on without; under the minute that a disk server is asked for. */
export const HAND_OVER_MS = 45_000;
