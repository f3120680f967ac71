package arch

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	inlineLink  = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+["'(][^)]*)?\)`)
	definition  = regexp.MustCompile(`(?m)^ {0,3}\[[^\]^]+\]:\s*<?([^\s>]+)>?`)
	htmlLink    = regexp.MustCompile(`<(?:a|img)\s[^>]*?(?:href|src)="([^"]*)"`)
	inlineCode  = regexp.MustCompile("`+[^`\n]*`+")
	heading     = regexp.MustCompile(`(?m)^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$`)
	linkText    = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	htmlAnchor  = regexp.MustCompile(`<[a-z]+\s[^>]*?(?:id|name)="([^"]*)"`)
	fencedStart = regexp.MustCompile("^ {0,3}(```+|~~~+)")
)

// withoutFences returns markdown without its fenced code blocks.
func withoutFences(markdown string) string {
	var out strings.Builder
	fence := ""
	for line := range strings.Lines(markdown) {
		mark := fencedStart.FindStringSubmatch(line)
		switch {
		case fence == "" && mark != nil:
			fence = mark[1]
		case fence == "":
			out.WriteString(line)
		case mark != nil && strings.HasPrefix(mark[1], fence):
			fence = ""
		}
	}
	return out.String()
}

// links returns the targets of all links and images.
func links(markdown string) []string {
	text := inlineCode.ReplaceAllString(withoutFences(markdown), "")
	var targets []string
	for _, pattern := range []*regexp.Regexp{inlineLink, definition, htmlLink} {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			targets = append(targets, match[1])
		}
	}
	return targets
}

// anchors returns the names by which a page's headings can be linked to, which
// code hosts make so: lower case, punctuation dropped, spaces to hyphens, and a
// number after a name that was there before.
func anchors(markdown string) map[string]bool {
	text := withoutFences(markdown)
	names := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		title := linkText.ReplaceAllString(match[1], "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, title)
		name := slug
		for n := 1; names[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		names[name] = true
	}
	for _, match := range htmlAnchor.FindAllStringSubmatch(text, -1) {
		names[match[1]] = true
	}
	return names
}

// deadLinks returns a sentence for each link of the page that leads nowhere.
// exists tells whether a path, relative to the root, is a file or folder.
func deadLinks(page string, pages map[string][]byte, exists func(string) bool) []string {
	var dead []string
	for _, target := range links(string(pages[page])) {
		link, err := url.Parse(target)
		if err != nil {
			dead = append(dead, fmt.Sprintf("%s: %q is not a link", page, target))
			continue
		}
		if link.Scheme != "" || link.Host != "" {
			continue // somebody else's page
		}
		to := page
		switch {
		case strings.HasPrefix(link.Path, "/"):
			to = path.Clean(link.Path[1:])
		case link.Path != "":
			to = path.Join(path.Dir(page), link.Path)
		}
		switch content, isPage := pages[to]; {
		case to == ".." || strings.HasPrefix(to, "../"):
			dead = append(dead, fmt.Sprintf("%s: %s leads out of the repository", page, target))
		case !exists(to):
			dead = append(dead, fmt.Sprintf("%s: there is no %s", page, target))
		case link.Fragment != "" && isPage && !anchors(string(content))[link.Fragment]:
			dead = append(dead, fmt.Sprintf("%s: %s has no heading for #%s", page, to, link.Fragment))
		}
	}
	return dead
}

func TestLinksInTheDocumentationLeadSomewhere(t *testing.T) {
	t.Parallel()
	dir := root(t)
	pages := files(t, ".md")
	for page := range pages {
		for _, sentence := range deadLinks(page, pages, func(name string) bool { return present(dir, name) }) {
			t.Error(sentence)
		}
	}
}

func TestDeadLinksAreFound(t *testing.T) {
	t.Parallel()
	pages := map[string][]byte{
		"docs/a.md": []byte("# The `way` of an event\n\n## Twice\n\n## Twice\n\n```\n# not a heading\n[not](a-link.md)\n```\n\n<a id=\"spot\"></a>\n"),
		"README.md": []byte("# Here\n"),
	}
	exists := func(name string) bool { return pages[name] != nil || name == "docs" || name == "LICENSE" }
	for text, dead := range map[string]bool{
		"[x](a.md)":                        false,
		"[x](a.md#the-way-of-an-event)":    false,
		"[x](a.md#twice-1)":                false,
		"[x](a.md#spot)":                   false,
		"[x](../README.md#here \"title\")": false,
		"[x](/LICENSE)":                    false,
		"[x](../docs/)":                    false,
		"[x](#me)":                         false,
		"![x](https://example.com/no.png)": false,
		"[x](mailto:a@example.com)":        false,
		"`[x](none.md)`":                   false,
		"~~~\n[x](none.md)\n~~~":           false,
		"[x](none.md)":                     true,
		"[x](a.md#not-a-heading)":          true,
		"[x](a.md#twice-2)":                true,
		"[x](#you)":                        true,
		"[x](../../elsewhere.md)":          true,
		"![x](../docs/no.png)":             true,
		"[x]\n\n[x]: none.md":              true,
		"<img src=\"none.png\">":           true,
		"```\ncode\n```\n[x](none.md)":     true,
	} {
		page := map[string][]byte{"docs/page.md": []byte("# Me\n\n" + text + "\n")}
		for name, content := range pages {
			page[name] = content
		}
		if got := deadLinks("docs/page.md", page, func(name string) bool { return name == "docs/page.md" || exists(name) }); (len(got) > 0) != dead {
			t.Errorf("dead = %v, want %v, for %q: %v", !dead, dead, text, got)
		}
	}
}
