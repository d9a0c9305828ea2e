// Package custody reads a topic so that no record is lost, and none handed
// out again once it is done.
package custody
