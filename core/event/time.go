package event

import "time"

// parseTime reads an ISO 8601 date and time in the profile of RFC 3339: seconds
// present, any number of fractional digits, and a zone, which may also be
// written without its colon. The result is UTC and cut (not rounded) to
// microseconds, the precision that both databases can hold. Leap seconds and
// times outside the years 1 to 9999 of UTC are refused: they could not be
// stored and read back as what they were.
//
// time.Parse is not used: it also takes single-digit hours and a comma before
// the fraction, and says nothing about the year after the shift to UTC.
func parseTime(b []byte) (time.Time, bool) {
	p := timeParser{b: b, ok: true}
	year := p.number(4)
	p.literal('-', '-')
	month := p.number(2)
	p.literal('-', '-')
	day := p.number(2)
	p.literal('T', 't')
	hour := p.number(2)
	p.literal(':', ':')
	minute := p.number(2)
	p.literal(':', ':')
	second := p.number(2)
	micros := p.fraction()
	offset := p.zone()
	if !p.ok || len(p.b) != 0 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, micros*1000, time.UTC)
	if t.Day() != day { // the month is shorter
		return time.Time{}, false
	}
	t = t.Add(-offset)
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}

// timeParser eats a time from the left; ok stays false after the first mismatch.
type timeParser struct {
	b  []byte
	ok bool
}

func (p *timeParser) number(digits int) int {
	if len(p.b) < digits {
		p.ok = false
		return 0
	}
	n := 0
	for _, c := range p.b[:digits] {
		if c < '0' || c > '9' {
			p.ok = false
			return 0
		}
		n = n*10 + int(c-'0')
	}
	p.b = p.b[digits:]
	return n
}

func (p *timeParser) literal(c, alternative byte) {
	if len(p.b) == 0 || p.b[0] != c && p.b[0] != alternative {
		p.ok = false
		return
	}
	p.b = p.b[1:]
}

// fraction returns the fraction of the second in microseconds.
func (p *timeParser) fraction() int {
	if len(p.b) == 0 || p.b[0] != '.' {
		return 0
	}
	p.b = p.b[1:]
	micros, digits := 0, 0
	for len(p.b) > 0 && '0' <= p.b[0] && p.b[0] <= '9' {
		if digits < 6 {
			micros = micros*10 + int(p.b[0]-'0')
		}
		digits++
		p.b = p.b[1:]
	}
	if digits == 0 {
		p.ok = false
	}
	for ; digits < 6; digits++ {
		micros *= 10
	}
	return micros
}

func (p *timeParser) zone() time.Duration {
	if len(p.b) == 0 {
		p.ok = false
		return 0
	}
	sign := p.b[0]
	p.b = p.b[1:]
	switch sign {
	case 'Z', 'z':
		return 0
	case '+', '-':
	default:
		p.ok = false
		return 0
	}
	hours := p.number(2)
	if len(p.b) > 0 && p.b[0] == ':' {
		p.b = p.b[1:]
	}
	minutes := p.number(2)
	if hours > 23 || minutes > 59 {
		p.ok = false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if sign == '-' {
		return -offset
	}
	return offset
}
