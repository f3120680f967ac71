package plugin_test

import (
	"flag"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the reference in docs/connectors.md anew")

const (
	referencePage = "../../docs/connectors.md"
	beginMark     = "<!-- begin reference -->\n"
	endMark       = "<!-- end reference -->\n"
)

// The reference in docs/connectors.md is what the code says about itself.
func TestTheReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), beginMark)
	shown, after, ends := strings.Cut(rest, endMark)
	if !found || !ends {
		t.Fatalf("%s has no place for the reference", referencePage)
	}
	want := reference(t)
	if *update {
		if err := os.WriteFile(referencePage, []byte(before+beginMark+want+endMark+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != want {
		t.Errorf("the reference in %s is not current; run `make golden`", referencePage)
	}
}

func reference(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	pkg, err := doc.NewFromFiles(set, files, "github.com/avhub/avhub/sdk/plugin")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	table := func(title, head string) { b.WriteString("\n### " + title + "\n\n| " + head + " | |\n|---|---|\n") }
	row := func(name, text string) {
		if text == "" {
			t.Errorf("%s has no comment", name)
		}
		b.WriteString("| `" + name + "` | " + oneLine(text) + " |\n")
	}
	for _, part := range []struct{ title, of string }{{"What a connector is: `plugin.Info`", "Info"}, {"What it gets: `plugin.Event`", "Event"}} {
		table(part.title, "field")
		for _, f := range fields(t, pkg, part.of) {
			row(f[0], f[1])
		}
	}
	table("What it answers", "verdict")
	b.WriteString("| `nil` | The event is applied. |\n| any other error | The key waits, and the event is tried again with the hub's backoff. |\n")
	for _, name := range []string{"Skip", "Reject", "RetryAfter", "Halt", "Again", "HTTPVerdict"} {
		row("plugin."+name, function(pkg, name))
	}
	table("What `plugin.Data[T]` reads, and its parts", "T")
	for _, typ := range pkg.Types {
		entity := strings.HasSuffix(set.Position(typ.Decl.Pos()).Filename, "entities.go")
		payload := strings.HasSuffix(set.Position(typ.Decl.Pos()).Filename, "payloads.go")
		if entity || payload {
			row("plugin."+typ.Name, typ.Doc)
		}
	}
	b.WriteString("\n")
	return b.String()
}

func fields(t *testing.T, pkg *doc.Package, name string) (all [][2]string) {
	t.Helper()
	for _, typ := range pkg.Types {
		if typ.Name != name {
			continue
		}
		for _, f := range typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType).Fields.List {
			text := f.Doc.Text() + f.Comment.Text()
			var names []string
			for _, n := range f.Names {
				if n.IsExported() {
					names = append(names, n.Name)
				}
			}
			if len(names) > 0 {
				all = append(all, [2]string{strings.Join(names, "`, `"), text})
			}
		}
	}
	if len(all) == 0 {
		t.Errorf("there is no struct %s", name)
	}
	return all
}

func function(pkg *doc.Package, name string) string {
	for _, f := range pkg.Funcs {
		if f.Name == name {
			return f.Doc
		}
	}
	return ""
}

// oneLine is a comment's first paragraph as the cell of a table.
func oneLine(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n\n")
	text = strings.Join(strings.Fields(first), " ")
	return strings.NewReplacer("|", `\|`, "<", `\<`).Replace(strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):])
}
