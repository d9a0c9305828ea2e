package conf

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// field is one key of a struct: its name in YAML and where it is.
type field struct {
	key   string
	index []int // as of reflect.Value.FieldByIndex
	typ   reflect.Type
}

// fields returns the keys of struct type t in order, those of inlined structs
// among them.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		inline := strings.Contains(","+opts+",", ",inline,")
		switch {
		case key == "-" || !f.IsExported():
			continue
		case inline && f.Type.Kind() == reflect.Struct:
			for _, sub := range fields(f.Type) {
				sub.index = append([]int{i}, sub.index...)
				all = append(all, sub)
			}
			continue
		case key == "":
			key = strings.ToLower(f.Name)
		}
		all = append(all, field{key: key, index: []int{i}, typ: f.Type})
	}
	return all
}

func find(all []field, key string) (field, bool) {
	for _, f := range all {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// isSecret reports whether t is a Secret that may also come from a file.
func isSecret(t reflect.Type) bool { return t == reflect.TypeFor[Secret]() }

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

// decodesItself reports whether values of t bring their own syntax, so that their
// inside is none of our business.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[yaml.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// join appends a key to the path of the struct it stands in.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
