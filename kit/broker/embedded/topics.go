package embedded

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/catalog"
	"kurir.dev/kit/broker/embedded/internal/wire"
)

// verdict is an error as a client gets it. Faults of the disk are logged and
// not told.
func (e *Broker) verdict(ctx context.Context, topic string, err error) (int16, *string) {
	_, setting := errors.AsType[*catalog.SettingError](err)
	code := wire.StorageError
	switch {
	case err == nil:
		return wire.None, nil
	case errors.Is(err, catalog.ErrUnknown):
		code = wire.UnknownTopicOrPartition
	case errors.Is(err, catalog.ErrExists):
		code = wire.TopicAlreadyExists
	case errors.Is(err, catalog.ErrName):
		code = wire.InvalidTopic
	case errors.Is(err, catalog.ErrPartitions):
		code = wire.InvalidPartitions
	case setting:
		code = wire.InvalidConfig
	case errors.Is(err, errReplicas):
		code = wire.InvalidReplicationFactor
	case errors.Is(err, errAssigned):
		code = wire.InvalidReplicaAssignment
	case errors.Is(err, errResource):
		code = wire.InvalidRequest
	case errors.Is(err, errFull):
		return code, new(err.Error())
	default:
		e.log.ErrorContext(ctx, "topic cannot be changed", slog.String("topic", topic), slog.Any("error", err))
		return code, nil
	}
	return code, new(err.Error())
}

// Errors of requests about topics.
var (
	errReplicas = errors.New("the embedded broker is one: the replication factor is 1")
	errAssigned = errors.New("the embedded broker is one: there is nothing to assign")
	errResource = errors.New("only topics can be configured, with set and delete")
	errFull     = errors.New("the disk is nearly full")
)

func (e *Broker) createTopics(ctx context.Context, _ *wire.Request, q *kmsg.CreateTopicsRequest) kmsg.Response {
	res := kmsg.NewPtrCreateTopicsResponse()
	for i := range q.Topics {
		qt := &q.Topics[i]
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic = qt.Topic
		t.ErrorCode, t.ErrorMessage = e.verdict(ctx, qt.Topic, e.createTopic(ctx, qt, q.ValidateOnly))
		t.NumPartitions, t.ReplicationFactor = max(1, qt.NumPartitions), 1
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (e *Broker) createTopic(ctx context.Context, q *kmsg.CreateTopicsRequestTopic, dry bool) error {
	switch {
	case len(q.ReplicaAssignment) > 0:
		return errAssigned
	case q.ReplicationFactor != 1 && q.ReplicationFactor != -1:
		return errReplicas
	case e.guard.full():
		return errFull
	}
	settings := make(map[string]string, len(q.Configs))
	for _, c := range q.Configs {
		if c.Value != nil {
			settings[c.Name] = *c.Value
		}
	}
	n := int(q.NumPartitions)
	if n == -1 { // the broker's default
		n = 1
	}
	return e.topics.Create(ctx, q.Topic, n, settings, dry)
}

func (e *Broker) createPartitions(ctx context.Context, _ *wire.Request, q *kmsg.CreatePartitionsRequest) kmsg.Response {
	res := kmsg.NewPtrCreatePartitionsResponse()
	for _, qt := range q.Topics {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic = qt.Topic
		err := errAssigned
		if len(qt.Assignment) == 0 {
			err = e.topics.Extend(ctx, qt.Topic, int(qt.Count), q.ValidateOnly)
		}
		t.ErrorCode, t.ErrorMessage = e.verdict(ctx, qt.Topic, err)
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (e *Broker) deleteTopics(ctx context.Context, _ *wire.Request, q *kmsg.DeleteTopicsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteTopicsResponse()
	for _, name := range q.TopicNames {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic = new(name)
		err := e.topics.Delete(name)
		if !errors.Is(err, catalog.ErrUnknown) {
			e.groups.Forget(name)
		}
		t.ErrorCode, t.ErrorMessage = e.verdict(ctx, name, err)
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (e *Broker) describeConfigs(ctx context.Context, _ *wire.Request, q *kmsg.DescribeConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeConfigsResponse()
	for i := range q.Resources {
		qr := &q.Resources[i]
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = qr.ResourceType, qr.ResourceName
		settings, ok := e.topics.Settings(qr.ResourceName)
		switch {
		case qr.ResourceType == kmsg.ConfigResourceTypeBroker: // has none
		case qr.ResourceType != kmsg.ConfigResourceTypeTopic:
			r.ErrorCode, r.ErrorMessage = e.verdict(ctx, qr.ResourceName, errResource)
		case !ok:
			r.ErrorCode, r.ErrorMessage = e.verdict(ctx, qr.ResourceName, catalog.ErrUnknown)
		default:
			r.Configs = configs(settings, qr.ConfigNames)
		}
		res.Resources = append(res.Resources, r)
	}
	return res
}

// configs lists settings, all when no names are given.
func configs(s catalog.Settings, names []string) []kmsg.DescribeConfigsResponseResourceConfig {
	all := s.All()
	if names == nil {
		names = slices.Sorted(maps.Keys(all))
	}
	var list []kmsg.DescribeConfigsResponseResourceConfig
	for _, name := range names {
		value, ok := all[name]
		if !ok {
			continue
		}
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value = name, new(value)
		c.IsDefault, c.Source = true, kmsg.ConfigSourceDefaultConfig
		if !s.Default(name) {
			c.IsDefault, c.Source = false, kmsg.ConfigSourceDynamicTopicConfig
		}
		list = append(list, c)
	}
	return list
}

func (e *Broker) alterConfigs(ctx context.Context, _ *wire.Request, q *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i := range q.Resources {
		qr := &q.Resources[i]
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = qr.ResourceType, qr.ResourceName
		r.ErrorCode, r.ErrorMessage = e.verdict(ctx, qr.ResourceName, e.alter(qr, q.ValidateOnly))
		res.Resources = append(res.Resources, r)
	}
	return res
}

func (e *Broker) alter(q *kmsg.IncrementalAlterConfigsRequestResource, dry bool) error {
	if q.ResourceType != kmsg.ConfigResourceTypeTopic {
		return errResource
	}
	settings := make(map[string]string, len(q.Configs))
	for _, c := range q.Configs {
		switch {
		case c.Op == kmsg.IncrementalAlterConfigOpDelete:
			settings[c.Name] = ""
		case c.Op == kmsg.IncrementalAlterConfigOpSet && c.Value != nil:
			settings[c.Name] = *c.Value
		default:
			return errResource
		}
	}
	return e.topics.Change(q.ResourceName, settings, dry)
}
