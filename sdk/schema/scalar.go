package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scalar reads one word: text, a bool, a number, a duration or a size.
func (d *decoder) scalar(n *node, v any, into reflect.Value, path Path, secret bool) {
	switch n.form {
	case formText, formCustomText:
		text, ok := v.(string)
		if !ok {
			d.wrongType(n, v, path)
			return
		}
		if n.form == formCustomText {
			d.customText(n, text, into, path, secret)
			return
		}
		into.SetString(text)
		if d.word(n, text, path, secret) {
			d.length(n, utf8.RuneCountInString(text), "characters", path)
		}
	case formBool:
		b, ok := boolean(v)
		if !ok {
			d.wrongType(n, v, path)
			return
		}
		into.SetBool(b)
	case formInt:
		d.integer(n, v, into, path, secret)
	case formFloat:
		text, ok := number(v)
		f, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.wrongType(n, v, path)
			return
		}
		if into.OverflowFloat(f) {
			d.problem(path, OutOfRange, "does not fit", "the number is too large for what it is used for")
			return
		}
		into.SetFloat(f)
		d.within(n, n.min != nil && f < n.min.f, n.max != nil && f > n.max.f, path)
	case formDuration:
		t, ok := parseDuration(v)
		if !ok {
			d.wrongType(n, v, path)
			return
		}
		into.SetInt(int64(t))
		d.integral(n, int64(t), path)
	case formSize:
		text, ok := number(v) // a bare number counts bytes
		size, err := ParseByteSize(text)
		if !ok || err != nil {
			d.wrongType(n, v, path)
			return
		}
		into.SetInt(int64(size))
		d.integral(n, int64(size), path)
	}
}

func boolean(v any) (value, ok bool) {
	if text, isText := v.(string); isText {
		return text == "true", text == "true" || text == "false"
	}
	value, ok = v.(bool)
	return value, ok
}

// number gives a number the way it is written in decimals, and passes text on.
// One notation for all the types that trees are made of keeps large whole
// numbers exact.
func number(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	value := reflect.ValueOf(v)
	switch {
	case value.CanInt():
		return strconv.FormatInt(value.Int(), 10), true
	case value.CanUint():
		return strconv.FormatUint(value.Uint(), 10), true
	case value.CanFloat():
		f := value.Float()
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10), true
		}
		return strconv.FormatFloat(f, 'g', -1, 64), true
	}
	return "", false
}

func (d *decoder) integer(n *node, v any, into reflect.Value, path Path, secret bool) {
	text, ok := number(v)
	if !ok {
		d.wrongType(n, v, path)
		return
	}
	if _, isText := v.(string); !isText {
		text = plainInteger(text)
	}
	if !wholeNumber(text) {
		found := kindOf(v)
		if found == "a number" {
			found = "a fraction"
		}
		d.problem(path, WrongType, "wrong type: needs "+n.words()+", found "+found, n.notation())
		return
	}
	i, err := strconv.ParseInt(text, 10, 64)
	u, uerr := strconv.ParseUint(text, 10, 64)
	switch {
	case into.CanUint() && uerr == nil && !into.OverflowUint(u):
		into.SetUint(u)
		i = int64(min(u, math.MaxInt64)) // bounds are no larger
	case into.CanInt() && err == nil && !into.OverflowInt(i):
		into.SetInt(i)
	default:
		d.problem(path, OutOfRange, "does not fit", "it may be from "+rangeOf(n.typ.Bits(), into.CanUint()))
		return
	}
	if d.word(n, strconv.FormatInt(i, 10), path, secret) {
		d.integral(n, i, path)
	}
}

// plainInteger writes a number such as 3.0 or 1e3 without its point or
// exponent, when that is exact.
func plainInteger(text string) string {
	if wholeNumber(text) {
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return text
	}
	return strconv.FormatInt(int64(f), 10)
}

func wholeNumber(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

func rangeOf(bits int, unsigned bool) string {
	if unsigned {
		return fmt.Sprintf("0 to %d", uint64(math.MaxUint64)>>(64-bits))
	}
	return fmt.Sprintf("%d to %d", math.MinInt64>>(64-bits), math.MaxInt64>>(64-bits))
}

// word holds a word against enum and pattern.
func (d *decoder) word(n *node, text string, path Path, secret bool) bool {
	if n.enum != nil && !slices.Contains(n.enum, text) {
		detail := "it takes one of " + strings.Join(n.enum, ", ")
		if near := Nearest(text, n.enum); near != "" && !secret {
			detail = fmt.Sprintf("did you mean %q? %s", near, detail)
		}
		d.problem(path, NotAllowed, "is not allowed", detail)
		return false
	}
	if n.pattern != nil && !n.pattern.MatchString(text) {
		detail := "it must match the pattern " + n.pattern.String()
		if n.example != "" && n.scalar() {
			detail += ", for example " + n.example
		}
		d.problem(path, NotAllowed, "has the wrong form", detail)
		return false
	}
	return true
}

// integral holds a whole number, duration or size against min and max.
func (d *decoder) integral(n *node, i int64, path Path) {
	d.within(n, n.min != nil && i < n.min.i, n.max != nil && i > n.max.i, path)
}

func (d *decoder) within(n *node, below, above bool, path Path) {
	switch {
	case below:
		d.problem(path, OutOfRange, "is less than "+n.min.text, n.span())
	case above:
		d.problem(path, OutOfRange, "is more than "+n.max.text, n.span())
	}
}

// span says what min and max leave.
func (n *node) span() string {
	switch {
	case n.max == nil:
		return "it may be " + n.min.text + " or more"
	case n.min == nil:
		return "it may be " + n.max.text + " or less"
	}
	return fmt.Sprintf("it may be from %s to %s", n.min.text, n.max.text)
}

// length holds a number of characters or entries against min and max.
func (d *decoder) length(n *node, length int, of string, path Path) {
	switch {
	case n.min != nil && int64(length) < n.min.i:
		d.problem(path, OutOfRange, "has too few "+of, "it takes at least "+n.min.text)
	case n.max != nil && int64(length) > n.max.i:
		d.problem(path, OutOfRange, "has too many "+of, "it takes at most "+n.max.text)
	}
}
