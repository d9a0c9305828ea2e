package template

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode/utf8"

	"golang.org/x/text/language"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/cldr"
	"kurir.dev/services/composer/internal/money"
)

//go:embed all:builtin
var builtin embed.FS

// Catalog is a set of templates over another set whose templates it overrides
// by name. It is immutable.
type Catalog struct {
	own    map[string]*Template
	parent *Catalog
}

// Builtin compiles the templates Kurir ships with.
func Builtin() (*Catalog, error) {
	sub, err := fs.Sub(builtin, "builtin")
	if err != nil {
		return nil, fmt.Errorf("opening the built-in templates: %w", err)
	}
	return Load(sub, nil)
}

// Load compiles every template directory of fsys, over parent, which may be
// nil. Directories that begin with "_" or "." are passed over. All faults are
// reported, joined, each with its path.
func Load(fsys fs.FS, parent *Catalog) (*Catalog, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the template directory: %w", err)
	}
	frame, err := readLayout()
	if err != nil {
		return nil, err
	}
	c := &Catalog{own: map[string]*Template{}, parent: parent}
	var faults []error
	for _, entry := range entries {
		if !entry.IsDir() || strings.ContainsAny(entry.Name()[:1], "_.") {
			continue
		}
		t, err := load(fsys, entry.Name(), frame)
		if err != nil {
			faults = append(faults, fmt.Errorf("template %s: %w", entry.Name(), err))
			continue
		}
		if c.own[t.Name] != nil {
			faults = append(faults, fmt.Errorf("template %s: the name %q is taken by another directory", entry.Name(), t.Name))
		}
		c.own[t.Name] = t
	}
	return c, errors.Join(faults...)
}

// Find returns the template of that name. The error has the reason
// TEMPLATE_UNKNOWN.
func (c *Catalog) Find(name string) (*Template, error) {
	for at := c; at != nil; at = at.parent {
		if t := at.own[name]; t != nil {
			return t, nil
		}
	}
	e := fault.Newf(fault.NotFound, faultv1.Reason_REASON_TEMPLATE_UNKNOWN, "no template of that name exists")
	return nil, e.WithField("options.template", "names no template")
}

// List returns the templates by name, those overridden left out.
func (c *Catalog) List() []*Template {
	all := map[string]*Template{}
	for at := c; at != nil; at = at.parent {
		for name, t := range at.own {
			if all[name] == nil {
				all[name] = t
			}
		}
	}
	out := make([]*Template, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out
}

// layout is what HTML templates share.
type layout struct {
	source, head string
	styles       stylesheet
}

var headStyle = regexp.MustCompile(`(?s)<style>(.*?)</style>`)

// readLayout reads the built-in frame of HTML mail.
func readLayout() (*layout, error) {
	source, err := builtin.ReadFile("builtin/_layout/layout.html")
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	css, err := builtin.ReadFile("builtin/_layout/style.css")
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	styles, err := parseStyles(string(css), nil)
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	return &layout{source: string(source), head: headStyle.FindString(string(source)), styles: styles}, nil
}

// load compiles one directory.
func load(fsys fs.FS, dir string, frame *layout) (*Template, error) {
	raw, err := fs.ReadFile(fsys, path.Join(dir, "template.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading template.yaml: %w", err)
	}
	s, err := parseSchema(raw)
	if err != nil {
		return nil, err
	}
	styles := frame.styles
	if css, err := fs.ReadFile(fsys, path.Join(dir, "style.css")); err == nil {
		if styles, err = parseStyles(string(css), frame.styles); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading style.css: %w", err)
	}
	t := &Template{
		Name: s.Name, Version: s.Version, Kind: s.Kind, Input: s.Input,
		Description: s.Description, Variables: s.Variables, locales: map[string]*localized{},
	}
	given, err := s.sampleValues()
	if err != nil {
		return nil, err
	}
	if t.sample, err = t.Fill(given); err != nil {
		return nil, fmt.Errorf("the sample is not complete: %w", err)
	}
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("reading its directory: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := t.addLocale(fsys, path.Join(dir, entry.Name()), frame, styles); err != nil {
			return nil, fmt.Errorf("locale %s: %w", entry.Name(), err)
		}
	}
	if len(t.locales) == 0 {
		return nil, errors.New("it has no locale")
	}
	return t, nil
}

// addLocale compiles the files of one locale and renders the sample with them.
func (t *Template) addLocale(fsys fs.FS, dir string, frame *layout, styles stylesheet) error {
	tag, err := language.Parse(path.Base(dir))
	if err != nil || tag.String() != path.Base(dir) {
		return errors.New("the directory's name is no BCP 47 locale in its canonical form")
	}
	files := map[string]string{}
	for _, name := range []string{"subject.txt", "mail.txt", "mail.html"} {
		raw, err := fs.ReadFile(fsys, path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && name == "mail.html" {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		files[name] = strings.TrimSpace(string(raw))
	}
	funcs := functions(cldr.New(tag))
	l := &localized{tag: tag}
	if l.subject, err = texttemplate.New("subject.txt").Option("missingkey=error").Funcs(funcs).Parse(files["subject.txt"]); err != nil {
		return fmt.Errorf("compiling: %w", err)
	}
	if l.text, err = texttemplate.New("mail.txt").Option("missingkey=error").Funcs(funcs).Parse(files["mail.txt"]); err != nil {
		return fmt.Errorf("compiling: %w", err)
	}
	if source := files["mail.html"]; source != "" {
		head := frame.head + headStyle.FindString(source)
		page := htmltemplate.New("mail.html").Option("missingkey=error").Funcs(funcs)
		if page, err = page.Parse(styles.inline(frame.source, head)); err == nil {
			page, err = page.Parse(styles.inline(source, head))
		}
		if err != nil {
			return fmt.Errorf("compiling: %w", err)
		}
		l.html = page
	}
	t.locales[tag.String()] = l
	if _, err := t.Render(tag.String(), t.sample, Dress{Brand: Brand{Name: "Kurir"}}); err != nil {
		return fmt.Errorf("rendering the sample: %w", err)
	}
	return nil
}

// functions are what templates of a locale can call.
func functions(l *cldr.Locale) map[string]any {
	return map[string]any{
		"money": l.Money, "date": l.Date, "number": l.Number, "days": l.Days, "duration": l.Duration,
		"lang": l.Tag, "given": given, "lower": strings.ToLower, "paragraphs": paragraphs, "brief": brief,
	}
}

// paragraphs splits a text at its empty lines.
func paragraphs(s string) []string {
	var out []string
	for p := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// brief returns the beginning of a text on one line: what an inbox shows of it.
func brief(s string) string {
	const most = 140
	words := strings.Fields(s)
	out := ""
	for _, w := range words {
		if utf8.RuneCountInString(out)+1+utf8.RuneCountInString(w) > most {
			return out + " …"
		}
		out = strings.TrimSpace(out + " " + w)
	}
	return out
}

// given reports whether a value is there, which "if" cannot tell of amounts
// and dates.
func given(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case int64:
		return v != 0
	case time.Duration:
		return v != 0
	case money.Amount:
		return v.Currency != ""
	case civil.Date:
		return !v.Zero()
	case []Row:
		return len(v) > 0
	}
	return v != nil
}

// reserved reports whether a name is one of those a rendering adds.
func reserved(name string) bool {
	switch name {
	case "brand_name", "brand_address", "accent", "unsubscribe_url", "subject":
		return true
	}
	return false
}
