package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/avhub/avhub/sdk/schema"
)

// Options say where a configuration comes from.
type Options struct {
	// File is the file to read, and must exist. Empty means DefaultFile, which
	// need not exist.
	File string
	// Environ is the environment as os.Environ gives it: for ${VAR} in the file
	// and for the AVHUB_ variables. nil is an empty one.
	Environ []string
	// Flags are values from the command line by their keys: "server.listen".
	// Only keys that hold one word and stand in no list can be given so.
	Flags map[string]string
	// EventTypes are the types that exist. A pattern in plugins[].events that
	// matches none of them is a warning; without the list nothing is compared.
	EventTypes []string
	// Only names the sections that are needed, such as "storage". Mistakes inside
	// of others are passed over then, and what they would set is not to be used:
	// an operator who looks at the database need not have every connector's
	// secrets at hand. Empty: everything must be right.
	Only []string
}

// Load reads and checks a configuration. The error is an [*Error] with
// everything that is wrong. It does not look at the plugins' programs; see
// [Config.CheckFiles].
func Load(o Options) (*Config, error) {
	name := o.File
	if name == "" {
		name = DefaultFile
	}
	text, err := readRegular(name, maxFile)
	switch {
	case err == nil:
		return Parse(name, text, o)
	case errors.Is(err, fs.ErrNotExist) && o.File == "":
		return load("", nil, o)
	}
	problem := Problem{Source: name, Summary: "the configuration file cannot be read: " + reason(err), Detail: "name a readable file of at most 1 MiB"}
	if errors.Is(err, fs.ErrNotExist) {
		problem.Summary, problem.Detail = "there is no such configuration file", "correct the name, or run `avhub init` to write one"
	}
	return nil, &Error{Problems: []Problem{problem}}
}

// Parse is Load for the text of a file that has been read already. Its name
// stands in the problems; o.File is not looked at.
func Parse(name string, text []byte, o Options) (*Config, error) {
	if int64(len(text)) > maxFile {
		return nil, &Error{Problems: []Problem{{Source: name, Summary: "the configuration file cannot be read: " + errTooLarge.Error(), Detail: "name a readable file of at most 1 MiB"}}}
	}
	return load(name, text, o)
}

func load(name string, text []byte, o Options) (*Config, error) {
	keys, err := settableKeys()
	if err != nil {
		return nil, err
	}
	from := &origin{file: name, overrides: map[string]string{}}
	env := environ(o.Environ)
	expand := newExpander(env)
	c := &collector{origin: from}

	doc, problems, fatal := readFile(name, text, from, expand)
	if fatal {
		return nil, &Error{Problems: problems}
	}
	for _, p := range problems {
		c.note(p)
	}
	fromEnv := keys.fromEnviron(env, expand.named, c)
	fromFlags := keys.fromFlags(o.Flags, c)
	tree, err := layered(doc, fromEnv, fromFlags)
	if err != nil {
		return nil, err
	}

	cfg := &Config{}
	for _, p := range schema.Decode(tree, cfg) {
		if p.Kind == schema.UnknownKey {
			c.note(from.problem(p.Path, true, p.Summary, p.Detail))
			continue
		}
		c.add(p.Path, p.Summary, p.Detail)
	}
	cfg.origin = from
	cfg.validate(c)
	if len(o.Only) > 0 {
		c.passOver(o.Only)
	}
	if err := c.error(); err != nil {
		return nil, err
	}
	cfg.compareEvents(o.EventTypes)
	return cfg, nil
}

// readFile turns the file's text into a tree. After a fatal problem there is
// none, and nothing further can be said.
func readFile(name string, text []byte, from *origin, expand *expander) (doc map[string]any, problems []Problem, fatal bool) {
	if problem, invalid := invalidText(name, text); invalid {
		return nil, []Problem{problem}, true
	}
	root, message := parseYAML(text)
	if message != "" {
		return nil, []Problem{syntaxProblem(name, text, message)}, true
	}
	if root == nil {
		return nil, nil, false
	}
	b := builder{file: name, expand: expand}
	tree, marks := b.value(root, 0)
	if b.stopped {
		return nil, b.problems, true
	}
	from.root = marks
	doc, ok := tree.(map[string]any)
	if !ok && tree != nil {
		return nil, []Problem{{Source: name, Line: root.Line, Column: root.Column,
			Summary: "a configuration is made of key: value pairs", Detail: "begin with a section, such as server:, or run `avhub init` for an example"}}, true
	}
	return doc, b.problems, len(b.problems) > 0 && tree == nil
}

// layered puts the layers on one another. The defaults come in when the result
// is decoded, as those inside lists depend on what the lists hold.
func layered(doc map[string]any, overrides ...map[string]string) (map[string]any, error) {
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(doc, ""), nil); err != nil {
		return nil, fmt.Errorf("taking over the configuration file: %w", err)
	}
	for _, layer := range overrides {
		flat := map[string]any{}
		for key, value := range layer {
			if sectionIsMapping(doc, key) {
				flat[key] = value
			}
		}
		if err := k.Load(confmap.Provider(flat, "."), nil); err != nil {
			return nil, fmt.Errorf("taking over the environment and flags: %w", err)
		}
	}
	return k.Raw(), nil
}
