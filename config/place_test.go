package config

import "testing"

func TestPlaceLeadsToTheNearestKey(t *testing.T) {
	t.Parallel()
	text := "log: { level: info }\nplugins:\n  - name: a\n    command: [/bin/true]\n  - name: b\n    command: [/bin/true]\n    config:\n      urls: [x, y]\n"
	cfg, err := Parse("avhub.yaml", []byte(text), Options{Flags: map[string]string{"log.level": "debug"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]int{
		"plugins[1].name":           {5, 11},
		"plugins[1].config.urls[1]": {8, 17},
		"plugins[1].config.timeout": {7, 5}, // not there: its config is
		"plugins[1].config.urls[9]": {8, 7},
		"storage.url":               {1, 1},
	} {
		if source, line, column := cfg.Place(path); source != "avhub.yaml" || line != want[0] || column != want[1] {
			t.Errorf("%s is at %s:%d:%d, want %v", path, source, line, column, want)
		}
	}
	if source, line, _ := cfg.Place("log.level"); source != "flags" || line != 0 {
		t.Errorf("log.level comes from %q line %d", source, line)
	}
	def := Default()
	if source, line, _ := def.Place("log.level"); source != "" || line != 0 {
		t.Errorf("a default comes from %q line %d", source, line)
	}
}

func TestOnlyTheNamedSectionsMustBeRight(t *testing.T) {
	t.Parallel()
	text := "storage: { url: \"sqlite://x.db\" }\nadmin: { token: \"${NOT_SET_HERE}\" }\nplugins:\n  - { name: a, command: [/bin/true], config: { key: \"${NOT_SET_EITHER}\" } }\n"
	if _, err := Parse("avhub.yaml", []byte(text), Options{}); err == nil {
		t.Fatal("variables that are not set were passed over")
	}
	cfg, err := Parse("avhub.yaml", []byte(text), Options{Only: []string{"storage"}})
	if err != nil || cfg.Storage.URL != "sqlite://x.db" {
		t.Errorf("%v %v", cfg, err)
	}
	for name, text := range map[string]string{
		"a mistake inside":       "storage: { url: \"mysql://x\" }\n",
		"an unset variable":      "storage: { url: \"${NOT_SET_HERE}\" }\n",
		"a misspelled section":   "storge: { url: \"sqlite://x.db\" }\n",
		"a file that is no YAML": "storage: {\n",
	} {
		if _, err := Parse("avhub.yaml", []byte(text), Options{Only: []string{"storage"}}); err == nil {
			t.Errorf("%s was passed over", name)
		}
	}
}
