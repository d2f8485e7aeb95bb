"""The objects of a Holdfast journal and its log, by docs/journal.md (sections 4, 5 and 7): no line of Holdfast's is used."""
import json, os, re, sys
from pathlib import Path
from struct import calcsize, iter_unpack, pack, unpack, unpack_from
from typing import NamedTuple

from restore import Refused, Repository, decompress, hkdf, matches, open_sealed

FRAME, HEAD, ROW = ">4sBBH16sQQII32s", ">QII32s32s32sQQQI", ">HBBIQII"
FRAME_BYTES, HEAD_BYTES, ROW_BYTES = map(calcsize, (FRAME, HEAD, ROW))
BATCH, SEAL = 1, 2
WRITE, ZERO, FLUSH, GAP = 1, 2, 3, 4
OPS = {WRITE: "write", ZERO: "zero", FLUSH: "flush", GAP: "gap"}
NO_VOLUME, LOOK_AHEAD, WRITE_MAX = 65_535, 8, 4 << 20


place_name = lambda epoch, index: f"{epoch:020}/{index:012}"


class Row(NamedTuple):
    volume: int
    op: int
    number: int
    offset: int
    length: int
    place: int


class Head(NamedTuple):
    first: int
    after: bytes
    acknowledged: int
    acknowledged_batches: int
    label: int
    rows: list  # in the order of their numbers
    data_bytes: int
    data_digest: bytes
    fold: bytes

    @property
    def next(self):
        return self.first + len(self.rows)


class Follows(NamedTuple):
    """What the chain has come to: a batch follows if it says the same."""
    first: int
    before: bytes
    label: int = 0
    acknowledged: int = 0


def check_rows(stored, first, data_bytes, what):
    """Rows as journal.md gives them; returns them in the order of their numbers."""
    read = list(iter_unpack(ROW, stored))
    rows, place = [Row(volume, op, first + number, *rest) for volume, op, _, number, *rest in read], 0
    if any(op not in OPS for _, op, *_ in rows):
        raise Refused(f"{what} has an operation that this reader does not know")
    in_order = sorted(rows, key=lambda row: row.number)
    if [row.number for row in in_order] != list(range(first, first + len(rows))):
        raise Refused(f"{what} does not have each number once")
    for row in in_order:
        is_change = row.op in (WRITE, ZERO)
        if (row.volume < NO_VOLUME) != is_change or (row.length > 0) != is_change or (not is_change and row.offset):
            raise Refused(f"{what} has a row that is not of the form")
        if row.place != (place if row.op == WRITE else 0) or (row.op == WRITE and row.length > WRITE_MAX):
            raise Refused(f"{what} has a write whose bytes are not where they belong")
        place += row.length if row.op == WRITE else 0
    if any(zero for _, _, zero, *_ in read):
        raise Refused(f"{what} has a row that is not of the form")
    if place != data_bytes:
        raise Refused(f"{what} has {data_bytes} bytes of data, and rows for {place}")
    return rows, in_order


class State:
    """The fold of the journal's log (journal.md, 7)."""

    def __init__(self, said=None):
        said = said or {"n": 0, "current": None, "floor": 0, "epochs": [], "bases": [], "pins": []}
        if said.get("version", 1) != 1:
            raise Refused("the state in a batch is of another version")
        self.records, self.current, self.floor = said["n"], said["current"], said["floor"]
        self.epochs = {epoch["epoch"]: epoch for epoch in said["epochs"]}
        self.bases, self.pins = list(said["bases"]), {pin["pin"]: pin for pin in said["pins"]}

    def take(self, number, entries):
        self.records = number
        for entry in entries:
            kind = entry["kind"]
            if kind == "OPEN":
                self.open(number, entry)
            elif kind == "HELD":
                self.epochs[entry["epoch"]]["full"].append(entry["region"])
            elif kind == "BASE":
                self.bases.append(entry)
            elif kind == "FLOOR":
                self.floor = max(self.floor, entry["seq"])
            elif kind == "PIN":
                self.pins[entry["pin"]] = entry
            elif kind == "UNPIN":
                self.pins.pop(entry["pin"], None)
            else:
                raise Refused(f"record {number} has an entry of kind {kind}, which this reader does not know")

    def open(self, number, entry):
        """An OPEN; one that is not admissible here is void. An epoch that has an end keeps it."""
        previous, end = entry["previous"], entry["end"]
        if previous != self.current or number in self.epochs or (end is None) != (previous is None):
            return
        start, before = 1, "00" * 32
        if previous is not None:
            if not self.fits(self.epochs[previous], end, entry["tailLost"]):
                return
            self.epochs[previous].update(end=end, full=entry["full"])
            self.bases = [base for base in self.bases if not self.is_above(base["at"]["epoch"], base["to"], previous, end)]
            self.pins = {name: pin for name, pin in self.pins.items() if not self.is_above(pin["epoch"], pin["seq"], previous, end)}
            start, before = end["seq"] + 1, end["digest"]
        said = {name: entry[name] for name in ("mode", "owner", "members")}
        self.epochs[number] = {"epoch": number, "start": start, "before": before, "end": None, "full": [], **said}
        self.current = number

    @staticmethod
    def is_above(epoch, number, closed, end):
        return epoch == closed and number > end["seq"]

    def fits(self, epoch, end, tail_lost):
        if end["index"] < 0:
            return (end["index"], end["seq"], end["digest"]) == (-1, epoch["start"] - 1, epoch["before"])
        named = [(base["at"]["epoch"], base["to"]) for base in self.bases] + [(pin["epoch"], pin["seq"]) for pin in self.pins.values()]
        above = any(self.is_above(*one, epoch["epoch"], end) for one in named)
        return end["seq"] >= max(epoch["start"] - 1, self.floor) and (tail_lost or not above)


class Journal:
    """The objects of a journal in its regions: each read from whichever region has it as it was written."""

    def __init__(self, name, passphrase, log, regions):
        self.name, self.passphrase, self.roots = name, passphrase, regions
        self.folders = {region: root / "journals" / name for region, root in regions.items()}
        self.damage = []
        repository = Repository(log / "journals" / name if log else self.region_with_keys(), passphrase)
        self.key, self.id = repository.key, repository.id
        self.state = State()
        if log is None:
            self.state = self.state_from_regions()
            return
        for number, entries in repository.records():
            self.state.take(number, entries)

    def region_with_keys(self):
        for folder in self.folders.values():
            if (folder / "repository.json").exists() and any((folder / "keys").glob("*")):
                return folder
        raise Refused("no region has repository.json and a key; is this where the stores are?")

    def state_from_regions(self):
        """Without the log: the newest state that a batch 0 carries."""
        newest = None
        for folder in self.folders.values():
            for file in folder.glob("[eb]/*/" + "0" * 12):
                try:
                    head, _ = self.opened(file, int(file.parent.name), 0)
                    if head is not None and head.fold:
                        found = State(json.loads(head.fold))
                        newest = found if newest is None or found.records > newest.records else newest
                except (Refused, OSError) as error:
                    self.report(f"passed over: {error}")
        if newest is None:
            raise Refused("no batch of any region carries the journal's state")
        return newest

    def report(self, message):
        if message not in self.damage:
            self.damage.append(message)
            print(message, file=sys.stderr)

    # Objects (journal.md, 4)

    def opened(self, file, epoch, index, follows=None, wants_data=False):
        """(head, data) of a batch; (None, None) of a seal. What is not as it was written there is refused."""
        what = f"batch {index} of epoch {epoch} in {file}"
        with open(file, "rb") as stored:
            frame, size = stored.read(FRAME_BYTES), os.fstat(stored.fileno()).st_size
            if len(frame) < FRAME_BYTES:
                raise Refused(f"{what} is cut short")
            magic, kind, codec, features, journal, its_epoch, its_index, head_bytes, body_bytes, salt = unpack(FRAME, frame)
            if size != FRAME_BYTES + head_bytes + body_bytes:
                raise Refused(f"{what} has {size} bytes, and its frame says {FRAME_BYTES + head_bytes + body_bytes}")
            sealed, body = stored.read(head_bytes), stored.read(body_bytes) if wants_data else b""
        key = hkdf(self.key, salt, b"holdfast journal" + frame[:40])
        part = lambda number, sealed: open_sealed(key, bytes(11) + bytes([number]), sealed, frame[:48], what)
        try:
            head = part(0, sealed)
        except Refused:
            if journal == self.id:
                raise
            raise Refused(f"{what} is of another journal, or damaged") from None
        if magic != b"HFJ1" or features or kind not in (BATCH, SEAL) or codec > 1:
            raise Refused(f"{what} has a format that this reader does not know")
        if (journal, its_epoch, its_index) != (self.id, epoch, index):
            raise Refused(f"{what} is of another place or another journal: batch {its_index} of epoch {its_epoch}")
        if kind == SEAL:
            return None, None
        batch = self.head(head, epoch, index, follows, what)
        if not wants_data:
            return batch, None
        data = decompress(codec, part(1, body), what) if body_bytes else b""
        if len(data) != batch.data_bytes or not matches(batch.data_digest, data):
            raise Refused(f"{what} has data with another digest")
        return batch, data

    @staticmethod
    def head(stored, epoch, index, follows, what):
        if len(stored) < HEAD_BYTES:
            raise Refused(f"{what} has a head that is cut short")
        first, count, data_bytes, before, after, digest, acknowledged, by_all, label, fold_bytes = unpack_from(HEAD, stored)
        end = HEAD_BYTES + count * ROW_BYTES
        if len(stored) != end + fold_bytes or (fold_bytes and index > 0):
            raise Refused(f"{what} has a head of another length than it says")
        rows, in_order = check_rows(stored[HEAD_BYTES:end], first, data_bytes, what)
        if rows != sorted(rows, key=lambda row: (row.volume, row.offset, row.number)):
            raise Refused(f"{what} has rows that do not ascend")
        said = b"holdfast batch" + before + pack(">QQQI", epoch, index, first, count) + stored[HEAD_BYTES:end] + digest
        if not matches(after, said):
            raise Refused(f"{what} does not have its digest")
        if follows is not None:
            if (first, before) != (follows.first, follows.before):
                raise Refused(f"{what} does not follow the batch before it")
            if label < follows.label or acknowledged < follows.acknowledged:
                raise Refused(f"{what} has a label or an acknowledgement below that of the batch before it")
        return Head(first, after, acknowledged, by_all, label, in_order, data_bytes, digest, stored[end:])

    # Copies (journal.md, 5)

    def copies(self, epoch, index):
        members = {member["region"] for member in epoch["members"]}
        for region, folder in self.folders.items():
            if epoch["end"] is not None or region in members:
                for top in ("e", "b") if epoch["end"] is not None else ("e",):
                    file = folder / top / place_name(epoch["epoch"], index)
                    if file.exists():
                        yield file

    def batch(self, epoch, index, follows, wants_data=False):
        """(head, data), or None where every region is empty or sealed."""
        end, refusals = epoch["end"], []
        for file in self.copies(epoch, index):
            try:
                head, data = self.opened(file, epoch["epoch"], index, follows, wants_data)
                if head is None:
                    continue
                if end is not None and index == end["index"] and (head.next - 1, head.after.hex()) != (end["seq"], end["digest"]):
                    raise Refused(f"batch {index} of epoch {epoch['epoch']} in {file} is not that with which the log says that the epoch ended")
                return head, data
            except (Refused, OSError) as error:
                self.report(f"passed over: {error}")
                refusals.append(str(error))
        if refusals:
            raise Refused("; ".join(refusals))
        return None

    def last_object(self, epoch):
        """The highest index at which the open epoch has anything."""
        names = (name for file in self.folders.values() for name in (file / "e" / f"{epoch['epoch']:020}").glob("*"))
        return max((int(name.name) for name in names if re.fullmatch(r"\d{12}", name.name)), default=-1)

    def is_lost(self, epoch, index):
        """Whether an object behind an empty place says that all members held the batch of that place."""
        for later in range(index + 1, index + 1 + LOOK_AHEAD):
            try:
                found = self.batch(epoch, later, None)
                if found is not None and found[0].acknowledged_batches > index:
                    return True
            except Refused:
                continue
        return False

    def missing(self, epoch, index):
        unheard = sorted({member["region"] for one in self.state.epochs.values() for member in one["members"]} - set(self.folders))
        lacking = f"; not asked: region {', '.join(unheard)}" if unheard else ""
        return f"batch {index} of epoch {epoch['epoch']} is in none of the regions {', '.join(self.folders)}{lacking}"
