package deploy_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// composition is what our compose.yaml uses of its format.
type composition struct {
	Name     string                `yaml:"name"`
	Anchor   any                   `yaml:"x-service"`
	Services map[string]*container `yaml:"services"`
	Configs  map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
	Volumes map[string]struct{} `yaml:"volumes"`
}

type container struct {
	Image string `yaml:"image"`
	Build *struct {
		Context    string            `yaml:"context"`
		Dockerfile string            `yaml:"dockerfile"`
		Args       map[string]string `yaml:"args"`
	} `yaml:"build"`
	Command   []string `yaml:"command"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Environment map[string]string `yaml:"environment"`
	Healthcheck *struct {
		Test     []string `yaml:"test"`
		Interval string   `yaml:"interval"`
		Retries  int      `yaml:"retries"`
	} `yaml:"healthcheck"`
	Configs []struct {
		Source string `yaml:"source"`
		Target string `yaml:"target"`
	} `yaml:"configs"`
	Ports           []string `yaml:"ports"`
	Volumes         []string `yaml:"volumes"`
	Restart         string   `yaml:"restart"`
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
}

func compose(t *testing.T) composition {
	t.Helper()
	var c composition
	strict(t, &c, "deploy/compose.yaml")
	return c
}

func TestCompose(t *testing.T) {
	t.Parallel()
	c := compose(t)
	for _, s := range services() {
		if c.Services[s] == nil {
			t.Errorf("no service %s", s)
		}
	}
	for name, s := range c.Services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s.Build != nil {
				exists(t, "build", path.Join("deploy", s.Build.Context, s.Build.Dockerfile))
				if want := "kurir/" + s.Build.Args["SERVICE"]; s.Image != want {
					t.Errorf("image %q is built from %q", s.Image, want)
				}
			}
			for dep, on := range s.DependsOn {
				other := c.Services[dep]
				switch {
				case other == nil:
					t.Errorf("depends on %q, which is nothing", dep)
				case on.Condition == "service_healthy" && other.Healthcheck == nil:
					t.Errorf("waits for the health of %s, which has no check", dep)
				case !slices.Contains([]string{"service_healthy", "service_started", "service_completed_successfully"}, on.Condition):
					t.Errorf("unknown condition %q", on.Condition)
				}
			}
			for _, v := range s.Volumes {
				source, _, _ := strings.Cut(v, ":")
				if strings.HasPrefix(source, ".") {
					exists(t, "volume", path.Join("deploy", source))
				} else if _, ok := c.Volumes[source]; !ok {
					t.Errorf("no volume %q", source)
				}
			}
			for _, conf := range s.Configs {
				if _, ok := c.Configs[conf.Source]; !ok {
					t.Errorf("no config %q", conf.Source)
				}
			}
			for _, p := range s.Ports {
				if !strings.HasPrefix(p, "127.0.0.1:") {
					t.Errorf("port %s is open to the network", p)
				}
			}
		})
	}
}

// TestAlike checks that compose.yaml and the Kubernetes manifests run the same
// images with the same settings.
func TestAlike(t *testing.T) {
	t.Parallel()
	c := compose(t)
	for _, w := range manifests(t).workloads {
		s, in := c.Services[w.name], w.pod.Spec.Containers[0]
		if s == nil {
			t.Errorf("%s is not in compose.yaml", w.name)
			continue
		}
		if s.Image != in.Image {
			t.Errorf("%s runs %q in compose.yaml and %q in Kubernetes", w.name, s.Image, in.Image)
		}
		if diff := cmp.Diff(in.Args, s.Command); diff != "" {
			t.Errorf("arguments of %s (-Kubernetes +compose):\n%s", w.name, diff)
		}
		for _, e := range in.Env {
			got, ok := s.Environment[e.Name]
			if e.ValueFrom == nil && e.Name != "PGDATA" && got != e.Value || e.ValueFrom != nil && !ok {
				t.Errorf("%s: %s is %q in compose.yaml and %q in Kubernetes", w.name, e.Name, got, e.Value)
			}
		}
	}
}
