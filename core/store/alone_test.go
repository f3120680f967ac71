package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

func TestLaw8_OneHubServesASQLiteFile(t *testing.T) {
	t.Parallel()
	url := storetest.SQLite(t)
	one := storetest.Open(t, url)
	release, err := one.Alone()
	if err != nil {
		t.Fatal(err)
	}
	// By another name it is the same file.
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(strings.TrimPrefix(url, "sqlite://"), link); err != nil {
		t.Fatal(err)
	}
	two := storetest.Open(t, "sqlite://"+link) // which itself is no harm
	_, err = two.Alone()
	if !errors.Is(err, store.ErrNotAlone) {
		t.Fatalf("the second one got %v", err)
	}
	for _, says := range []string{fmt.Sprint("process ", os.Getpid()), link, "stop it first", "Postgres"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	release()
	release, err = two.Alone()
	if err != nil {
		t.Fatalf("after the first one's end: %v", err)
	}
	release()
}

func TestLaw8_HintsReachOtherHubsAndComeBackAfterACut(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	ctx, cancel := context.WithCancel(context.Background())
	one, two := storetest.Open(t, url), storetest.Open(t, url)
	heard := make(chan string, 100)
	done := make(chan struct{})
	go func() { defer close(done); two.Listen(ctx, func(hint string) { heard <- hint }) }()
	defer func() { cancel(); <-done }()
	wait := func(want string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for {
			select {
			case got := <-heard:
				if got == want {
					return
				}
			case <-deadline:
				t.Fatalf("%q was never heard", want)
			}
		}
	}
	wait("") // it listens
	if err := one.Notify(ctx, "journal it's me"); err != nil {
		t.Fatal(err)
	}
	wait("journal it's me")
	// A restart of the server, or a firewall, cuts connections.
	if _, err := one.SQL(ctx).Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`); err != nil {
		t.Fatal(err)
	}
	wait("") // hints may have got lost
	if err := one.Notify(ctx, "again"); err != nil {
		t.Fatal(err)
	}
	wait("again")
}
