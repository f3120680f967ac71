package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/avhub/avhub/sdk/plugin/plugintest"
)

// folder is a trail's folder. What is seen of it are the events of each stream,
// in their order, without what differs between two trails: keys.
func folder(t testing.TB) (config, func() any) {
	dir := filepath.Join(t.TempDir(), "trail")
	return config{Dir: dir, Origin: "audit.example", Interval: 100 * time.Millisecond}, func() any { return seen(t, dir) }
}

type told struct {
	Kind, Type, Stream string
	EventID            string `json:"event_id"`
	Seq                int64
	Changes            []struct{ Path, Basis string }
}

// seen reads the write-ahead file first, then the log: what is in neither is in
// no trail.
func seen(t testing.TB, dir string) map[string][]told {
	t.Helper()
	entries := map[int64][]byte{}
	segments, _ := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	for _, name := range segments {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		i, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".wal"), 10, 64)
		for ; len(data) >= 8; i++ {
			n := 8 + int(binary.BigEndian.Uint32(data))
			if n > len(data) {
				break // torn by a kill
			}
			entries[i], data = data[8:n], data[n:]
		}
	}
	d := tiles.Dir{FS: os.DirFS(filepath.Join(dir, "log"))}
	raw, err := d.Checkpoint()
	if err == nil {
		var head tiles.Checkpoint
		if head, err = tiles.OpenCheckpoint(raw); err == nil {
			err = d.Scan(t.Context(), head.Head, func(i int64, data []byte) error {
				entries[i] = bytes.Clone(data)
				return nil
			})
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	streams := map[string][]told{}
	for _, i := range slices.Sorted(maps.Keys(entries)) {
		var e told
		if err := json.Unmarshal(entries[i], &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == "event" || e.Kind == "conflict" {
			streams[e.Stream] = append(streams[e.Stream], e)
		}
	}
	return streams
}

func TestLaws(t *testing.T) { plugintest.Run(t, connectorPlugin(), folder) }
