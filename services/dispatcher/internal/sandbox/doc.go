// Package sandbox is an inbox for mail that must not leave the machine.
package sandbox
