package group

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

// Requests are the caller's again once they are answered: what the coordinator
// keeps of them it copies.

// Join answers JoinGroup. It blocks until the round ends or ctx does, which
// must be when the connection of the member is lost: a member whose join is
// abandoned must join again before its session times out, and one that was
// never told its id is forgotten at once. inside says that it is of this very
// process.
func (c *Coordinator) Join(ctx context.Context, r *kmsg.JoinGroupRequest, clientID, host string, inside bool) *kmsg.JoinGroupResponse {
	res := r.ResponseKind().(*kmsg.JoinGroupResponse)
	res.Generation, res.MemberID = -1, r.MemberID
	res.Protocol = new(string)
	if !valid(r.Group) {
		res.ErrorCode = kerr.InvalidGroupID.Code
		return res
	}
	c.reserve()
	j := machine.Join{
		Ticket: c.ticket(), Member: r.MemberID, NewID: memberID(clientID),
		Announce: r.Version >= 4, Static: r.InstanceID != nil, // KIP-394, KIP-345
		ClientID: clientID, Host: host, ProtocolType: r.ProtocolType,
		Session: millis(r.SessionTimeoutMillis), Rebalance: millis(r.RebalanceTimeoutMillis),
	}
	if inside {
		j.Process = c.cfg.Process
	}
	for _, p := range r.Protocols {
		j.Protocols = append(j.Protocols, machine.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	reply, answered := c.call(ctx, r.Group, true, j.Ticket, func(g *machine.Group, now time.Time) []machine.Reply {
		return g.Join(now, j)
	})
	if answered && ctx.Err() != nil && reply.Err == nil && r.MemberID == "" {
		_ = c.leave(r.Group, reply.Joined.Member) // nobody will ever know its id
	}
	fill(res, reply)
	return res
}

// fill writes the machine's answer to a join into the response.
func fill(res *kmsg.JoinGroupResponse, reply machine.Reply) {
	res.ErrorCode = code(reply.Err)
	if reply.Joined.Member != "" {
		res.MemberID = reply.Joined.Member
	}
	if reply.Err != nil {
		return
	}
	j := reply.Joined
	res.Generation, res.LeaderID = j.Generation, j.Leader
	res.ProtocolType, res.Protocol = &j.ProtocolType, &j.Protocol
	for _, s := range j.Members {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.ProtocolMetadata = s.Member, s.Metadata
		res.Members = append(res.Members, m)
	}
}

// Sync answers SyncGroup. It blocks until the leader has dealt, the round is
// over without that, or ctx ends.
func (c *Coordinator) Sync(ctx context.Context, r *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	res := r.ResponseKind().(*kmsg.SyncGroupResponse)
	if !valid(r.Group) {
		res.ErrorCode = kerr.InvalidGroupID.Code
		return res
	}
	s := machine.Sync{
		Ticket: c.ticket(), Member: r.MemberID, Generation: r.Generation,
		ProtocolType: text(r.ProtocolType), Protocol: text(r.Protocol),
		Assignments: make(map[string][]byte, len(r.GroupAssignment)),
	}
	for _, a := range r.GroupAssignment {
		s.Assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
	}
	reply, _ := c.call(ctx, r.Group, false, s.Ticket, func(g *machine.Group, now time.Time) []machine.Reply {
		return g.Sync(now, s)
	})
	res.ErrorCode = code(reply.Err)
	if reply.Err == nil {
		res.ProtocolType, res.Protocol = &reply.Synced.ProtocolType, &reply.Synced.Protocol
		res.MemberAssignment = reply.Synced.Assignment
	}
	return res
}

// Heartbeat answers Heartbeat.
func (c *Coordinator) Heartbeat(r *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	res := r.ResponseKind().(*kmsg.HeartbeatResponse)
	if !valid(r.Group) {
		res.ErrorCode = kerr.InvalidGroupID.Code
		return res
	}
	err := c.absent()
	c.visit(r.Group, false, func(g *cell, now time.Time) []machine.Reply {
		err = g.machine.Heartbeat(now, r.MemberID, r.Generation)
		return nil
	})
	res.ErrorCode = code(err)
	return res
}

// Leave answers LeaveGroup.
func (c *Coordinator) Leave(r *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	res := r.ResponseKind().(*kmsg.LeaveGroupResponse)
	switch {
	case !valid(r.Group):
		res.ErrorCode = kerr.InvalidGroupID.Code
	case r.Version < 3:
		res.ErrorCode = code(c.leave(r.Group, r.MemberID))
	default:
		for _, m := range r.Members {
			gone := kmsg.NewLeaveGroupResponseMember()
			gone.MemberID, gone.InstanceID = m.MemberID, m.InstanceID
			gone.ErrorCode = code(c.leave(r.Group, m.MemberID))
			res.Members = append(res.Members, gone)
		}
	}
	return res
}

func (c *Coordinator) leave(group, member string) *kerr.Error {
	err := c.absent()
	c.visit(group, false, func(g *cell, now time.Time) []machine.Reply {
		var replies []machine.Reply
		replies, err = g.machine.Leave(now, member)
		return replies
	})
	return err
}

func (c *Coordinator) ticket() machine.Ticket { return machine.Ticket(c.tickets.Add(1)) }

// memberID is a new member's id: the beginning of what the client calls
// itself, and 128 random bits. It is valid UTF-8, for so it is saved.
func memberID(clientID string) string {
	return strings.ToValidUTF8(clientID[:min(len(clientID), 64)], "") + "-" + rand.Text()
}

// valid says whether a group with members may have the name.
func valid(group string) bool { return group != "" && len(group) <= offsets.MaxName }

func millis(n int32) time.Duration { return time.Duration(n) * time.Millisecond }

// code is the number of an error; 0 for nil.
func code(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}

// text is what s points to; empty for nil.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
