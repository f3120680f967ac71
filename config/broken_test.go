package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const canary = "c4n4ry"

// brokenEnviron is what every broken file is read with.
func brokenEnviron() []string {
	return []string{"SECRET=" + canary, "EMPTY=", "BINARY=" + canary + "\xff"}
}

// Every file in testdata/broken is refused with the messages beside it; each
// names the place and, behind a semicolon, the way out.
func TestBrokenFilesAreToldByPlaceAndWayOut(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d broken files, %v", len(files), err)
	}
	complete := regexp.MustCompile(`^[a-z-]+\.yaml:\d+(:\d+)?: .+; .+$`)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), text, Options{Environ: brokenEnviron()})
			if err == nil {
				t.Fatal("it was taken")
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !complete.MatchString(line) {
					t.Errorf("without place or way out: %s", line)
				}
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("tells a secret: %v", err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, readErr := os.ReadFile(golden)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if err.Error()+"\n" != string(want) {
				t.Errorf("got\n%v\nwant\n%s", err, want)
			}
		})
	}
}
