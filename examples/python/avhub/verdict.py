"""What can become of an event, other than that it was applied. The text is shown to operators."""
from . import connector_pb2 as pb


class Verdict(Exception):
    """after is in seconds, for Retry: the other side named the time, and the attempt is not counted."""

    def __init__(self, reason="", after=0):
        super().__init__(reason)
        self.after = after


class Skip(Verdict): kind = pb.Verdict.KIND_SKIPPED   # there is nothing to do
class Again(Verdict): kind = pb.Verdict.KIND_AGAIN    # save the state, deliver the same event again at once
class Retry(Verdict): kind = pb.Verdict.KIND_RETRY    # not now
class Reject(Verdict): kind = pb.Verdict.KIND_REJECT  # never
class Halt(Verdict): kind = pb.Verdict.KIND_HALT      # nothing works until the configuration changes
