package source_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/source"
)

// counters returns metrics and a way to read them, by series.
func counters(t testing.TB) (*source.Metrics, func() map[string]float64) {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := source.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	return m, func() map[string]float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.Metric {
				out[f.GetName()+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return out
	}
}

func labels(m *dto.Metric) string {
	var parts []string
	for _, l := range m.Label {
		parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestAFailingJournalIsTheHubsTroubleAndPasses(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))
	b.journal.fail = errDiskFull
	for range 20 {
		send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)).want(t, 503, source.ReasonJournal)
	}
	if n := strings.Count(b.log.String(), errDiskFull.Error()); n < 1 || n > 3 {
		t.Errorf("the failing journal was logged %d times for 20 requests: %s", n, b.log)
	}
	b.journal.mu.Lock()
	b.journal.fail = nil
	b.journal.mu.Unlock()
	if a := send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)); a.code != 200 {
		t.Errorf("after the outage: %+v", a)
	}
}

func TestAPanicIsAnsweredWith503(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))
	b.journal.crash = true
	send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)).want(t, 503, source.ReasonInternal)
	if log := b.log.String(); strings.Contains(log, "ada@example.com") || !strings.Contains(log, "met a bug") {
		t.Errorf("log: %s", log)
	}
}

// blockingJournal tells when it is asked and answers when it is let.
type blockingJournal struct {
	asked   chan struct{}
	release chan struct{}
	ended   chan error // the context's error at the end of the append
}

func (j *blockingJournal) Append(ctx context.Context, _ *event.Event) (journal.Receipt, error) {
	close(j.asked)
	<-j.release
	j.ended <- ctx.Err()
	return journal.Receipt{Outcome: journal.Accepted, Position: 1}, nil
}

func TestLaw1_AVerifiedEventIsJournaledThoughItsSenderHangsUp(t *testing.T) {
	t.Parallel()
	j := &blockingJournal{asked: make(chan struct{}), release: make(chan struct{}), ended: make(chan error, 1)}
	gone := make(chan struct{})
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(_ *source.Config, d *source.Deps, srv *http.Server) {
		d.Journal = j
		next := srv.Handler
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			context.AfterFunc(r.Context(), func() { close(gone) })
			next.ServeHTTP(w, r)
		})
	})
	ctx, hangUp := context.WithCancel(t.Context())
	r := system(t, b.url, signingKey(), "k1", systemBody).WithContext(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := &http.Client{Transport: &http.Transport{}}
		if resp, err := client.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-j.asked
	hangUp()
	<-done
	<-gone // the server noticed
	close(j.release)
	if err := <-j.ended; err != nil {
		t.Errorf("the append was cut off with its sender: %v", err)
	}
}

func TestLaw1_NoAnswerBeforeTheEventIsDurable(t *testing.T) {
	t.Parallel()
	j := &blockingJournal{asked: make(chan struct{}), release: make(chan struct{}), ended: make(chan error, 1)}
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(_ *source.Config, d *source.Deps, _ *http.Server) { d.Journal = j })
	// On a raw connection a single byte of an answer would be seen.
	conn := dial(t, b)
	if err := webhook(t, b.url, signingKey(), "k1", webhookBody).Write(conn); err != nil {
		t.Fatal(err)
	}
	<-j.asked
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatalf("%d bytes were answered before the journal was done", n)
	}
	close(j.release)
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if a := answerOn(t, conn); a.code != 200 || a.Status != "accepted" {
		t.Errorf("got %+v", a)
	}
}

func dial(t *testing.T, b *bundle) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func answerOn(t *testing.T, conn net.Conn) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// head writes a signed request's header by hand, so that the body may be
// anything.
func head(t *testing.T, conn net.Conn, extra ...string) {
	t.Helper()
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	lines := append([]string{
		"POST /webhooks/authvital HTTP/1.1", "Host: hub", "Content-Type: application/json",
		"X-AuthVital-Key-Id: k1", "X-AuthVital-Timestamp: " + stamp,
		"X-AuthVital-Signature: " + sign(signingKey(), stamp+"."+webhookBody),
	}, extra...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(_ *source.Config, _ *source.Deps, srv *http.Server) {
		srv.ReadTimeout = time.Second
	})
	for _, row := range []struct {
		name   string
		header string
		body   string
		end    bool // no more bytes will come
		code   int
		reason source.Reason
	}{
		{"breaks off", "Content-Length: " + strconv.Itoa(len(webhookBody)), webhookBody[:50], true, 408, source.ReasonTruncated},
		{"breaks off in a chunk", "Transfer-Encoding: chunked", "ff\r\n" + webhookBody[:50], true, 408, source.ReasonTruncated},
		{"never ends", "Content-Length: " + strconv.Itoa(len(webhookBody)), webhookBody[:50], false, 408, source.ReasonSlow},
		{"malformed chunk", "Transfer-Encoding: chunked", "zz\r\n" + webhookBody, true, 400, source.ReasonUnreadable},
		{"announces a gigabyte", "Content-Length: 1073741824", "", false, 413, source.ReasonTooLarge},
		{"chunks without end", "Transfer-Encoding: chunked", strings.Repeat("400\r\n"+strings.Repeat(" ", 1024)+"\r\n", 5), false, 413, source.ReasonTooLarge},
		{"in chunks, but whole", "Transfer-Encoding: chunked", fmt.Sprintf("10\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", webhookBody[:16], len(webhookBody)-16, webhookBody[16:]), false, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, b)
			head(t, conn, row.header)
			if _, err := io.WriteString(conn, row.body); err != nil {
				t.Fatal(err)
			}
			if row.end {
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			answerOn(t, conn).want(t, row.code, row.reason)
		})
	}
}

func TestALineBreakCannotSmuggleAHeader(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))
	conn := dial(t, b)
	head(t, conn, "Content-Length: "+strconv.Itoa(len(webhookBody)), "X-AuthVital-Key-Id : k1")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a header name with a space got %d", resp.StatusCode)
	}
}
