#!/usr/bin/env python3
"""Judges an audit trail with nothing but Python's standard library.

  auditor.py log DIR --key KEY [--since FILE]   DIR has the file checkpoint
  auditor.py proof FILE.proof FILE.entry --key KEY
  auditor.py bundle DIR --key KEY               DIR is a bundle, unpacked

KEY is the trail's public key, or a file with it, that you got another way than
the trail. Exit codes: 0 fine, 1 tampered, 2 incomplete, 3 not authenticated,
4 wrong use.
"""
import base64
import hashlib
import json
import os
import sys

# Ed25519 (RFC 8032), verification only, in extended coordinates.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


class Wrong(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def recover(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = add(out, p)
        p = add(p, p)
        n >>= 1
    return out


def point(raw):
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = recover(y, sign) if y < P else None
    return None if x is None else (x, y, 1, x * y % P)


GY = 4 * pow(5, P - 2, P) % P
GX = recover(GY, 0)
BASE = (GX, GY, 1, GX * GY % P)


def signed_by(public, message, signature):
    a, r = point(public), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(k, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def keys_of(text):
    """Public keys in note form: NAME+HASH+base64(0x01 key)."""
    if os.path.exists(text):
        with open(text) as f:
            text = f.read()
    keys = {}
    for line in text.split():
        name, number, data = line.split("+", 2)
        raw = base64.b64decode(data, validate=True)
        want = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        if raw[0] != 1 or len(raw) != 33 or want.hex() != number:
            raise Wrong(4, "not a public key: " + line)
        keys[name, want] = raw[1:]
    return keys


OPENED = {}


def open_checkpoint(raw, keys):
    """Returns origin, size and root of a checkpoint that one of the keys signed."""
    if raw not in OPENED:
        OPENED[raw] = opened(raw, keys)
    return OPENED[raw]


def opened(raw, keys):
    text, _, below = raw.decode().rpartition("\n\n")
    text += "\n"
    signed = False
    for line in below.splitlines():
        dash, name, data = line.split(" ")
        sig = base64.b64decode(data, validate=True)
        public = keys.get((name, sig[:4]))
        if dash != "\u2014" or public is None:
            continue
        if not signed_by(public, text.encode(), sig[4:]):
            raise Wrong(3, "the checkpoint's signature is false")
        signed = True
    if not signed:
        raise Wrong(3, "none of the given keys signed the checkpoint")
    origin, size, root = text.split("\n")[:3]
    return origin, int(size), base64.b64decode(root, validate=True)


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def path_of(n):
    parts = ["%03d" % (n % 1000)]
    while n >= 1000:
        n //= 1000
        parts.insert(0, "x%03d" % (n % 1000))
    return "/".join(parts)


def entries_of(folder, size):
    """Yields all entries, from bundles of 256, each with two bytes of length."""
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        full = os.path.join(folder, "tile", "entries", *path_of(n).split("/"))
        name = full if width == 256 or not os.path.exists("%s.p/%d" % (full, width)) else "%s.p/%d" % (full, width)
        try:
            with open(name, "rb") as f:
                data = f.read()
        except FileNotFoundError:
            raise Wrong(2, "from entry %d on: %s is missing" % (n * 256, name))
        at = 0
        for i in range(width):
            length = int.from_bytes(data[at:at + 2], "big")
            if at + 2 + length > len(data):
                raise Wrong(1, "entry %d: %s ends too early" % (n * 256 + i, name))
            yield data[at + 2:at + 2 + length]
            at += 2 + length


class Tree:
    """All hashes of a tree, by level, of perfect subtrees."""

    def __init__(self, leaves):
        self.levels = [list(leaves)]
        while len(self.levels[-1]) > 1:
            below = self.levels[-1]
            self.levels.append([node(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])

    def root(self, size):
        out, at, level = None, size, 0
        while at:
            if at & 1:
                h = self.levels[level][at - 1]
                out = h if out is None else node(h, out)
            at >>= 1
            level += 1
        return hashlib.sha256(b"").digest() if out is None else out

    def span(self, start, end):
        """The hash of the entries start <= i < end, start at a subtree's beginning."""
        n = end - start
        if n & (n - 1) == 0:
            level = n.bit_length() - 1
            return self.levels[level][start >> level]
        half = 1 << ((n - 1).bit_length() - 1)
        return node(self.span(start, start + half), self.span(start + half, end))

    def proof(self, index, size):
        out, start, end = [], 0, size
        while end - start > 1:
            half = 1 << ((end - start - 1).bit_length() - 1)
            if index < start + half:
                out.insert(0, self.span(start + half, end))
                end = start + half
            else:
                out.insert(0, self.span(start, start + half))
                start += half
        return out


def root_by(path, index, size, entry):
    """The root that a proof of inclusion leads to (RFC 9162, 2.1.3.2)."""
    fn, sn, r = index, size - 1, leaf(entry)
    for p in path:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node(p, r)
            while fn and not fn & 1:
                fn >>= 1
                sn >>= 1
        else:
            r = node(r, p)
        fn >>= 1
        sn >>= 1
    return r if sn == 0 else None


def check_proof(proof, entry, keys):
    head, _, checkpoint = proof.partition(b"\n\n")
    lines = head.decode().split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1" or not lines[1].startswith("index "):
        raise Wrong(1, "not a proof")
    index = int(lines[1][6:])
    origin, size, root = open_checkpoint(checkpoint, keys)
    path = [base64.b64decode(line, validate=True) for line in lines[2:]]
    if index >= size or root_by(path, index, size, entry) != root:
        raise Wrong(1, "the proof of entry %d does not hold" % index)
    return origin, index, size


def judge_log(folder, keys, since):
    with open(os.path.join(folder, "checkpoint"), "rb") as f:
        origin, size, root = open_checkpoint(f.read(), keys)
    raws = list(entries_of(folder, size))
    tree = Tree([leaf(raw) for raw in raws])
    if tree.root(size) != root:
        raise Wrong(1, "the entries do not have the root that was signed")
    streams, gaps = {}, []
    for i, raw in enumerate(raws):
        entry = json.loads(raw)
        if entry["kind"] == "event":
            want = streams.get(entry["stream"], 0) + 1
            if entry["seq"] != want:
                gaps.append("entry %d is number %d of %s, number %d was to come" % (i, entry["seq"], entry["stream"], want))
            streams[entry["stream"]] = entry["seq"]
    for name in since:
        with open(name, "rb") as f:
            was, old, old_root = open_checkpoint(f.read(), keys)
        if was != origin or old > size or tree.root(old) != old_root:
            raise Wrong(1, "FORK or roll-back: the trail does not go on from " + name)
    if gaps:
        raise Wrong(2, "; ".join(gaps[:10]))
    return origin, size, tree


def main(args):
    options = {"--key": [], "--since": []}
    rest = []
    while args:
        a = args.pop(0)
        if a in options and args:
            options[a].append(args.pop(0))
        else:
            rest.append(a)
    keys = {}
    for k in options["--key"]:
        keys.update(keys_of(k))
    if len(rest) == 2 and rest[0] == "log" and keys:
        origin, size, _ = judge_log(rest[1], keys, options["--since"])
        print("fine: %s, %d entries, unmodified and complete" % (origin, size))
    elif len(rest) == 3 and rest[0] == "proof" and keys:
        with open(rest[1], "rb") as p, open(rest[2], "rb") as e:
            origin, index, size = check_proof(p.read(), e.read(), keys)
        print("fine: entry %d of %s, under a checkpoint over %d" % (index, origin, size))
    elif len(rest) == 2 and rest[0] == "bundle" and keys:
        names = sorted(n[:-6] for n in os.listdir(os.path.join(rest[1], "entries")) if n.endswith(".entry"))
        for n in names:
            base = os.path.join(rest[1], "entries", n)
            with open(base + ".proof", "rb") as p, open(base + ".entry", "rb") as e:
                check_proof(p.read(), e.read(), keys)
        print("fine: %d entries, each proved" % len(names))
    else:
        print(__doc__, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Wrong as e:
        print("WRONG: %s" % e, file=sys.stderr)
        sys.exit(e.code)
    except (OSError, ValueError, KeyError) as e:
        print("cannot be read: %s" % e, file=sys.stderr)
        sys.exit(4)
