package deploy_test

import (
	"bytes"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// workload is what a Deployment and a StatefulSet have in common.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
}

// cluster is everything deploy/kubernetes declares.
type cluster struct {
	workloads  []workload
	services   []*corev1.Service
	budgets    []*policyv1.PodDisruptionBudget
	configMaps map[string]bool
}

// manifests decodes all manifests; an unknown field or kind fails the test.
func manifests(t *testing.T) cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	c := cluster{configMaps: make(map[string]bool)}
	for _, file := range find(t, "deploy/kubernetes", ".yaml") {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		for document := range bytes.SplitSeq(read(t, file), []byte("\n---\n")) {
			object, _, err := decoder.Decode(document, nil, nil)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			switch o := object.(type) {
			case *appsv1.Deployment:
				c.workloads = append(c.workloads, workload{name: o.Name, selector: o.Spec.Selector, pod: o.Spec.Template})
			case *appsv1.StatefulSet:
				c.workloads = append(c.workloads, workload{o.Name, o.Spec.Selector, o.Spec.Template, o.Spec.VolumeClaimTemplates})
			case *corev1.Service:
				c.services = append(c.services, o)
			case *policyv1.PodDisruptionBudget:
				c.budgets = append(c.budgets, o)
			case *corev1.ConfigMap:
				c.configMaps[o.Name] = true
			case *corev1.Namespace:
			default:
				t.Errorf("%s: %T is nothing this test knows", file, object)
			}
		}
	}
	for _, file := range find(t, "deploy", "kustomization.yaml") {
		for _, g := range kustomizations(t, file).ConfigMapGenerator {
			c.configMaps[g.Name] = true
		}
	}
	return c
}

func TestKubernetesWorkloads(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	var names []string
	for _, w := range c.workloads {
		names = append(names, w.name)
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			if !matches(t, w.selector, w.pod.Labels) {
				t.Errorf("selector %v does not select the pod's labels %v", w.selector.MatchLabels, w.pod.Labels)
			}
			checkPod(t, w)
			for _, container := range w.pod.Spec.Containers {
				checkContainer(t, container)
			}
			checkVolumes(t, c, w)
		})
	}
	slices.Sort(names)
	want := slices.Sorted(slices.Values(append(services(), "jaeger", "kafka", "postgres")))
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
}

func checkPod(t *testing.T, w workload) {
	t.Helper()
	spec := w.pod.Spec
	if spec.SecurityContext == nil || spec.SecurityContext.RunAsNonRoot == nil || !*spec.SecurityContext.RunAsNonRoot {
		t.Error("the pod may run as root")
	}
	if spec.SecurityContext != nil && spec.SecurityContext.SeccompProfile == nil {
		t.Error("the pod has no seccomp profile, which the namespace demands")
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Error("the pod gets a token of the Kubernetes API that it has no use for")
	}
	if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
		t.Error("services would come as environment variables and may be taken for settings")
	}
}

func checkContainer(t *testing.T, c corev1.Container) {
	t.Helper()
	if !strings.HasPrefix(c.Image, "kurir/") && !regexp.MustCompile(`:\d+[\d.]*`).MatchString(c.Image) {
		t.Errorf("image %q is not pinned to a version", c.Image)
	}
	if c.SecurityContext == nil || c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation ||
		c.SecurityContext.Capabilities == nil || !slices.Contains(c.SecurityContext.Capabilities.Drop, "ALL") {
		t.Error("the container keeps privileges, which the namespace forbids")
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Error("cpu and memory requests and a memory limit must be set")
	}
	if c.ReadinessProbe == nil || c.LivenessProbe == nil {
		t.Error("readiness and liveness probes must be set")
	}
	for what, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
		if probe == nil {
			continue
		}
		switch {
		case probe.HTTPGet != nil && !hasPort(c, probe.HTTPGet.Port),
			probe.TCPSocket != nil && !hasPort(c, probe.TCPSocket.Port),
			probe.GRPC != nil && !slices.Contains(c.Ports, corev1.ContainerPort{Name: "grpc", ContainerPort: probe.GRPC.Port}):
			t.Errorf("the %s probe asks a port the container does not have, or not for that", what)
		}
	}
}

func checkVolumes(t *testing.T, c cluster, w workload) {
	t.Helper()
	made := secrets(t)
	unused := make(map[string]bool)
	for _, claim := range w.claims {
		unused[claim.Name] = true
	}
	for _, v := range w.pod.Spec.Volumes {
		unused[v.Name] = true
		if v.ConfigMap != nil && !c.configMaps[v.ConfigMap.Name] {
			t.Errorf("volume %q: no config map %q", v.Name, v.ConfigMap.Name)
		}
		if v.Secret != nil && (v.Secret.Optional == nil || !*v.Secret.Optional) {
			for _, item := range v.Secret.Items {
				if !slices.Contains(made[v.Secret.SecretName], item.Key) {
					t.Errorf("volume %q: no key %q in secret %q", v.Name, item.Key, v.Secret.SecretName)
				}
			}
		}
	}
	for _, container := range w.pod.Spec.Containers {
		for _, m := range container.VolumeMounts {
			if _, ok := unused[m.Name]; !ok {
				t.Errorf("mount %q: no such volume", m.MountPath)
			}
			unused[m.Name] = false
		}
		for _, e := range container.Env {
			if e.ValueFrom == nil {
				continue
			}
			if ref := e.ValueFrom.SecretKeyRef; ref == nil || !slices.Contains(made[ref.Name], ref.Key) {
				t.Errorf("%s: no secret has that key", e.Name)
			}
		}
	}
	for name, is := range unused {
		if is {
			t.Errorf("volume %q is mounted nowhere", name)
		}
	}
}

// secrets reads which keys deploy/kubernetes/secrets puts into which secret.
func secrets(t *testing.T) map[string][]string {
	t.Helper()
	made := make(map[string][]string)
	text := strings.ReplaceAll(string(read(t, "deploy/kubernetes/secrets")), "\\\n", " ")
	for _, m := range regexp.MustCompile(`(?m)^secret (\S+) (.*)$`).FindAllStringSubmatch(text, -1) {
		for _, f := range regexp.MustCompile(`--from-file=\S*/([\w.]+)|--from-literal=(\w+)=`).FindAllStringSubmatch(m[2], -1) {
			made[m[1]] = append(made[m[1]], f[1]+f[2])
		}
	}
	if len(made) == 0 {
		t.Error("deploy/kubernetes/secrets makes no secret this test can read")
	}
	return made
}

func TestKubernetesServices(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	for _, s := range c.services {
		at := slices.IndexFunc(c.workloads, func(w workload) bool {
			return labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.pod.Labels))
		})
		if at < 0 {
			t.Errorf("service %s selects no pod", s.Name)
			continue
		}
		for _, port := range s.Spec.Ports {
			if !hasPort(c.workloads[at].pod.Spec.Containers[0], port.TargetPort) {
				t.Errorf("service %s: no container port %q", s.Name, port.TargetPort.String())
			}
		}
	}
	for _, b := range c.budgets {
		if !slices.ContainsFunc(c.workloads, func(w workload) bool { return matches(t, b.Spec.Selector, w.pod.Labels) }) {
			t.Errorf("disruption budget %s selects no pod", b.Name)
		}
	}
	if got, want := len(c.budgets), len(services()); got != want {
		t.Errorf("%d disruption budgets, want %d: one for each service", got, want)
	}
}

func matches(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

func hasPort(c corev1.Container, want intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return p.Name == want.StrVal && want.Type == intstr.String || p.ContainerPort == want.IntVal && want.Type == intstr.Int
	})
}

// kustomization is what our kustomizations use of their format.
type kustomization struct {
	APIVersion         string   `yaml:"apiVersion"`
	Kind               string   `yaml:"kind"`
	Namespace          string   `yaml:"namespace"`
	Resources          []string `yaml:"resources"`
	ConfigMapGenerator []struct {
		Name  string   `yaml:"name"`
		Files []string `yaml:"files"`
	} `yaml:"configMapGenerator"`
}

func kustomizations(t *testing.T, file string) kustomization {
	t.Helper()
	var k kustomization
	strict(t, &k, file)
	return k
}

// TestKustomizations walks from the top: what is listed exists, and no manifest
// is left out.
func TestKustomizations(t *testing.T) {
	t.Parallel()
	reached := make(map[string]bool)
	var walk func(dir string)
	walk = func(dir string) {
		file := filepath.Join(dir, "kustomization.yaml")
		reached[file] = true
		k := kustomizations(t, file)
		for _, r := range k.Resources {
			if path := filepath.Join(dir, r); strings.HasSuffix(r, ".yaml") {
				exists(t, file, path)
				reached[path] = true
			} else {
				walk(path)
			}
		}
		for _, g := range k.ConfigMapGenerator {
			for _, f := range g.Files {
				exists(t, file, filepath.Join(dir, f))
				reached[filepath.Join(dir, f)] = true
			}
		}
	}
	walk("deploy/kubernetes")
	want := append(find(t, "deploy/kubernetes", ".yaml"), find(t, "deploy/config", ".yaml")...)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(reached))); diff != "" {
		t.Errorf("files kustomize reaches (-want +got):\n%s", diff)
	}
}
