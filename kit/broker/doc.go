// Package broker reaches the Kafka broker: topics, producing, lag. The broker
// that runs in the process itself is package embedded, and is reached the same
// way.
package broker
