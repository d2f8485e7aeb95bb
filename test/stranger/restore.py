#!/usr/bin/env python3
"""Reads a Holdfast repository with docs/format.md alone: no line of Holdfast's is used.

    restore.py --store DIR --repository NAME --passphrase-env VARIABLE list
    restore.py --store DIR --repository NAME --passphrase-env VARIABLE restore SNAPSHOT OUT

DIR is the root of a store: a folder store as it is, or a bucket copied by any S3 client, for instance
`aws s3 sync s3://BUCKET/PREFIX/repositories/NAME DIR/repositories/NAME`. Nothing in DIR is changed.

Needs zstd and AES-GCM (requirements.txt). With the blake3 package every value is checked against its fingerprint as well;
without it the authentication tag, which covers the fingerprint, is the check. Exit status 0 means that OUT holds exactly
what was captured; any doubt is a refusal, which names the extent or the object and leaves no OUT.
"""
import argparse, hashlib, hmac, json, os, re, sys, unicodedata
from datetime import datetime, timezone
from pathlib import Path
from struct import unpack, unpack_from

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

try:
    from compression.zstd import ZstdDecompressor  # Python 3.14
    unzstd = lambda data: ZstdDecompressor().decompress(data)
except ImportError:
    import zstandard
    unzstd = lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)
try:
    from blake3 import blake3
except ImportError:
    blake3 = None

ROOT_LEVEL, FANOUT, TAG = 4, 256, 16
KNOWN = {"CLAIM", "ABORT", "COMMIT", "HIDE", "UNHIDE", "RECLAIM", "REPLACE", "HEAL", "PIN", "UNPIN", "RETIRE"}


class Refused(Exception):
    """What is stored is not what was written, or not for this reader."""


def hkdf(key, salt, info):
    """HKDF-SHA256 (RFC 5869) for 32 bytes of output: one round. An empty salt means 32 zero bytes."""
    pseudorandom = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")


def open_sealed(key, nonce, sealed, associated, what):
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except (InvalidTag, ValueError):
        raise Refused(f"{what} does not open: its bytes are not what was written") from None


def decompress(codec, body, what):
    if codec > 1:
        raise Refused(f"{what} uses codec {codec}, which this reader does not know")
    try:
        return unzstd(body) if codec == 1 else body
    except Exception as error:
        raise Refused(f"{what} does not decompress: {error}") from None


def matches(fingerprint, plain):
    return blake3 is None or blake3(plain).digest() == fingerprint


class Repository:
    """Objects by name, opened with the passphrase (format.md, 3 to 6)."""

    def __init__(self, folder, passphrase):
        self.folder, self.index = folder, None
        self.by_hint = self.by_index = 0
        header = self.json("repository.json")
        if header.get("format") != "holdfast-repository":
            raise Refused("repository.json is not that of a repository")
        if header["version"] != 1 or header["features"] or header["hash"] != "blake3":
            raise Refused("the repository has a format that this reader does not know")
        self.id = bytes.fromhex(header["id"])
        self.key = self.unwrap(passphrase)

    def read(self, name, offset=0, length=-1):
        with open(self.folder / name, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def json(self, name):
        try:
            return json.loads(self.read(name))
        except FileNotFoundError:
            raise Refused(f"{name} is not there: {self.folder} is not a repository") from None
        except ValueError:
            raise Refused(f"{name} is damaged: it is not JSON") from None

    def names(self, folder):
        return sorted(str(path.relative_to(self.folder)) for path in (self.folder / folder).rglob("*") if path.is_file())

    def unwrap(self, passphrase):
        slots = self.names("keys")
        if not slots:
            raise Refused("the repository has no key slot")
        slot = self.json(slots[-1])
        kdf, wrapped = slot["kdf"], bytes.fromhex(slot["wrapped"])
        secret = unicodedata.normalize("NFC", passphrase).encode()
        n, r, p = kdf["n"], kdf["r"], kdf["p"]
        key = hashlib.scrypt(secret, salt=bytes.fromhex(kdf["salt"]), n=n, r=r, p=p, dklen=32, maxmem=256 * n * r)
        try:
            return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], self.id)
        except InvalidTag:
            raise Refused("wrong passphrase: it does not open this repository") from None

    def envelope(self, name):
        """One small sealed object; returns its plain bytes and its stored ones."""
        stored = self.read(name)
        if stored[:4] != b"HFE1" or len(stored) < 56:
            raise Refused(f"{name} is not a sealed object")
        key = hkdf(self.key, stored[8:40], b"holdfast envelope")
        body = open_sealed(key, bytes(12), stored[40:], stored[:8] + self.id + name.encode(), name)
        return decompress(stored[4], body, name), stored

    def records(self):
        """The records of the log in order (format.md, 8): their numbers and their entries."""
        previous = ""
        for number, name in enumerate(self.names("log"), 1):
            if name != f"log/{number:020}":
                raise Refused(f"record {number} of the log is missing")
            plain, stored = self.envelope(name)
            record = json.loads(plain)
            if record["version"] != 1 or record["seq"] != number:
                raise Refused(f"{name} is of another version, or another record")
            if blake3 is not None and record["previous"] != previous:
                raise Refused(f"{name} does not follow the record before it")
            previous = blake3(stored).hexdigest() if blake3 is not None else ""
            yield number, record["entries"]

    def snapshots(self):
        """The fold of the log: every COMMIT that no RECLAIM has ended, in log order."""
        live, used = {}, set()
        for _, entries in self.records():
            for entry in entries:
                self.fold(entry, live, used)
        return live

    @staticmethod
    def fold(entry, live, used):
        kind, id = entry["kind"], entry.get("snapshot")
        if kind not in KNOWN:
            raise Refused(f"the log has an entry of kind {kind}, which this reader does not know")
        if kind == "COMMIT" and id not in used:
            used.add(id)
            live[id] = {**entry, "hidden": False, "seen": 0}
        elif kind in ("HIDE", "UNHIDE") and id in live and live[id]["seen"] == entry["version"]:
            live[id].update(hidden=kind == "HIDE", seen=entry["version"] + 1)
        elif kind == "RECLAIM":
            live.pop(id, None)

    def blob(self, pack, offset, length, fingerprint, kind):
        """One value out of a pack (format.md, 6): codec u8 | ciphertext | tag."""
        stored = self.read(pack, offset, length)
        if len(stored) != length or length <= TAG:
            raise Refused(f"{pack} is cut short")
        key = hkdf(self.key, b"", b"holdfast pack " + pack.encode())
        associated = self.id + fingerprint + stored[:1]
        body = open_sealed(key, offset.to_bytes(12, "big"), stored[1:], associated, f"a value at {offset} of {pack}")
        if stored[0] >> 4 != kind:
            raise Refused(f"a value at {offset} of {pack} is of the other kind")
        return decompress(stored[0] & 15, body, f"a value at {offset} of {pack}")

    def directory(self, pack):
        """Fingerprint, offset and length of each value of a pack."""
        size = (self.folder / pack).stat().st_size
        length, entries, end = unpack(">II8s", self.read(pack, max(0, size - 16), 16).rjust(16, b"\0"))
        if end != b"HFPKEND\x01" or length != entries * 40 + TAG or size < length + 24:
            raise Refused(f"{pack} is cut short or not a pack")
        key = hkdf(self.key, b"", b"holdfast pack " + pack.encode())
        sealed = self.read(pack, size - 16 - length, length)
        rows = open_sealed(key, b"\x80" + bytes(11), sealed, self.id + b"directory %d" % entries, f"the directory of {pack}")
        return [unpack_from(">32sII", rows, i * 40) for i in range(entries)]

    def locations(self, fingerprint):
        """All places of a value, by the directories of all packs; read once, when a locator has failed."""
        if self.index is None:
            self.index = {}
            for pack in filter(re.compile(r"^a/\d{20}/[0-9a-f]{8}-[0-9a-f]{8}-p[0-9a-f]{4}$").match, self.names("a")):
                try:
                    for found, offset, length in self.directory(pack):
                        self.index.setdefault(found, []).append((pack, offset, length))
                except (Refused, FileNotFoundError) as error:
                    print(f"passed over: {error}", file=sys.stderr)
        return self.index.get(fingerprint, [])

    def value(self, fingerprint, locator, kind, what):
        """A value's plain bytes: where the locator says, else wherever a directory names it."""
        claim, group, attempt, number, offset, length = unpack(">6sIIHII", locator)
        pack = f"a/{int.from_bytes(claim, 'big'):020}/{group:08x}-{attempt:08x}-p{number:04x}"
        found = [(pack, offset, length)] if length else []
        reason = "it is not in the store"
        for by_index in (False, True):
            for place in self.locations(fingerprint) if by_index else found:
                try:
                    plain = self.blob(*place, fingerprint, kind)
                except (Refused, FileNotFoundError) as error:
                    reason = error
                    continue
                self.by_index += by_index
                self.by_hint += not by_index
                return plain
        raise Refused(f"{what} cannot be had: {reason}")

    def children(self, fingerprint, locator, level, what):
        """The children of a map node: (slot, fingerprint, locator)."""
        node = self.value(fingerprint, locator, 1, what)
        if node[:8] != bytes([*b"HFN\x01", level, 0, 0, 0]):
            raise Refused(f"{what} is not a map node of level {level}")
        slots = [i for i in range(FANOUT) if node[8 + (i >> 3)] >> (i & 7) & 1]
        end = 40 + 32 * len(slots)
        if not matches(fingerprint, node[:end]):
            raise Refused(f"{what} does not have its fingerprint")
        for i, slot in enumerate(slots):
            yield slot, node[40 + 32 * i : 72 + 32 * i], node[end + 24 * i : end + 24 * i + 24].ljust(24, b"\0")

    def extents(self, fingerprint, locator, level=ROOT_LEVEL, position=0):
        """(number, fingerprint, locator) of every extent that is not all zeros, ascending."""
        if level == 0:
            yield position, fingerprint, locator
            return
        for slot, child, hint in self.children(fingerprint, locator, level, f"map node {position} of level {level}"):
            yield from self.extents(child, hint, level - 1, position * FANOUT + slot)

    def restore(self, snapshot, out):
        size, extent_bytes = snapshot["sizeBytes"], snapshot["extentBytes"]
        out.truncate(size)
        if snapshot["root"] is None:
            return
        locator = bytes.fromhex(snapshot["rootLocation"] or "00" * 24)
        for number, fingerprint, hint in self.extents(bytes.fromhex(snapshot["root"]), locator):
            plain = self.value(fingerprint, hint, 0, f"extent {number}")
            if len(plain) != extent_bytes or number * extent_bytes >= size or not matches(fingerprint, plain):
                raise Refused(f"extent {number} is not what its fingerprint names")
            out.seek(number * extent_bytes)
            out.write(plain[: size - number * extent_bytes])


def show(id, snapshot):
    taken = datetime.fromtimestamp(snapshot["takenMs"] / 1000, timezone.utc).isoformat(timespec="milliseconds")
    state = "hidden" if snapshot["hidden"] else "available"
    print(id, snapshot["lineage"], taken, snapshot["sizeBytes"], snapshot["consistency"], state, snapshot["label"] or "", sep="\t")


def run(arguments):
    if "://" in arguments.store:
        raise Refused("--store is a folder; copy a bucket first: aws s3 sync s3://BUCKET/PREFIX/repositories/NAME DIR/repositories/NAME")
    if arguments.passphrase_env not in os.environ:
        raise Refused(f"the environment has no {arguments.passphrase_env}")
    folder = Path(arguments.store) / "repositories" / arguments.repository
    repository = Repository(folder, os.environ[arguments.passphrase_env])
    snapshots = repository.snapshots()
    if arguments.command == "list":
        for id, snapshot in snapshots.items():
            show(id, snapshot)
        return
    if arguments.snapshot not in snapshots:
        raise Refused(f"{arguments.snapshot} is not a live snapshot of this repository; `list` shows them")
    if os.path.lexists(arguments.out):
        raise Refused(f"{arguments.out} exists; name a file that does not")
    partial = Path(arguments.out + ".partial")
    try:
        with open(partial, "wb") as out:
            repository.restore(snapshots[arguments.snapshot], out)
        os.replace(partial, arguments.out)
    finally:
        partial.unlink(missing_ok=True)
    checked = "fingerprints checked" if blake3 is not None else "no blake3 package: checked by authentication tags alone"
    print(f"values read: {repository.by_hint} by locator, {repository.by_index} by directory; {checked}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="Reads a Holdfast repository with docs/format.md alone.")
    for option in ("--store", "--repository", "--passphrase-env"):
        parser.add_argument(option, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    restore = commands.add_parser("restore")
    restore.add_argument("snapshot")
    restore.add_argument("out")
    try:
        run(parser.parse_args())
    except (Refused, OSError) as error:
        sys.exit(f"refused: {error}")
    except (KeyError, TypeError, ValueError) as error:
        sys.exit(f"refused: an object is not of the form that format.md gives ({type(error).__name__}: {error})")


if __name__ == "__main__":
    main()
