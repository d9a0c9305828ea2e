package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode lays the YAML in data over target. The first result is what is wrong
// with single keys; the error is a text that is no YAML at all.
func decode(name string, data []byte, target reflect.Value) (faults []error, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // an empty file changes nothing
	case err != nil:
		return nil, fmt.Errorf("%s is not valid YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: line %d: a second document begins, only one is read", name, more.Line)
	}
	root := doc.Content[0]
	if isNull(root) {
		return nil, nil
	}
	c := newChecker(name)
	c.check("", root, target.Elem().Type())
	// Values of the wrong type are left out by the decoder, the rest is set.
	var mismatch *yaml.TypeError
	switch err := root.Decode(target.Interface()); {
	case errors.As(err, &mismatch):
		for _, text := range mismatch.Errors {
			c.mismatch(text)
		}
	case err != nil:
		c.fault(root.Line, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return c.faults, nil
}

// checker walks a document beside the type it is meant for. It finds what the
// decoder would let pass, and puts the secrets kept in files in their place.
type checker struct {
	file   string         // "" for a value of the environment, which has no lines
	paths  map[int]string // line -> path of the last key that begins there
	seen   map[visit]bool
	faults []error
}

// visit is a node held against a type. Each pair is walked once: aliases can make
// a short document endless.
type visit struct {
	node *yaml.Node
	typ  reflect.Type
}

func newChecker(file string) *checker {
	return &checker{file: file, paths: make(map[int]string), seen: make(map[visit]bool)}
}

func (c *checker) fault(line int, path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	if c.file != "" {
		text = fmt.Sprintf("%s: line %d: %s", c.file, line, text)
	}
	c.faults = append(c.faults, errors.New(text))
}

func (c *checker) check(path string, n *yaml.Node, t reflect.Type) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if c.seen[visit{n, t}] {
		return
	}
	c.seen[visit{n, t}] = true
	switch {
	case isDuration(t):
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
			if n.Value != "0" {
				c.fault(n.Line, path, "a duration needs a unit, as in %ss", n.Value)
			}
			n.Tag, n.Value = "!!str", "0s" // the decoder takes no number
		}
	case decodesItself(t):
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		c.checkStruct(path, n, t)
	case t.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			c.paths[key.Line] = join(path, key.Value)
			c.check(join(path, key.Value), n.Content[i+1], t.Elem())
		}
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && n.Kind == yaml.SequenceNode:
		for i, item := range n.Content {
			at := path + "[" + strconv.Itoa(i) + "]"
			c.paths[item.Line] = at
			c.check(at, item, t.Elem())
		}
	}
}

// checkStruct compares the keys of mapping n with the fields of t. Keys that must
// not reach the decoder are taken out of n.
func (c *checker) checkStruct(path string, n *yaml.Node, t reflect.Type) {
	known := fields(t)
	seen := make(map[string]int, len(n.Content)/2)
	kept := make([]*yaml.Node, 0, len(n.Content))
	keep := func(key, value *yaml.Node, typ reflect.Type) {
		name, at := key.Value, join(path, key.Value)
		if first, ok := seen[name]; ok {
			c.fault(key.Line, at, "given already in line %d", first)
			return
		}
		seen[name] = key.Line
		c.paths[key.Line] = at
		c.check(at, value, typ)
		kept = append(kept, key, value)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			c.check(path, value, t)
			kept = append(kept, key, value)
			continue
		}
		if f, ok := find(known, key.Value); ok {
			keep(key, value, f.typ)
			continue
		}
		if base, ok := strings.CutSuffix(key.Value, "_file"); ok {
			if f, ok := find(known, base); ok && isSecret(f.typ) {
				secret, err := readSecret(value.Value)
				if err != nil {
					c.fault(key.Line, join(path, key.Value), "%v", err)
					continue
				}
				k, v := *key, *value
				k.Value = base
				v.Kind, v.Tag, v.Value, v.Style = yaml.ScalarNode, "!!str", secret, yaml.DoubleQuotedStyle
				keep(&k, &v, f.typ)
				continue
			}
		}
		at := join(path, key.Value)
		if like := nearest(key.Value, known); like != "" {
			c.fault(key.Line, at, "unknown key, did you mean %s?", like)
		} else {
			c.fault(key.Line, at, "unknown key")
		}
	}
	n.Content = kept
}

// readSecret returns the content of a file without its last line break.
func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the secret: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// mismatch reports the decoder's complaint about a value in our words: with the
// key, and without the names of Go types.
func (c *checker) mismatch(text string) {
	m := regexp.MustCompile("^line ([0-9]+): cannot unmarshal (?:(!![a-z]+) )?(?:`(?s:(.*))` )?into (.+)$").FindStringSubmatch(text)
	if m == nil {
		c.faults = append(c.faults, fmt.Errorf("%s: %s", c.file, text))
		return
	}
	line, err := strconv.Atoi(m[1])
	if err != nil {
		line = 0
	}
	got := strconv.Quote(m[3])
	if m[3] == "" {
		got = words(m[2])
	}
	c.fault(line, c.paths[line], "%s is not %s", got, words(m[4]))
}

// words names a YAML tag or a Go type as an operator would.
func words(kind string) string {
	switch kind {
	case "!!map":
		return "a group of keys"
	case "!!seq":
		return "a list"
	case "!!str", "string", "conf.Secret":
		return "a text"
	case "bool", "!!bool":
		return "true or false"
	case "time.Duration":
		return `a duration such as "30s" or "5m"`
	}
	switch {
	case strings.HasPrefix(kind, "uint"):
		return "a whole number from zero up"
	case strings.HasPrefix(kind, "int"), kind == "!!int":
		return "a whole number"
	case strings.HasPrefix(kind, "float"), kind == "!!float":
		return "a number"
	case strings.HasPrefix(kind, "[]"):
		return "a list"
	default:
		return "a group of keys"
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// nearest returns the known key that key was probably meant to be, or "".
func nearest(key string, known []field) string {
	best, least := "", len(key)/3+1
	for _, f := range known {
		if d := distance(key, f.key); d <= least && d < len(f.key) {
			best, least = f.key, d-1
		}
	}
	return best
}

// distance is the number of single-character edits between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
