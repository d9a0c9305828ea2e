package catalog

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzTopics parses topics.json as a disk may have left it: what is taken can
// be made, and is what is written back.
func FuzzTopics(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `[]`, `{}`, `[{}]`, "[{\"name\":\"a\",\"partitions\":1}]\n", `[{"name":"a","partitions":3,"settings":{"segment.bytes":"65536"}}]`,
		`[{"name":"../../etc","partitions":1}]`, `[{"name":"..","partitions":1}]`, `[{"name":"a","partitions":1000000000}]`,
		`[{"name":"a","partitions":1},{"name":"a","partitions":2}]`, `[{"name":"a","partitions":-1}]`, `[{"name":"a","part`,
		"\x00\x00\x00\x00", `[{"name":"a","partitions":1e300}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parseTopics(raw)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range list {
			if !valid(s.Name) || seen[s.Name] || s.Partitions < 1 || s.Partitions > mostPartitions {
				t.Fatalf("parseTopics(%q) has %+v", raw, s)
			}
			seen[s.Name] = true
		}
		again, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseTopics(again)
		if err != nil {
			t.Fatalf("parseTopics(%q) = %v, but it was written", again, err)
		}
		for i := range list { // an empty map is none
			if len(list[i].Settings) == 0 {
				list[i].Settings = nil
			}
		}
		if diff := cmp.Diff(list, back); diff != "" {
			t.Errorf("parseTopics(%q) (-first +again):\n%s", raw, diff)
		}
	})
}

// FuzzStarts does the same for starts.json.
func FuzzStarts(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{"a":[0,5]}`, `{"a":[-1]}`, `{"a":null}`, `{"a":[9223372036854775807]}`, `{"a":[1`, `{"../x":[1]}`, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		starts, err := parseStarts(raw)
		for name, offsets := range starts {
			for _, offset := range offsets {
				if err != nil || offset < 0 || len(offsets) > mostPartitions {
					t.Fatalf("parseStarts(%q) = %v, %v for topic %q", raw, offsets, err, name)
				}
			}
		}
	})
}
