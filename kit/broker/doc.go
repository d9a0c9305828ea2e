// Package broker reaches the Kafka broker: topics, producing, lag; and holds
// the embedded one.
package broker
