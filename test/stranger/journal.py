#!/usr/bin/env python3
"""Reads a Holdfast journal with docs/journal.md and docs/format.md alone: no line of Holdfast's is used.

    journal.py --journal NAME --passphrase-env VARIABLE [--log DIR] --region NAME=DIR ... log
    journal.py ... points
    journal.py ... recover EPOCH NUMBER VOLUME OUT [--size BYTES]
    journal.py wal FOLDER

Each DIR is the root of a store, as for restore.py: the journal is below DIR/journals/NAME/, the bases of a region below
DIR/repositories/journal.NAME/. Without --log the state is that which the newest batch 0 of the regions carries. Nothing is changed,
and nobody may write meanwhile: it is for stores that are at rest, or copied.

Any region may lack or have harmed objects: the next one is asked. Exit status 0 means that OUT holds exactly what VOLUME held at that
point; any doubt is a refusal, which names the batch or the base and the newest sound point before it, and leaves no OUT.
`wal` prints the records of a write-ahead file (journal.md, 6), which no passphrase protects; that needs the blake3 package.
"""
import argparse, os, sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from journal_objects import FLUSH, GAP, WRITE, Follows, Journal
from restore import Refused, Repository, blake3
from write_ahead import WriteAhead

ZEROS = bytes(1 << 20)


class WrongSize(Exception):
    """The size that was given is not the volume's: what begins with the empty volume would be wrong as well."""


class Start(NamedTuple):
    """What a replay can begin with: the empty volume, or a base."""
    start: int
    to: int
    at: tuple  # (epoch, index) of the last batch that is in it
    base: dict | None


class Point(NamedTuple):
    epoch: int
    number: int
    last: int  # number of the last record of its batch: a batch is acknowledged whole
    label: int
    starts: tuple


class Hole(NamedTuple):
    epoch: int
    index: int
    sound: int
    why: str


EMPTY, EMPTY_CHAIN = Start(0, 0, (0, -1), None), Follows(1, bytes(32))


class History:
    """All epochs in order: the points, what leads to each, the batches, and the holes."""

    def __init__(self, journal):
        self.journal, self.state = journal, journal.state
        self.points, self.holes, self.places = [], [], {}
        self.starts, self.follows, self.acknowledged = (), None, 0
        for epoch in self.state.epochs.values():
            if epoch["start"] == 1 and not self.places:
                self.starts, self.follows = (EMPTY,), EMPTY_CHAIN
            begins = Follows(epoch["start"], bytes.fromhex(epoch["before"]))
            if self.follows and self.follows[:2] != begins[:2]:
                raise Refused(f"epoch {epoch['epoch']} does not begin where the one before it ended")
            self.follows = self.follows and begins
            self.walk(epoch)
        self.points = [point for point in self.points if point.number >= self.state.floor]

    def walk(self, epoch):
        number, before, self.acknowledged = epoch["epoch"], len(self.points), 0
        self.begin(number, -1)
        last = epoch["end"]["index"] if epoch["end"] else self.journal.last_object(epoch)
        for index in range(last + 1):
            if not self.step(epoch, index):
                break
            self.begin(number, index)
        if epoch["end"] is None:
            self.points[before:] = [point for point in self.points[before:] if point.last <= self.acknowledged]

    def step(self, epoch, index):
        """Goes one batch on, or over a hole; False: here the open epoch ends."""
        found, why = None, ""
        try:
            found = self.journal.batch(epoch, index, self.follows)
        except Refused as error:
            why = str(error)
        if found is not None:
            self.acknowledged = max(self.acknowledged, found[0].acknowledged)
        elif not why:
            if self.follows and not epoch["end"] and not self.journal.is_lost(epoch, index):
                return False
            why = self.journal.missing(epoch, index)
        if self.follows and found:
            self.take(epoch["epoch"], index, found[0])
        elif self.follows:
            self.holes.append(Hole(epoch["epoch"], index, self.follows.first - 1, why))
            self.starts, self.follows = (), None
        return True

    def take(self, epoch, index, head):
        self.places[epoch, index] = self.follows
        self.follows = Follows(head.next, head.after, head.label, head.acknowledged)
        for row in head.rows:
            if row.op == GAP:
                self.starts = tuple(start for start in self.starts if start.start >= row.number)
            elif row.op == FLUSH and any(start.to <= row.number for start in self.starts):
                self.points.append(Point(epoch, row.number, head.next - 1, head.label, self.starts))

    def begin(self, epoch, index):
        """Takes up the bases of which this is the last batch; behind a hole the chain goes on with them."""
        for base in self.state.bases:
            at = base["at"]
            if (at["epoch"], at["index"]) != (epoch, index):
                continue
            reached = Follows(at["seq"] + 1, bytes.fromhex(at["digest"]))
            self.follows = self.follows or reached
            if self.follows[:2] == reached[:2]:
                self.starts += (Start(base["from"], base["to"], (epoch, index), base),)
            else:
                self.journal.report(f"passed over: a base of region {base['region']}, for batch {index} of epoch {epoch} is another one")

    def cut(self):
        """Holes that points at or above the floor are lost by: not those below a base by which the floor rose."""
        kept = max(((base["at"]["epoch"], base["at"]["index"]) for base in self.state.bases if base["to"] <= self.state.floor), default=(0, -1))
        return [hole for hole in self.holes if (hole.epoch, hole.index) > kept]

    def point(self, epoch, number):
        return next((point for point in self.points if (point.epoch, point.number) == (epoch, number)), None)


class Recovery:
    """A volume at a point, and which parts of the journal were found to be unusable meanwhile."""

    def __init__(self, journal, volume, size):
        self.journal, self.history, self.volume, self.size = journal, History(journal), volume, size
        self.unusable = {}  # (epoch, index), or the id of a snapshot, to why

    def parts(self, point, start):
        for place in self.history.places:
            if place > start.at and self.history.places[place].first <= point.number:
                yield place

    def snapshot(self, start):
        ids = [one["id"] for one in start.base["snapshots"] if one["volume"] == self.volume] if start.base else []
        return ids[0] if ids else None

    def write(self, point, out):
        """Tries what leads to the point, the nearest first. Answers the start that was taken."""
        refusals = []
        for start in sorted((start for start in point.starts if start.to <= point.number), key=lambda start: start.at, reverse=True):
            try:
                bad = next((why for part in (self.snapshot(start), *self.parts(point, start)) if (why := self.unusable.get(part))), None)
                if bad is not None:
                    raise Refused(bad)
                self.replay(point, start, out)
                return start
            except Refused as error:
                refusals.append(str(error))
        raise Refused("; or ".join(dict.fromkeys(refusals)))

    def replay(self, point, start, out):
        out.truncate(0)
        size = self.lay_base(start, out) if start.base else self.size
        if size is None:
            raise Refused(f"the journal does not say how large volume {self.volume} is: give --size")
        out.truncate(size)
        for place in self.parts(point, start):
            head, data = self.body(place)
            for row in head.rows:
                if start.start < row.number <= point.number and row.volume == self.volume:
                    self.apply(row, data, size, out)

    def lay_base(self, start, out):
        region, id = start.base["region"], self.snapshot(start)
        try:
            if id is None:
                raise Refused(f"it has no volume {self.volume}")
            if region not in self.journal.roots:
                raise Refused(f"region {region} was not given")
            repository = Repository(self.journal.roots[region] / "repositories" / f"journal.{self.journal.name}", self.journal.passphrase)
            snapshots = repository.snapshots()
            if id not in snapshots:
                raise Refused("its snapshot is not live")
            lineage = f"journal.{self.journal.name}.{self.volume}@1"
            if snapshots[id]["lineage"] != lineage:
                raise Refused(f"its snapshot is not of lineage {lineage}")
            if self.size not in (None, snapshots[id]["sizeBytes"]):
                raise WrongSize(f"volume {self.volume} has {snapshots[id]['sizeBytes']} bytes by base {id}, and not {self.size}")
            repository.restore(snapshots[id], out)
            return snapshots[id]["sizeBytes"]
        except (Refused, OSError, KeyError, TypeError, ValueError) as error:
            self.unusable[id] = f"base {id} in region {region}: {error}"
            raise Refused(self.unusable[id]) from None

    def body(self, place):
        epoch = self.journal.state.epochs[place[0]]
        try:
            found = self.journal.batch(epoch, place[1], self.history.places[place], wants_data=True)
            if found is None:
                raise Refused(self.journal.missing(epoch, place[1]))
            return found
        except Refused as error:
            self.unusable[place] = f"batch {place[1]} of epoch {place[0]} cannot be had: {error}"
            raise Refused(self.unusable[place]) from None

    def apply(self, row, data, size, out):
        if row.offset + row.length > size:
            raise Refused(f"record {row.number} reaches past the {size} bytes of volume {self.volume}")
        out.seek(row.offset)
        if row.op == WRITE:
            out.write(data[row.place : row.place + row.length])
            return
        for at in range(0, row.length, len(ZEROS)):
            out.write(ZEROS[: row.length - at])

    def nearest(self, number, out):
        """The newest point below a number that can be had; each try that fails finds another part that is unusable."""
        for point in reversed([point for point in self.history.points if point.number < number]):
            try:
                self.write(point, out)
                return f"the newest sound point before it is epoch {point.epoch}, number {point.number}"
            except Refused:
                continue
        return "no point before it is sound"


def recover(journal, epoch, number, volume, out, size):
    if os.path.lexists(out):
        raise Refused(f"{out} exists; name a file that does not")
    recovery, partial = Recovery(journal, volume, size), Path(out + ".partial")
    point = recovery.history.point(epoch, number)
    try:
        with open(partial, "wb") as file:
            try:
                if point is None:
                    holes = [hole for hole in recovery.history.cut() if hole.sound < number]
                    why = "".join(f"; {told(hole)}" for hole in holes)
                    raise Refused(f"epoch {epoch}, number {number} is no point that can be recovered{why}")
                start = recovery.write(point, file)
            except Refused as error:
                raise Refused(f"{error}; {recovery.nearest(number, file)}") from None
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    base = f"base {recovery.snapshot(start)} of region {start.base['region']}" if start.base else "the empty volume"
    print(f"recovered from {base} and {len(list(recovery.parts(point, start)))} batches", file=sys.stderr)


def told(hole):
    return f"sound up to number {hole.sound}: batch {hole.index} of epoch {hole.epoch} cannot be had: {hole.why}"


def time_of(microseconds):
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def show_log(state):
    for epoch in state.epochs.values():
        members, end = ",".join(member["region"] for member in epoch["members"]), epoch["end"]
        shown = f"{end['index']}:{end['seq']}" if end else "open"
        print("epoch", epoch["epoch"], epoch["mode"], members, epoch["start"], shown, ",".join(epoch["full"]), epoch["owner"], sep="\t")
    for base in state.bases:
        at = base["at"]
        print("base", base["region"], f"{at['epoch']}:{at['index']}", base["from"], base["to"], *(one["id"] for one in base["snapshots"]), sep="\t")
    for name, pin in state.pins.items():
        print("pin", name, pin["epoch"], pin["seq"], pin["why"], sep="\t")
    print("floor", state.floor, sep="\t")


def run(arguments):
    if arguments.command == "wal":
        if blake3 is None:
            raise Refused("a write-ahead file is checked by BLAKE3 alone: install the blake3 package")
        WriteAhead(Path(arguments.folder)).show()
        return
    if not (arguments.journal and arguments.passphrase_env and arguments.region):
        raise Refused("--journal, --passphrase-env and --region are needed")
    if arguments.passphrase_env not in os.environ:
        raise Refused(f"the environment has no {arguments.passphrase_env}")
    regions = {name: Path(root) for name, root in (region.split("=", 1) for region in arguments.region)}
    journal = Journal(arguments.journal, os.environ[arguments.passphrase_env], Path(arguments.log) if arguments.log else None, regions)
    if arguments.command == "log":
        show_log(journal.state)
    elif arguments.command == "points":
        history = History(journal)
        for point in history.points:
            print(point.epoch, point.number, time_of(point.label), sep="\t")
        for hole in history.cut():
            print(f"hole: {told(hole)}", file=sys.stderr)
    else:
        recover(journal, arguments.epoch, arguments.number, arguments.volume, arguments.out, arguments.size)


def main():
    parser = argparse.ArgumentParser(description="Reads a Holdfast journal with docs/journal.md alone.")
    for option in ("--journal", "--passphrase-env", "--log"):
        parser.add_argument(option)
    parser.add_argument("--region", action="append", metavar="NAME=DIR")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("log")
    commands.add_parser("points")
    recovering = commands.add_parser("recover")
    for name in ("epoch", "number", "volume"):
        recovering.add_argument(name, type=int)
    recovering.add_argument("out")
    recovering.add_argument("--size", type=int)
    commands.add_parser("wal").add_argument("folder")
    try:
        run(parser.parse_args())
    except (Refused, WrongSize, OSError) as error:
        sys.exit(f"refused: {error}")
    except (KeyError, TypeError, ValueError) as error:
        sys.exit(f"refused: an object is not of the form that journal.md gives ({type(error).__name__}: {error})")


if __name__ == "__main__":
    main()
