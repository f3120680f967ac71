"""One call of Deliver: its events, in lanes by key, and the answer."""
import json
import threading

from . import connector_pb2 as pb
from . import log
from .http import Http
from .verdict import Skip

STATES = 12 << 20  # bytes of states in an answer, of which a message may have 16 MiB


class Event:
    """An event: what the message Event of connector.proto has, its data, and rows of the hub's mirror."""

    def __init__(self, wire):
        self.wire = wire

    def __getattr__(self, name):
        return getattr(self.wire, name)

    def data(self):
        return json.loads(self.wire.data)

    def entity(self, kind):
        """The row as it stands now; None if there is none any more."""
        for entity in self.wire.entities:
            if entity.kind == kind:
                return json.loads(entity.json) if entity.json else None
        raise Skip(f"it came without the {kind} that it is about")


class Batch:
    """The events of one Deliver. Lanes settle them; after the answer, what still comes is dropped."""

    def __init__(self, request, until, reserve):
        self.events, self.states, self.http, self.reserve = request.events, request.states, Http(until), reserve
        self.lock, self.answered, self.running = threading.Lock(), False, set()
        self.over, self.done = threading.Event(), threading.Event()  # there is no more time; no lane is at work
        self.verdicts, self.changed, self.lanes = [None] * len(self.events), {}, {}
        for i, event in enumerate(self.events):
            self.lanes.setdefault(event.key, []).append(i)
        self.left = len(self.lanes)

    def lane_ended(self):
        """True for the last one."""
        with self.lock:
            self.left -= 1
            return self.left == 0

    def cut(self):
        self.http.end()
        self.over.set()

    def start(self, i):
        with self.lock:
            if self.answered or self.http.ended or sum(map(len, self.changed.values())) > STATES:
                return False
            self.running.add(i)
            return True

    def settle(self, i, kind, error=None, state=None):
        verdict = pb.Verdict(position=self.events[i].position, kind=kind)
        if error is not None:
            verdict.reason, after = log.reason(error), getattr(error, "after", 0)
            if kind == pb.Verdict.KIND_RETRY and after > 0:
                verdict.throttled, verdict.retry_after_ms = True, int(after * 1000) + 1
        with self.lock:
            self.running.discard(i)
            if not self.answered:
                self.verdicts[i] = verdict
                if state is not None:
                    self.changed[self.events[i].key] = state

    def answer(self):
        with self.lock:
            self.answered = True
            for i, event in enumerate(self.events):
                if self.verdicts[i] is None and i in self.running:
                    self.verdicts[i] = pb.Verdict(position=event.position, kind=pb.Verdict.KIND_RETRY,
                                                  reason="deliver did not return in time")
                elif self.verdicts[i] is None:
                    self.verdicts[i] = pb.Verdict(position=event.position, kind=pb.Verdict.KIND_HELD)
            return pb.DeliverResponse(verdicts=self.verdicts, states=self.changed)
