package conf

import "strings"

// Under says of the faults of one part of a configuration where that part is:
// key comes before each of them, as in "broker.addrs: ...". It returns nil for
// nil. The Validate of what holds the part calls it.
func Under(key string, err error) error {
	if err == nil {
		return nil
	}
	return &under{key: key + ".", err: err}
}

// under is joined faults, one a line, with a key before each.
type under struct {
	key string
	err error
}

func (u *under) Error() string {
	return u.key + strings.ReplaceAll(u.err.Error(), "\n", "\n"+u.key)
}

func (u *under) Unwrap() error { return u.err }
