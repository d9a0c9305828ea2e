// Package site shares a destination's connections among the mail that waits
// for it.
package site
