package app

// VersionOf is the seam for the test of Version.
var VersionOf = version
