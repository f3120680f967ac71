package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// SQL runs statements that both databases understand, written with ? for
// parameters. Use it where ent, row by row, would be several times slower.
type SQL struct {
	store *Store
	tx    *transaction // nil outside of a transaction
	db    *sql.DB
}

// SQL returns a runner in the transaction that ctx carries, or else on the
// connection that writes.
func (s *Store) SQL(ctx context.Context) SQL {
	return SQL{store: s, tx: txFrom(ctx, s), db: s.writer}
}

// ReadSQL returns a runner for queries outside of any transaction.
func (s *Store) ReadSQL() SQL { return SQL{store: s, db: s.reader} }

// Exec runs a statement and returns the number of rows that it changed.
func (q SQL) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	query = q.store.rebind(query)
	var res sql.Result
	var err error
	switch stmt := q.prepared(ctx, query); {
	case stmt != nil:
		res, err = stmt.ExecContext(ctx, args...)
	case q.tx != nil:
		res, err = q.tx.tx.ExecContext(ctx, query, args...)
	default:
		res, err = q.db.ExecContext(ctx, query, args...)
	}
	if err != nil {
		return 0, err
	}
	came(ctx)
	return res.RowsAffected()
}

// Query runs a query and calls scan for each row.
func (q SQL) Query(ctx context.Context, scan func(rows *sql.Rows) error, query string, args ...any) error {
	query = q.store.rebind(query)
	var rows *sql.Rows
	var err error
	switch stmt := q.prepared(ctx, query); {
	case stmt != nil:
		rows, err = stmt.QueryContext(ctx, args...)
	case q.tx != nil:
		rows, err = q.tx.tx.QueryContext(ctx, query, args...)
	default:
		rows, err = q.db.QueryContext(ctx, query, args...)
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	came(ctx)
	return rows.Err()
}

func (q SQL) prepared(ctx context.Context, query string) *sql.Stmt {
	if q.tx == nil || q.tx.snapshot || q.store.dialect != SQLite {
		return nil // pgx keeps prepared statements itself
	}
	stmt := q.store.statements.get(query)
	if stmt == nil {
		return nil
	}
	return q.tx.tx.StmtContext(ctx, stmt)
}

// maxChunk rows, and maxParams parameters (SQLite's limit is 32,766, Postgres's
// 65,535), go into one statement at most.
const (
	maxChunk  = 256
	maxParams = 30000
)

// Chunks cuts n rows of width parameters into statements whose sizes are powers
// of two, so that there are few different texts to parse and to keep prepared.
func Chunks(n, width int, fn func(from, to int) error) error {
	return chunks(n, min(maxChunk, maxParams/width), fn)
}

func chunks(n, most int, fn func(from, to int) error) error {
	size := 1
	for 2*size <= most {
		size *= 2
	}
	for from := 0; from < n; {
		for size > n-from {
			size /= 2
		}
		if err := fn(from, from+size); err != nil {
			return err
		}
		from += size
	}
	return nil
}

// liteParams bounds the parameters of one insert on SQLite, whose driver looks
// for each of them among all: many wide rows in one statement cost more to bind
// than to execute. A round trip costs nothing there.
const liteParams = 256

// Insert adds rows with as few statements as suits the database: insert is the
// text up to VALUES, suffix what follows the rows (such as ON CONFLICT …).
// Values are string, int, int64, bool, []byte, time.Time, JSON or nil; a column
// has values of one type.
func (q SQL) Insert(ctx context.Context, insert string, rows [][]any, suffix string) error {
	if len(rows) == 0 {
		return nil
	}
	if q.store.dialect == Postgres {
		return q.insertArrays(ctx, insert, rows, suffix)
	}
	// SQLite would copy every page before a statement of several rows changes it,
	// to undo that statement alone. Whoever inserts gives up the transaction
	// when a statement fails, so that is not needed.
	insert = strings.Replace(insert, "INSERT INTO", "INSERT OR FAIL INTO", 1)
	width := len(rows[0])
	return chunks(len(rows), max(liteParams/width, 1), func(from, to int) error {
		args := make([]any, 0, (to-from)*width)
		for _, row := range rows[from:to] {
			args = append(args, row...)
		}
		_, err := q.Exec(ctx, insert+" VALUES "+Tuples(to-from, width)+" "+suffix, args...)
		return err
	})
}

// In runs query, in which "IN %s" stands for a list of strings, for all of values
// in as many statements as it takes; args come before them.
func (q SQL) In(ctx context.Context, scan func(rows *sql.Rows) error, query string, values []string, args ...any) error {
	if len(values) == 0 {
		return nil
	}
	if q.store.dialect == Postgres {
		return q.Query(ctx, scan, strings.Replace(query, "IN %s", anyOf, 1), append(slices.Clip(args), values)...)
	}
	return Chunks(len(values), 1, func(from, to int) error {
		all := append(make([]any, 0, len(args)+to-from), args...)
		for _, v := range values[from:to] {
			all = append(all, v)
		}
		return q.Query(ctx, scan, fmt.Sprintf(query, Tuples(1, to-from)), all...)
	})
}

// Tuples returns n comma-separated groups of width parameters: "(?,?),(?,?)".
func Tuples(n, width int) string {
	group := "(" + strings.Repeat("?,", width-1) + "?)"
	return strings.Repeat(group+",", n-1) + group
}

// rebind turns ? into $1, $2, … for Postgres. No statement of ours has a
// question mark in a literal.
func (s *Store) rebind(query string) string {
	if s.dialect != Postgres || !strings.Contains(query, "?") {
		return query
	}
	if cached, ok := s.statements.rebound.Load(query); ok {
		return cached.(string)
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	s.statements.rebound.Store(query, b.String())
	return b.String()
}

// statements keeps what was prepared on SQLite's one writing connection. A
// statement cannot be prepared while a transaction holds that connection, so a
// text that was missed is noted and prepared before the next transaction.
type statements struct {
	rebound sync.Map // query with ? → query with $n; texts are few, see Chunks

	mu     sync.Mutex
	ready  map[string]*sql.Stmt
	wanted []string
}

const maxStatements = 256

func (p *statements) get(query string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	stmt, ok := p.ready[query]
	if !ok && len(p.ready) < maxStatements {
		if p.ready == nil {
			p.ready = map[string]*sql.Stmt{}
		}
		p.ready[query] = nil // noted once
		p.wanted = append(p.wanted, query)
	}
	return stmt
}

func (p *statements) prepareWanted(ctx context.Context, s *Store) error {
	p.mu.Lock()
	wanted := p.wanted
	p.wanted = nil
	p.mu.Unlock()
	for _, query := range wanted {
		stmt, err := s.writer.PrepareContext(ctx, query)
		p.mu.Lock()
		if err != nil {
			delete(p.ready, query) // asked for again next time
			p.mu.Unlock()
			return fmt.Errorf("prepare statement: %w", err)
		}
		p.ready[query] = stmt
		p.mu.Unlock()
	}
	return nil
}

func (p *statements) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stmt := range p.ready {
		if stmt != nil {
			_ = stmt.Close()
		}
	}
	p.ready = nil
}
