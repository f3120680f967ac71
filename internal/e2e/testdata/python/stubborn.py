"""A connector that does what an event's data tells it to: {"do": …}."""
import threading

import avhub

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["secret"],
    "properties": {
        "secret": {"type": "string", "writeOnly": True},
        "level": {"type": "string", "enum": ["low", "high"], "default": "low"},
        "ports": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
    },
}


class Stubborn:
    meet = threading.Barrier(2)
    free = threading.Event()

    def __init__(self, config):
        self.config = config
        if config.get("ports") == [13]:
            raise ValueError("nobody can listen on 13, says " + config["secret"])

    def check(self, http):
        raise avhub.Retry("the key " + self.config["secret"] + " is not known")

    def deliver(self, event, state, http):
        do = event.data()["do"]
        state["seen"] = state.get("seen", 0) + 1
        state["level"] = self.config["level"]
        if do == "retry":
            raise avhub.Retry("not now")
        if do == "wait":
            raise avhub.Retry("not now", after=1.5)
        if do == "reject":
            raise avhub.Reject("never")
        if do == "fail":
            raise RuntimeError("cannot work with " + self.config["secret"])
        if do == "forget":
            state.clear()
        if do == "grow":
            state["fat"] = "x" * (64 << 10)
        if do == "meet":  # two keys that run at once, or nobody comes
            self.meet.wait(5)
        if do == "block":  # whatever its deadline
            self.free.wait()
        if do == "free":
            self.free.set()
        if do == "again" and state["seen"] == 1:
            raise avhub.Again()


avhub.serve(Stubborn, name="stubborn", version="1", summary="does what it is told", events=["*"], schema=SCHEMA)
