"""The write-ahead file of a journal's owner, by docs/journal.md (section 6): no line of Holdfast's is used."""
import re, sys
from struct import calcsize, unpack_from

from journal_objects import OPS, ROW_BYTES, WRITE, ZERO, check_rows
from restore import Refused, blake3

SEGMENT = ">4sI16s16sQQ32s32s"
SEGMENT_BYTES, FRAME_BYTES = calcsize(SEGMENT), 40


class WriteAhead:
    """The records of a folder of segments: the longest sound beginning, and what was set aside."""

    def __init__(self, folder):
        self.journals, self.taken, self.unsound = set(), [], []  # ids; (digest after, [(row, bytes)]) a frame; names of segments
        self.marks = []  # (digest, next number, frames taken so far) of every place at which the file can go on
        for file in sorted(folder.iterdir()):
            if re.fullmatch(r"\d{20}\.wal", file.name):
                self.segment(file)
            elif file.name.endswith(".wal.unsound"):
                self.unsound.append(file.name)

    def segment(self, file):
        stored = file.read_bytes()
        magic, _, journal, _, number, first, before, digest = unpack_from(SEGMENT, stored.ljust(SEGMENT_BYTES, b"\0"))
        is_other = bool(self.journals - {journal})
        if magic != b"HFW1" or is_other or number != int(file.stem) or blake3(b"holdfast wal" + stored[:88]).digest() != digest:
            if len(stored) > SEGMENT_BYTES:
                self.unsound.append(file.name)
            else:
                print(f"{file.name} has no whole header: nothing was confirmed in it", file=sys.stderr)
            return
        self.journals.add(journal)
        if self.marks:
            fits = [frames for mark, at, frames in self.marks if (mark, at) == (before, first)]
            if not fits:
                self.unsound.append(file.name)
                return
            del self.taken[fits[-1] :]
        self.marks = [mark for mark in self.marks if mark[2] <= len(self.taken)] + [(digest, first, len(self.taken))]
        self.frames(stored, digest, first)

    def frames(self, stored, digest, first):
        at = SEGMENT_BYTES
        while at + FRAME_BYTES <= len(stored):
            length, count, said = unpack_from(">II32s", stored, at)
            payload = stored[at + FRAME_BYTES : at + FRAME_BYTES + length]
            rows_end = count * ROW_BYTES
            if length == 0 or len(payload) != length or rows_end > length:
                return
            if blake3(b"holdfast wal" + digest + stored[at : at + 8] + payload).digest() != said:
                return
            rows, in_order = check_rows(payload[:rows_end], first, length - rows_end, f"the frame at {at}")
            if rows != in_order:
                raise Refused(f"the frame at {at} has rows that are not in the order of their numbers")
            data = payload[rows_end:]
            self.taken.append([(row, data[row.place : row.place + row.length] if row.op == WRITE else b"") for row in rows])
            digest, first, at = said, first + count, at + FRAME_BYTES + length
            self.marks.append((digest, first, len(self.taken)))

    def show(self):
        for frame in self.taken:
            for row, data in frame:
                where = (row.volume, row.offset, row.length) if row.op in (WRITE, ZERO) else ()
                print(row.number, OPS[row.op], *where, *([blake3(data).hexdigest()] if row.op == WRITE else ()), sep="\t")
        if self.unsound:
            raise Refused(f"a synced part of the file is damaged: {', '.join(self.unsound)} is no segment, or goes on where nothing sound ends")
