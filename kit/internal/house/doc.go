// Package house holds no code, only tests of the whole repository: what a
// compiler does not check and a reviewer should not have to.
//
//   - files stay small, names plain, every package says what it is for;
//   - an RFC that code cites is in docs/rfc.md, and what that index claims
//     to be implemented is cited where it says;
//   - walls between parts hold: services never import one another, and no
//     binary links what it has no business with;
//   - the modules agree on versions.
package house
