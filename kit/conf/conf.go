// Package conf loads a program's configuration into a typed struct, strictly.
//
// The struct holds the defaults; Load lays over it, in this order,
//
//  1. the YAML file: an unknown or repeated key, a value of the wrong type, a
//     duration without unit are faults that name the key and its line,
//  2. the environment: KURIR_ROUTER_STORE_URL sets the key store.url of the router,
//
// and then validates. All faults are reported at once, one a line: an operator
// mends a file once, not once per fault.
//
// Keys are those of package go.yaml.in/yaml/v3: the yaml tag, or the field's name
// in lower case; `yaml:",inline"` and `yaml:"-"` are understood. Fields of type
// Secret may come from files of their own.
package conf

import (
	"errors"
	"fmt"
	"os"
	"reflect"
)

// Load fills the struct that into points to, which holds the defaults, from the
// YAML file at path ("" reads none) and from those entries of environ ("NAME=value",
// as of os.Environ) that begin with envPrefix and an underscore. If into has a
// method Validate() error, it is called last. The error joins all faults, one a
// line; it holds no value of a Secret.
//
// A relative path in a `_file` key is taken from the working directory, like every
// other path of the configuration.
func Load(path string, environ []string, envPrefix string, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("conf: cannot load into %T, only into a pointer to a struct", into)
	}
	var faults []error
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
		found, err := decode(path, data, target)
		if err != nil {
			return err
		}
		faults = append(faults, found...)
	}
	faults = append(faults, overlay(environ, envPrefix, target)...)
	if v, ok := into.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
