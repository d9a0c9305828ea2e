package deploy_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// tilt stands in for Tilt: it remembers what the Tiltfile asked for and checks
// each path it names.
type tilt struct {
	t         *testing.T
	images    []string
	resources map[string][]string // resource: what must run before it
}

func (tilt *tilt) builtins() starlark.StringDict {
	d := starlark.StringDict{"TRIGGER_MODE_MANUAL": starlark.String("manual")}
	for name, f := range map[string]func(starlark.Tuple, map[string]starlark.Value) (starlark.Value, error){
		"local":          tilt.local,
		"kustomize":      tilt.kustomize,
		"k8s_yaml":       tilt.yaml,
		"docker_build":   tilt.build,
		"k8s_resource":   tilt.resource,
		"local_resource": tilt.resource,
	} {
		d[name] = starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			named := make(map[string]starlark.Value, len(kwargs))
			for _, kv := range kwargs {
				key, _ := starlark.AsString(kv[0])
				if !slices.Contains(parameters[b.Name()], key) {
					return nil, fmt.Errorf("%s has no parameter %q", b.Name(), key)
				}
				named[key] = kv[1]
			}
			return f(args, named)
		})
	}
	return d
}

// parameters are the keyword arguments of Tilt's builtins that we use.
var parameters = map[string][]string{
	"local":          {"quiet", "echo_off"},
	"docker_build":   {"dockerfile", "build_args", "only", "ignore"},
	"k8s_resource":   {"port_forwards", "resource_deps", "labels"},
	"local_resource": {"cmd", "auto_init", "trigger_mode", "resource_deps"},
}

func (tilt *tilt) local(args starlark.Tuple, _ map[string]starlark.Value) (starlark.Value, error) {
	command := list(args[0])
	exists(tilt.t, "local", command[0])
	return starlark.String("kind: List"), nil
}

func (tilt *tilt) kustomize(args starlark.Tuple, _ map[string]starlark.Value) (starlark.Value, error) {
	dir, _ := starlark.AsString(args[0])
	exists(tilt.t, "kustomize", filepath.Join(dir, "kustomization.yaml"))
	return starlark.String("kind: List"), nil
}

func (tilt *tilt) yaml(args starlark.Tuple, _ map[string]starlark.Value) (starlark.Value, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("k8s_yaml: %d arguments", len(args))
	}
	return starlark.None, nil
}

func (tilt *tilt) build(args starlark.Tuple, named map[string]starlark.Value) (starlark.Value, error) {
	image, _ := starlark.AsString(args[0])
	tilt.images = append(tilt.images, image)
	dir, _ := starlark.AsString(args[1])
	file, _ := starlark.AsString(named["dockerfile"])
	exists(tilt.t, image, file)
	for _, path := range list(named["only"]) {
		exists(tilt.t, image, filepath.Join(dir, path))
	}
	arguments, ok := named["build_args"].(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("%s: no build arguments", image)
	}
	service, found, err := arguments.Get(starlark.String("SERVICE"))
	if err != nil || !found {
		return nil, fmt.Errorf("%s: no build argument SERVICE", image)
	}
	name, _ := starlark.AsString(service)
	exists(tilt.t, image, filepath.Join("services", name, "cmd", name+"d"))
	return starlark.None, nil
}

func (tilt *tilt) resource(args starlark.Tuple, named map[string]starlark.Value) (starlark.Value, error) {
	name, _ := starlark.AsString(args[0])
	tilt.resources[name] = list(named["resource_deps"])
	if command := list(named["cmd"]); len(command) > 2 && command[0] == "go" && command[1] == "run" {
		exists(tilt.t, name, command[2])
	}
	return starlark.None, nil
}

// list returns a list of strings; nil for no list.
func list(v starlark.Value) []string {
	l, ok := v.(*starlark.List)
	if !ok {
		return nil
	}
	var all []string
	for e := range l.Elements() {
		s, _ := starlark.AsString(e)
		all = append(all, s)
	}
	return all
}

func TestTiltfile(t *testing.T) {
	t.Parallel()
	tilt := &tilt{t: t, resources: make(map[string][]string)}
	options := &syntax.FileOptions{TopLevelControl: true, GlobalReassign: true}
	_, err := starlark.ExecFileOptions(options, &starlark.Thread{Name: "tilt"}, "Tiltfile", read(t, "Tiltfile"), tilt.builtins())
	if err != nil {
		t.Fatal(err)
	}

	c := manifests(t)
	for _, w := range c.workloads {
		image := w.pod.Spec.Containers[0].Image
		if strings.HasPrefix(image, "kurir/") && !slices.Contains(tilt.images, image) {
			t.Errorf("nobody builds image %s", image)
		}
		if _, ok := tilt.resources[w.name]; !ok {
			t.Errorf("the Tiltfile does not mention %s", w.name)
		}
	}
	names := slices.Collect(maps.Keys(tilt.resources))
	for name, after := range tilt.resources {
		for _, dep := range after {
			if !slices.Contains(names, dep) {
				t.Errorf("%s waits for %q, which is nothing", name, dep)
			}
		}
	}
	var want []string
	for _, s := range services() {
		want = append(want, "kurir/"+s)
	}
	slices.Sort(tilt.images)
	if diff := cmp.Diff(want, tilt.images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}
