package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxElement bounds one member, and any other single value of an answer.
const maxElement = 1 << 20 // bytes

var (
	errTooLarge = errors.New("a single value of it is larger than 1 MiB")
	// errHeadLate says that the members came before the answer told whose they
	// are. The rest was read, so that it is known now.
	errHeadLate = errors.New("the answer's head comes behind its members")
)

// budget lets a limited number of bytes through until it is renewed, so that the
// decoder's memory is bounded by the largest value that is let in.
type budget struct {
	from io.Reader
	left int
}

func (b *budget) renew() { b.left = maxElement }

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// stream reads one answer.
type stream struct {
	in   *budget
	dec  *json.Decoder
	u    Unit
	sink Sink
	a    Answer
	skip bool // the members: nobody said yet whose they are
}

// readAnswer reads an answer from its first byte to its last. A body that breaks
// off is trouble that passes; JSON that is none is not.
func readAnswer(body io.Reader, u Unit, known Head, sink Sink) (Answer, error) {
	in := &budget{from: body}
	in.renew()
	s := &stream{in: in, dec: json.NewDecoder(in), u: u, sink: sink, a: Answer{Head: known, Total: -1}}
	s.dec.UseNumber() // some numbers are larger than any float64
	if u.Kind == Tenant {
		s.a.ID = u.ID
	}
	sink.Begin()
	if err := s.object(); err != nil {
		return s.a, err
	}
	s.in.renew()
	if _, err := s.dec.Token(); !errors.Is(err, io.EOF) {
		return s.a, s.explain(err, "something follows the JSON object")
	}
	if s.a.ID == "" {
		return s.a, s.unusable("it has no applicationId")
	}
	if s.skip {
		return s.a, errHeadLate
	}
	return s.a, nil
}

func (s *stream) unusable(reason string) error {
	return &Unusable{Asked: s.u.asked(), Reason: "the answer cannot be used: " + reason}
}

// explain turns a failure of the decoder into what it means.
func (s *stream) explain(err error, otherwise string) error {
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return s.unusable(otherwise)
	case errors.Is(err, errTooLarge):
		return s.unusable(errTooLarge.Error())
	case errors.As(err, &syntax):
		if syntax.Offset <= 1 {
			return s.unusable("it is not JSON. Is the source's api.url, or its host, where the API is?")
		}
		return s.unusable(fmt.Sprintf("it is not JSON at byte %d", syntax.Offset))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &transient{err: fmt.Errorf("read %s: the answer broke off after %d of them", s.u.asked(), s.a.Members)}
	}
	return &transient{err: fmt.Errorf("read %s: the answer broke off after %d of them: %w", s.u.asked(), s.a.Members, err)}
}

func (s *stream) next() (json.Token, error) {
	s.in.renew()
	t, err := s.dec.Token()
	if err != nil {
		return nil, s.explain(err, "")
	}
	return t, nil
}

// object reads the outermost object.
func (s *stream) object() error {
	t, err := s.next()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return s.unusable("it is no JSON object")
	}
	for s.dec.More() {
		name, err := s.next()
		if err != nil {
			return err
		}
		switch name {
		case "tenantId", "clientId", "applicationId", "tenantName", "applicationName", "tenantSlug":
			err = s.head(name.(string))
		case "totalCount":
			err = s.total()
		case "memberships":
			err = s.members()
		default:
			_, err = s.value()
		}
		if err != nil {
			return err
		}
	}
	_, err = s.next()
	return err
}

// value reads one value as it is.
func (s *stream) value() (json.RawMessage, error) {
	s.in.renew()
	var raw json.RawMessage
	if err := s.dec.Decode(&raw); err != nil {
		return nil, s.explain(err, "")
	}
	return raw, nil
}

func (s *stream) head(name string) error {
	raw, err := s.value()
	if err != nil {
		return err
	}
	var text *string
	if json.Unmarshal(raw, &text) != nil {
		return s.unusable("its " + name + " is no text")
	}
	var r fieldReader
	is := r.text(name, text)
	switch tenant := s.u.Kind == Tenant; {
	case tenant && name == "tenantId", !tenant && name == "clientId":
		// What is asked for is what must be answered: anything else would put
		// people where they are not.
		if text != nil && is != s.u.ID {
			return s.unusable("it is about another " + string(s.u.Kind) + " than was asked for")
		}
	case tenant && name == "tenantName", !tenant && name == "applicationName":
		s.a.Name = is
	case tenant && name == "tenantSlug":
		s.a.Slug = r.short(name, text)
	case !tenant && name == "applicationId":
		s.a.ID = r.key(name, text)
	}
	if r.err != nil {
		return s.unusable(r.err.Error())
	}
	return nil
}

func (s *stream) total() error {
	raw, err := s.value()
	if err != nil {
		return err
	}
	var n *int64
	if json.Unmarshal(raw, &n) != nil || n != nil && *n < 0 {
		return s.unusable("its totalCount is no number of members")
	}
	if n != nil {
		s.a.Total = *n
	}
	return nil
}

// members reads the array of members, one by one.
func (s *stream) members() error {
	t, err := s.next()
	if err != nil {
		return err
	}
	if t == nil {
		return nil
	}
	if t != json.Delim('[') {
		return s.unusable("its memberships are no JSON array")
	}
	if s.a.ID == "" {
		s.skip = true
	}
	for s.more() {
		raw, err := s.value()
		if err != nil {
			return err
		}
		if s.skip {
			continue
		}
		index := s.a.Members
		s.a.Members++
		m, id, err := parseMember(raw, s.u.Kind)
		if err != nil {
			s.sink.Bad(index, id, err.Error())
			continue
		}
		if err := s.sink.Member(s.a.Head, m); err != nil {
			return err
		}
	}
	_, err = s.next()
	return err
}

// more tells whether there is another element. It may have to read for it.
func (s *stream) more() bool {
	s.in.renew()
	return s.dec.More()
}
