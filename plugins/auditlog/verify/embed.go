package verify

import _ "embed" // for Auditor

// Auditor is a second implementation of the judgement, in Python with its
// standard library alone. Bundles carry it.
//
//go:embed auditor.py
var Auditor []byte
