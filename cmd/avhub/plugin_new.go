package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// connectorFiles are the templates of a new connector.
//
//go:embed connector
var connectorFiles embed.FS

// hubModule is the module that a connector requires for the SDK.
const hubModule = "github.com/avhub/avhub"

// scaffold is what the templates are filled with.
type scaffold struct {
	Name      string
	Module    string
	Go        string
	Version   string // of hubModule
	Replace   string // a checkout of hubModule; empty for releases
	Order     string // as the SDK writes it
	OrderName string
}

func (c *cli) pluginNew() *cobra.Command {
	var dir, order, modulePath, replace string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a connector to begin with",
		Long: "Writes a Go module with a connector that works: it keeps a JSON file for each tenant. With\n" +
			"it come a test, a configuration that runs it in a hub, a Makefile and a README. NAME is\n" +
			"its name in configurations: lower-case letters, digits and hyphens.\n\n" +
			"Nothing that is there is overwritten: the folder must be new or empty. Building it needs\n" +
			"Go, and the SDK in the version of this avhub. For a development build that is the\n" +
			"checkout around the working directory, or the one that --replace names.",
		Example: "  avhub plugin new billing\n  avhub plugin new audit --order total --module example.com/acme/audit",
		Args:    oneArg("the name of the connector"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` to write to (default: one of that name)")
	cmd.Flags().StringVar(&order, "order", "tenant", "what events are kept in `order` within: tenant, subject or total")
	cmd.Flags().StringVar(&modulePath, "module", "", "`path` of the Go module (default: example.com/NAME)")
	cmd.Flags().StringVar(&replace, "replace", "", "build against the checkout of avhub at this `path`, not against a release")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		s, err := newScaffold(args[0], order, modulePath)
		if err != nil {
			return err
		}
		if s.Version, s.Replace, err = sdkVersion(buildVersion(), replace); err != nil {
			return err
		}
		if dir == "" {
			dir = s.Name
		}
		files, err := s.files()
		if err != nil {
			return err
		}
		if err := writeNew(dir, files); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			c.say("wrote %s", filepath.Join(dir, name))
		}
		c.say("")
		c.say("What to do next:")
		c.say("  cd %s", quoted(dir))
		c.say("  make test")
		c.say("  make run")
		return nil
	}
	return cmd
}

// pluginName is what a plugin may be called, in configurations and by itself.
var pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func newScaffold(name, order, modulePath string) (scaffold, error) {
	s := scaffold{Name: name, Module: modulePath, OrderName: order, Go: goVersion()}
	if !pluginName.MatchString(name) {
		return s, wrongUse("%q cannot be the name of a connector: use 1 to 63 lower-case letters, digits and hyphens, and begin with a letter or digit", name)
	}
	switch order {
	case "tenant":
		s.Order = "PerTenant"
	case "subject":
		s.Order = "PerSubject"
	case "total":
		s.Order, s.OrderName = "Total", "hub"
	default:
		return s, wrongUse("--order takes tenant, subject or total")
	}
	if s.Module == "" {
		s.Module = "example.com/" + name
	}
	if err := module.CheckImportPath(s.Module); err != nil || s.Module == hubModule {
		return s, wrongUse("%q cannot be the path of a Go module: write one such as example.com/acme/%s", s.Module, name)
	}
	return s, nil
}

// goVersion is the language version of the Go that this program was built with,
// which can build the SDK.
func goVersion() string {
	numbers := regexp.MustCompile(`^go(\d+)\.(\d+)`).FindStringSubmatch(runtime.Version())
	if numbers == nil {
		return "1.26.0"
	}
	return numbers[1] + "." + numbers[2] + ".0"
}

// sdkVersion tells what to require: this program's own release, or a checkout.
func sdkVersion(running, replace string) (version, checkout string, err error) {
	if replace == "" && isRelease(running) {
		return running, "", nil
	}
	if replace != "" {
		checkout, err = filepath.Abs(replace)
		if err == nil && !isCheckout(checkout) {
			err = fmt.Errorf("there is no checkout of avhub at %s: its go.mod is not there, or is another module's", checkout)
		}
		return noVersion, checkout, err
	}
	at, err := os.Getwd()
	if err != nil {
		return "", "", fmt.Errorf("finding the checkout of avhub: %w", err)
	}
	for ; !isCheckout(at); at = filepath.Dir(at) {
		if filepath.Dir(at) == at {
			return "", "", fmt.Errorf("this avhub (%s) is a development build, so there is no release of the SDK that goes with it. Name the checkout that it was built from: --replace PATH", running)
		}
	}
	return noVersion, at, nil
}

// noVersion stands for that of a module which is replaced by a folder.
const noVersion = "v0.0.0"

// isRelease tells whether the module can be had in this version.
func isRelease(version string) bool {
	if regexp.MustCompile(`-\d+-g[0-9a-f]+$|-dirty$`).MatchString(version) { // of git describe
		return false
	}
	return module.CanonicalVersion(version) == version && module.Check(hubModule, version) == nil
}

func isCheckout(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && modfile.ModulePath(text) == hubModule
}

// files fills the templates, and returns their texts by file name.
func (s scaffold) files() (map[string][]byte, error) {
	const folder, suffix = "connector", ".tmpl"
	entries, err := connectorFiles.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("reading the connector's templates: %w", err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		tmpl, err := template.New(e.Name()).Funcs(template.FuncMap{"modpath": modPath}).ParseFS(connectorFiles, folder+"/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the connector's templates: %w", err)
		}
		var text bytes.Buffer
		if err := tmpl.Execute(&text, s); err != nil {
			return nil, fmt.Errorf("filling the connector's templates: %w", err)
		}
		name := strings.TrimSuffix(e.Name(), suffix)
		if name == "gitignore" {
			name = "." + name
		}
		files[name] = text.Bytes()
	}
	if s.Replace != "" {
		// Without a release there is nothing to fetch the sums from.
		sums, err := os.ReadFile(filepath.Join(s.Replace, "go.sum"))
		if err != nil {
			return nil, fmt.Errorf("reading the checkout of avhub: %w", err)
		}
		files["go.sum"] = sums
	}
	return files, nil
}

// modPath writes a folder's path as go.mod wants it.
func modPath(path string) string {
	if modfile.MustQuote(path) {
		return strconv.Quote(path)
	}
	return path
}

// writeNew writes files into a folder that is new or empty. When it fails, what
// it wrote is gone again.
func writeNew(dir string, files map[string][]byte) (err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s is there already and is not empty; name a new folder with --dir", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking at the folder: %w", err)
	}
	made := err != nil
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	var written []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range written {
			_ = os.Remove(path)
		}
		if made {
			_ = os.Remove(dir)
		}
	}()
	for name, text := range files {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("writing the connector: %w", err)
		}
		written = append(written, path)
		_, err = f.Write(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}
