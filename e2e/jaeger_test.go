package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"kurir.dev/e2e/harness"
)

// jaegerTrace is what Jaeger's query API answers for one trace.
type jaegerTrace struct {
	Data []struct {
		Spans []struct {
			SpanID        string `json:"spanID"`
			OperationName string `json:"operationName"`
			ProcessID     string `json:"processID"`
			References    []struct {
				SpanID string `json:"spanID"`
			} `json:"references"`
		} `json:"spans"`
		Processes map[string]struct {
			ServiceName string `json:"serviceName"`
		} `json:"processes"`
	} `json:"data"`
}

// TestJaeger exports a bill's journey to a real Jaeger and reads the whole
// trace back through its query API.
func TestJaeger(t *testing.T) {
	binary, config := filepath.Join("..", ".bin", "jaeger"), filepath.Join("..", "tools", "jaeger", "memory.yaml")
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Jaeger is missing; build it with make tools")
		}
		t.Skip("Jaeger is not built; make tools does it")
	}
	otlp, query := harness.FreeAddress(t), harness.FreeAddress(t)
	t.Setenv("JAEGER_OTLP_LISTEN", otlp)
	t.Setenv("JAEGER_QUERY_LISTEN", query)
	harness.Run(t, binary, query, "--config", config)

	m := harness.Start(t, harness.Options{TraceEndpoint: otlp, OwnBroker: true})
	root, _ := journey(t, m, otlp)
	harness.Eventually(t, func() error {
		found, err := readTrace(query, root.TraceID().String())
		if err != nil {
			return err
		}
		for _, s := range found {
			if s.Parent != "" && found[s.Parent].ID == "" {
				return fmt.Errorf("span %s %q has a parent Jaeger does not know", s.Service, s.Name)
			}
		}
		for _, station := range stations {
			if !holds(found, station) {
				return fmt.Errorf("Jaeger's trace has no span %q of %s: %v", station[1], station[0], names(found))
			}
		}
		return nil
	})
}

// readTrace reads a trace from Jaeger's query API.
func readTrace(query, id string) (map[string]harness.Span, error) {
	res, err := http.Get("http://" + query + "/api/traces/" + id)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("Jaeger answered %s", res.Status)
	}
	var trace jaegerTrace
	if err := json.NewDecoder(res.Body).Decode(&trace); err != nil {
		return nil, err
	}
	if len(trace.Data) != 1 {
		return nil, errors.New("Jaeger does not have the trace")
	}
	found := map[string]harness.Span{}
	for _, s := range trace.Data[0].Spans {
		span := harness.Span{Service: trace.Data[0].Processes[s.ProcessID].ServiceName, Name: s.OperationName, ID: s.SpanID}
		if len(s.References) > 0 {
			span.Parent = s.References[0].SpanID
		}
		found[s.SpanID] = span
	}
	return found, nil
}
