// Package admin serves operators over HTTP: whether the hub lives, whether it is
// ready, and its metrics.
//
// Two things keep strangers out. With a token, what tells more than a word needs
// it. Without one the hub listens on loopback only, and then the danger is the
// operator's own browser: a page on the internet can point its own name at
// 127.0.0.1 and read what answers there (DNS rebinding), so only requests whose
// Host header names this machine are served.
package admin
