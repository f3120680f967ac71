package schema

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes, written as text: "512KiB", "1MiB", "10MB".
// KiB, MiB, GiB and TiB are powers of 1024; kB, MB, GB and TB powers of 1000;
// the case of the letters does not matter, and a bare number counts bytes.
type ByteSize int64

// Sizes of the binary units.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
	TiB ByteSize = 1 << 40
)

var errByteSize = errors.New("reading a size: it takes a whole number with a unit, such as 512KiB, 1MiB or 10MB")

// ParseByteSize reads a size. It refuses fractions, negative sizes and what
// does not fit in an int64; the error does not repeat s.
func ParseByteSize(s string) (ByteSize, error) {
	digits := strings.TrimRight(s, "kKmMgGtTiIbB ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || digits[0] == '+' {
		return 0, errByteSize
	}
	unit, ok := unitSize(strings.ToLower(strings.TrimSpace(s[len(digits):])))
	if !ok || n > math.MaxInt64/int64(unit) {
		return 0, errByteSize
	}
	return ByteSize(n) * unit, nil
}

func unitSize(unit string) (ByteSize, bool) {
	switch unit {
	case "", "b":
		return 1, true
	case "kib":
		return KiB, true
	case "mib":
		return MiB, true
	case "gib":
		return GiB, true
	case "tib":
		return TiB, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// String writes the size in the largest binary unit that divides it: "1MiB",
// "1500B".
func (b ByteSize) String() string {
	units := []struct {
		size ByteSize
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}}
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText is String.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseByteSize.
func (b *ByteSize) UnmarshalText(text []byte) error {
	n, err := ParseByteSize(string(text))
	if err != nil {
		return err
	}
	*b = n
	return nil
}
