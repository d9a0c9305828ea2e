package rpc

// Seams of the package for its tests.
var (
	Budget        = budget
	ServiceConfig = serviceConfig
)
