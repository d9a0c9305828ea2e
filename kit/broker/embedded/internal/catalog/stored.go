package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrDamaged says that a file of the catalog is not what was written.
var ErrDamaged = errors.New("is damaged: restore it from a copy, or give the broker an empty directory")

// stored is a topic in topics.json.
type stored struct {
	Name       string            `json:"name"`
	Partitions int               `json:"partitions"`
	Settings   map[string]string `json:"settings,omitempty"`
}

// read reads and parses a file; one that is missing is the zero value.
func read[T any](name string, parse func([]byte) (T, error)) (T, error) {
	var none T
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	v, err := parse(raw)
	if err != nil {
		return none, fmt.Errorf("%q %w (%w)", name, ErrDamaged, err)
	}
	return v, nil
}

// parseTopics parses topics.json. Its topics are such as can be made, each
// there once: names become paths, and partitions files and goroutines.
func parseTopics(raw []byte) ([]stored, error) {
	var list []stored
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, errors.New("it holds no list")
	}
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		switch {
		case !valid(s.Name):
			return nil, fmt.Errorf("topic %q: %w", s.Name, ErrName)
		case seen[s.Name]:
			return nil, fmt.Errorf("topic %q: %w", s.Name, ErrExists)
		case s.Partitions < 1 || s.Partitions > mostPartitions:
			return nil, fmt.Errorf("topic %q: %w", s.Name, ErrPartitions)
		}
		seen[s.Name] = true
	}
	return list, nil
}

// parseStarts parses starts.json.
func parseStarts(raw []byte) (map[string][]int64, error) {
	var starts map[string][]int64
	if err := json.Unmarshal(raw, &starts); err != nil {
		return nil, err
	}
	for name, offsets := range starts {
		if len(offsets) > mostPartitions {
			return nil, fmt.Errorf("topic %q: %w", name, ErrPartitions)
		}
		for p, offset := range offsets {
			if offset < 0 {
				return nil, fmt.Errorf("topic %q: partition %d begins at %d", name, p, offset)
			}
		}
	}
	return starts, nil
}
