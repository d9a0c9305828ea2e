package broker

import (
	"context"

	"github.com/segmentio/kafka-go"
)

// Members counts the clients that are members of at least one of the groups: a
// process that is in several counts once. A group that does not exist has
// none. Failure is fault.Unavailable.
func (c *Client) Members(ctx context.Context, groups ...string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	clients := map[string]bool{}
	for _, group := range groups { // each may have a coordinator of its own
		res, err := c.kafka.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return 0, unavailable("broker does not answer", err)
		}
		for _, g := range res.Groups {
			if g.Error != nil {
				return 0, unavailable("broker does not know a group", g.Error)
			}
			for _, m := range g.Members {
				clients[m.ClientID] = true
			}
		}
	}
	return len(clients), nil
}
