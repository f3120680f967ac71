package laws

import "errors"

// rules are the laws in their order. The sentences are what people read, also
// when a law is broken.
func rules() []rule {
	return []rule{
		{Law: Law{1, "configuration", "The schema is valid, required members and enumerations are enforced, defaults hold, and no secret gets out in a log, a reason or a state."}, slow: true, wire: true, judge: judgeConfiguration},
		{Law: Law{2, "twice", "A history that is delivered twice looks like one that was delivered once."}, judge: judgeTwice},
		{Law: Law{3, "batches", "However the events of a key are split into calls, it looks the same."}, flavour: flavour{steps: 12}, judge: judgeBatches},
		{Law: Law{4, "kill", "Killed before or after any request or answer, and started again, it ends like the run that nobody interrupted."}, slow: true, judge: judgeKill},
		{Law: Law{5, "lost reply", "When the effect was made and the reply got lost, there is one effect in the end."}, applies: makesRequests, judge: judgeLostReply},
		{Law: Law{6, "revision", "An event of an older revision that comes late undoes nothing."}, applies: notNotifying, quick: true, write: writePair, judge: judgeRevision},
		{Law: Law{7, "interleaving", "However the events of different keys are mixed, it looks the same."}, applies: hasKeys, flavour: flavour{steps: 10}, judge: judgeInterleaving},
		{Law: Law{8, "bad event", "An event whose data has the wrong types costs itself alone: it is rejected or skipped, and its neighbours land."}, wire: true, judge: judgeBadEvent},
		{Law: Law{9, "outages", "An outside that answers 429, 500 or not at all means retry (429 for as long as it asks), 401 means halt, 400 means reject, and nothing is lost over it."}, applies: makesRequests, slow: true, judge: judgeOutages},
		{Law: Law{10, "snapshot", "A snapshot, delivered to a connector that knows nothing, looks like the full history."}, applies: levelTriggered, flavour: flavour{only: inSnapshot, steps: 10}, judge: judgeSnapshot},
		{Law: Law{11, "cancel", "Deliver returns within a second after its call was cancelled."}, slow: true, wire: true, judge: judgeCancel},
		{Law: Law{12, "drain", "A drain lets what is in flight finish, nothing happens after it, and nothing of the connector is left running."}, slow: true, wire: true, judge: judgeDrain},
		{Law: Law{13, "state", "A state survives JSON, stays under 64 KiB, and an old or an empty one can be read."}, slow: true, wire: true, judge: judgeState},
		{Law: Law{14, "again", "When it answered AGAIN and was cut off afterwards, the effect is found and not made twice."}, slow: true, judge: judgeAgain},
	}
}

func notNotifying(e *engine) error {
	if e.info.GetNotifies() {
		return errors.New("it says that it notifies: an older event is told like any other")
	}
	return nil
}

func levelTriggered(e *engine) error {
	switch {
	case e.info.GetNotifies():
		return errors.New("it says that it notifies: a snapshot does not tell what happened")
	case e.info.GetKeepsHistory():
		return errors.New("it says that it keeps history: a snapshot does not tell the way")
	}
	for _, typ := range e.types {
		if inSnapshot(typ) {
			return nil
		}
	}
	return errors.New("it wants no type of event that comes in a snapshot")
}

func hasKeys(e *engine) error {
	if e.info.GetOrder() == orderTotal {
		return errors.New("its order is total: everything is one key")
	}
	return nil
}

// makesRequests is decided again for each history; it stops at once where the
// world has no gate.
func makesRequests(e *engine) error {
	if e.blind {
		return errors.New("its requests do not come by here: that takes a fake world")
	}
	return nil
}

// inSnapshot tells whether a type is about one of the rows that a snapshot has,
// and leaves it there: what is gone is in no snapshot.
func inSnapshot(typ string) bool {
	switch typ {
	case "tenant.created", "tenant.updated", "tenant.suspended",
		"subject.created", "subject.updated", "subject.deactivated",
		"application.created", "application.updated",
		"sso.provider_added", "sso.provider_updated":
		return true
	}
	return false
}
