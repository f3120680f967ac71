"""agree.py LOG KEY PROOFS: holds proofs and heads of one implementation against another."""
import base64
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "verify"))
sys.dont_write_bytecode = True
import auditor  # noqa: E402

b64 = base64.b64decode
with open(sys.argv[3]) as f:
    said = json.load(f)
origin, size, tree = auditor.judge_log(sys.argv[1], auditor.keys_of(sys.argv[2]), [])
assert size == said["size"], (size, said["size"])
root = b64(said["root"])
for p in said["proofs"]:
    entry, path = b64(p["entry"]), [b64(h) for h in p["path"] or []]
    assert tree.proof(p["index"], size) == path, "the path of entry %d" % p["index"]
    assert auditor.root_by(path, p["index"], size, entry) == root, "the proof of entry %d" % p["index"]
    assert auditor.root_by(path, p["index"], size, entry + b" ") != root, "entry %d, changed" % p["index"]
for h in said["heads"]:
    assert tree.root(h["size"]) == b64(h["root"]), "the head of %d" % h["size"]
print("%d proofs and %d heads agree" % (len(said["proofs"]), len(said["heads"])))
