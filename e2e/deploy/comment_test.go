package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// sources finds the Go types of a configuration, to take its comments from them.
type sources struct {
	t        *testing.T
	packages map[string]map[string]declared // by directory, by type name
}

// declared is a type and the file that declares it, whose imports it needs.
type declared struct {
	spec *ast.TypeSpec
	file *ast.File
	dir  string
}

func (s *sources) find(dir, name string) (declared, bool) {
	if s.packages[dir] == nil {
		s.packages[dir] = s.parse(dir)
	}
	d, ok := s.packages[dir][name]
	return d, ok
}

func (s *sources) parse(dir string) map[string]declared {
	types := make(map[string]declared)
	files, err := filepath.Glob(repo(dir, "*.go"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if general, ok := decl.(*ast.GenDecl); ok && general.Tok == token.TYPE {
				for _, spec := range general.Specs {
					if typ, ok := spec.(*ast.TypeSpec); ok {
						types[typ.Name.Name] = declared{typ, file, dir}
					}
				}
			}
		}
	}
	return types
}

// comment puts the doc comments of a struct's fields above the keys of the YAML
// mapping it is printed as, and goes on into the values. A field without one
// fails the test.
func (s *sources) comment(node *yaml.Node, typ ast.Expr, in declared) {
	switch e := typ.(type) {
	case *ast.StarExpr:
		s.comment(node, e.X, in)
	case *ast.Ident:
		if d, ok := s.find(in.dir, e.Name); ok {
			s.comment(node, d.spec.Type, d)
		}
	case *ast.SelectorExpr:
		if dir, ok := importDir(in.file, e.X); ok {
			if d, ok := s.find(dir, e.Sel.Name); ok {
				s.comment(node, d.spec.Type, d)
			}
		}
	case *ast.ArrayType:
		if node.Kind == yaml.SequenceNode && len(node.Content) > 0 {
			s.comment(node.Content[0], e.Elt, in) // once says it for all
		}
	case *ast.MapType:
		if node.Kind == yaml.MappingNode && len(node.Content) > 1 {
			s.comment(node.Content[1], e.Value, in)
		}
	case *ast.StructType:
		if node.Kind == yaml.MappingNode {
			for _, field := range e.Fields.List {
				s.field(node, field, in)
			}
		}
	}
}

func (s *sources) field(node *yaml.Node, field *ast.Field, in declared) {
	key, inline := "", len(field.Names) == 0
	if field.Tag != nil {
		tag, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		options := strings.Split(reflect.StructTag(tag).Get("yaml"), ",")
		key, inline = options[0], slices.Contains(options[1:], "inline")
	}
	if inline {
		s.comment(node, field.Type, in)
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			text := strings.TrimSpace(field.Doc.Text())
			if text == "" {
				s.t.Errorf("%s: the field of key %q has no comment", in.dir, key)
			}
			node.Content[i].HeadComment = text
			s.comment(node.Content[i+1], field.Type, in)
		}
	}
}

// importDir returns the directory of a package of this repository that file
// knows by the name x.
func importDir(file *ast.File, x ast.Expr) (string, bool) {
	name, ok := x.(*ast.Ident)
	if !ok {
		return "", false
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		dir, ours := strings.CutPrefix(imported, "kurir.dev/")
		if err != nil || !ours {
			continue
		}
		if spec.Name != nil && spec.Name.Name == name.Name || spec.Name == nil && path.Base(imported) == name.Name {
			return dir, true
		}
	}
	return "", false
}
