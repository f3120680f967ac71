package name

import (
	"strings"
	"testing"
)

func TestNamesHoldNothingOfASlugButLettersAndDigits(t *testing.T) {
	for slug, want := range map[string]string{
		"acme":                           "db_acme_",
		"Acme Inc.":                      "db_acme_inc_",
		`"; DROP DATABASE postgres; --`:  "db_drop_database_postgres_",
		"../../etc/passwd":               "db_etc_passwd_",
		"":                               "db_tenant_",
		"日本":                             "db_tenant_",
		"a\x00b\n'c":                     "db_a_b_c_",
		strings.Repeat("a", 300):         "db_" + strings.Repeat("a", MaxSlug) + "_",
		strings.Repeat("a", 39) + "-bbb": "db_" + strings.Repeat("a", 39) + "_",
	} {
		got := Of("db", slug, "tnt_1")
		if !strings.HasPrefix(got, want) || len(got) != len(want)+8 || !Safe(got) {
			t.Errorf("Of(%q) = %q, want %s and eight characters", slug, got, want)
		}
	}
}

func TestTheLongestNameFitsIntoPostgres(t *testing.T) {
	if n := len(Of("abcdefghijkl", strings.Repeat("x", 1000), "t")); n > 63 {
		t.Errorf("%d bytes", n)
	}
}

func TestTwoTenantsOfOneSlugHaveTwoNames(t *testing.T) {
	if Of("db", "acme", "tnt_1") == Of("db", "acme", "tnt_2") {
		t.Error("they share one")
	}
}

func FuzzNamesAreAlwaysSafe(f *testing.F) {
	f.Add("acme", "tnt_1")
	f.Add("ſK', \"", "\xff")
	f.Fuzz(func(t *testing.T, slug, tenant string) {
		if got := Of("db", slug, tenant); !Safe(got) {
			t.Errorf("Of(%q, %q) = %q", slug, tenant, got)
		}
	})
}
