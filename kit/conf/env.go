package conf

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// overlay sets what the environment names. The name of a key is its path in upper
// case with underscores; lists of single values are separated by commas, all else
// that is no single value is written as YAML. Names that fit no key are left
// alone, because orchestrators put variables of their own into every container.
func overlay(environ []string, prefix string, target reflect.Value) []error {
	vars := make(map[string]string)
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if ok && strings.HasPrefix(name, prefix+"_") {
			vars[name] = value
		}
	}
	if len(vars) == 0 {
		return nil
	}
	return overlayStruct(vars, prefix, "", target.Elem())
}

func overlayStruct(vars map[string]string, prefix, path string, v reflect.Value) []error {
	var faults []error
	for _, f := range fields(v.Type()) {
		name := prefix + "_" + strings.ToUpper(strings.ReplaceAll(f.key, "-", "_"))
		at, fv := join(path, f.key), v.FieldByIndex(f.index)
		value, given := vars[name]
		if isSecret(f.typ) {
			if file, ok := vars[name+"_FILE"]; ok {
				secret, err := readSecret(file)
				switch {
				case given:
					err = fmt.Errorf("%s and %s_FILE are both set", name, name)
				case err == nil:
					fv.SetString(secret)
				}
				if err != nil {
					faults = append(faults, fmt.Errorf("environment %s_FILE: %s: %w", name, at, err))
				}
				continue
			}
		}
		if given {
			if err := set(fv, value); err != nil {
				faults = append(faults, fmt.Errorf("environment %s: %s: %w", name, at, err))
			}
			continue
		}
		if inner, ok := structOf(vars, name, fv); ok {
			faults = append(faults, overlayStruct(vars, name, at, inner)...)
		}
	}
	return faults
}

// structOf returns the struct that v is or points to. A nil pointer is only filled
// if the environment names something beneath it.
func structOf(vars map[string]string, name string, v reflect.Value) (reflect.Value, bool) {
	t := v.Type()
	if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && !decodesItself(t.Elem()) {
		if v.IsNil() {
			if !namesBeneath(vars, name) {
				return v, false
			}
			v.Set(reflect.New(t.Elem()))
		}
		return v.Elem(), true
	}
	return v, t.Kind() == reflect.Struct && !decodesItself(t)
}

func namesBeneath(vars map[string]string, name string) bool {
	for n := range vars {
		if strings.HasPrefix(n, name+"_") {
			return true
		}
	}
	return false
}

// set parses value into v.
func set(v reflect.Value, value string) error {
	t := v.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := scalar(value, t)
	switch {
	case decodesItself(t), isDuration(t):
	case t.Kind() == reflect.Slice && isSingle(t.Elem()):
		n = &yaml.Node{Kind: yaml.SequenceNode}
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				n.Content = append(n.Content, scalar(item, t.Elem()))
			}
		}
	case !isSingle(t):
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
			return fmt.Errorf("not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) == 0 {
			v.SetZero()
			return nil
		}
		n = doc.Content[0]
	}
	c := newChecker("")
	c.check("", n, t)
	if len(c.faults) > 0 {
		return c.faults[0]
	}
	// Into a fresh value: a map or list given here replaces, it does not add.
	fresh := reflect.New(v.Type())
	if err := n.Decode(fresh.Interface()); err != nil {
		if isSecret(t) {
			return fmt.Errorf("not %s", words(t.String()))
		}
		return fmt.Errorf("%q is not %s", value, words(t.String()))
	}
	v.Set(fresh.Elem())
	return nil
}

// scalar returns value as a YAML scalar for type t; a text is never taken for
// something else because it looks like a number.
func scalar(value string, t reflect.Type) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: value, Line: 1}
	if t.Kind() == reflect.String || decodesItself(t) {
		n.Tag = "!!str"
	}
	return n
}

// isSingle reports whether a value of t is written as one word.
func isSingle(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array, reflect.Interface:
		return decodesItself(t)
	default:
		return true
	}
}
