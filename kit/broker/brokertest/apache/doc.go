// Package apache runs Apache Kafka for tests: one combined broker and
// controller, or three, each a JVM of its own on loopback, with its data in a
// temporary directory.
//
//	c, err := apache.Start(ctx, apache.Options{Nodes: 3})
//	defer c.Close()
//	c.Kill(2); c.Begin(ctx, 2)
//
// The jars are those of KAFKA_HOME, or what `make kafka` put into .bin/kafka.
// Nodes are numbered from 1. Topics are never made by the way, sessions may be
// short, and a group is dealt out at once: everything else is as Kafka has it
// or as the runbook recommends.
//
// A node that this process leaves behind, however it ends, is ended.
package apache
