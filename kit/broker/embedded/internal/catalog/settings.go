package catalog

import (
	"fmt"
	"maps"
	"strconv"
)

// Names of the settings that mean something here.
const (
	segmentBytes = "segment.bytes"
	maxMessage   = "max.message.bytes"
)

const (
	defaultSegment = 16 << 20
	leastSegment   = 64 << 10
	mostSegment    = 1 << 30
)

// SettingError says what is wrong with a setting.
type SettingError struct {
	// Name of the setting.
	Name string
	// Why it cannot be, as a sentence's end.
	Why string
}

// Error implements error.
func (e *SettingError) Error() string { return e.Name + " " + e.Why }

// Settings of a topic, named as those of Apache Kafka. Those that this broker
// does not have accept the one value that says what it does.
type Settings struct {
	// SegmentBytes is when the next segment is begun.
	SegmentBytes int64
	// MaxMessage is the largest batch taken.
	MaxMessage int

	set map[string]string // those not left at their defaults
}

// fixed are settings with one value.
func fixed() map[string]string {
	return map[string]string{
		"cleanup.policy":                 "delete",
		"retention.ms":                   "-1",
		"retention.bytes":                "-1",
		"min.insync.replicas":            "1",
		"compression.type":               "producer",
		"message.timestamp.type":         "CreateTime",
		"unclean.leader.election.enable": "false",
	}
}

// with changes settings; an empty value is the default again.
func (s Settings) with(changes map[string]string, mostMessage int) (Settings, error) {
	set := maps.Clone(s.set)
	if set == nil {
		set = make(map[string]string)
	}
	for name, value := range changes {
		if value == "" {
			delete(set, name)
		} else {
			set[name] = value
		}
	}
	next := Settings{SegmentBytes: defaultSegment, MaxMessage: mostMessage, set: set}
	only := fixed()
	for name, value := range set {
		switch name {
		case segmentBytes, maxMessage:
			n, err := strconv.ParseInt(value, 10, 64)
			least, most := int64(leastSegment), int64(mostSegment)
			if name == maxMessage {
				least, most = 64, int64(mostMessage)
			}
			if err != nil || n < least || n > most {
				return s, &SettingError{name, fmt.Sprintf("is a number from %d to %d", least, most)}
			}
			if name == maxMessage {
				next.MaxMessage = int(n)
			} else {
				next.SegmentBytes = n
			}
		default:
			want, ok := only[name]
			if !ok {
				return s, &SettingError{name, "is not a setting of the embedded broker"}
			}
			if value != want {
				return s, &SettingError{name, fmt.Sprintf("can only be %q on the embedded broker", want)}
			}
		}
	}
	return next, nil
}

// All settings and their values.
func (s Settings) All() map[string]string {
	all := fixed()
	all[segmentBytes] = strconv.FormatInt(s.SegmentBytes, 10)
	all[maxMessage] = strconv.Itoa(s.MaxMessage)
	return all
}

// Default says whether a setting was left as it is.
func (s Settings) Default(name string) bool {
	_, ok := s.set[name]
	return !ok
}
