// franz-go behind the tests' line protocol.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"tailrace.compat/clients/line"
)

func main() {
	line.Serve(map[string]func(*line.Request) (any, error){
		"produce":           produce,
		"consume":           consume,
		"offset_at":         offsetAt,
		"create_topic":      createTopic,
		"create_partitions": createPartitions,
		"delete_topic":      deleteTopic,
		"partition_count":   partitionCount,
		"topic_configs":     topicConfigs,
		"alter_topic":       alterTopic,
		"delete_records":    deleteRecords,
		"join":              join,
		"poll":              poll,
		"commit":            commit,
		"seek":              seek,
		"leave":             leave,
		"committed":         committed,
		"groups":            groups,
		"group_state":       groupState,
		"commit_offset":     commitOffset,
		"delete_group":      deleteGroup,
	})
}

func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), line.Timeout)
}

func withAdmin(request *line.Request, work func(context.Context, *kadm.Client) (any, error)) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(request.Bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := bounded()
	defer cancel()
	return work(ctx, kadm.NewClient(client))
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func produce(request *line.Request) (any, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(request.Bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[request.Codec]),
		kgo.ProducerLinger(50 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(1_000_000),
		kgo.AllowAutoTopicCreation(),
		kgo.UnknownTopicRetries(50),
	}
	switch request.Acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	default:
		options = append(options, kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	if !request.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := bounded()
	defer cancel()
	records := make([]*kgo.Record, len(request.Records))
	for i, asked := range request.Records {
		record := &kgo.Record{Topic: request.Topic, Partition: request.Partition, Key: asked.Key, Value: asked.Value}
		if asked.Timestamp >= 0 {
			record.Timestamp = time.UnixMilli(asked.Timestamp)
		}
		for _, header := range asked.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		records[i] = record
	}
	results := client.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		return nil, err
	}
	offsets := make([]int64, len(records))
	for i, record := range records {
		offsets[i] = record.Offset
		if request.Acks == "0" {
			offsets[i] = -1
		}
	}
	return offsets, nil
}

func told(record *kgo.Record) line.Record {
	headers := make([]line.Header, len(record.Headers))
	for i, header := range record.Headers {
		headers[i] = line.Header{Name: header.Key, Value: header.Value}
	}
	return line.Record{
		Key: record.Key, Value: record.Value, Headers: headers, Timestamp: record.Timestamp.UnixMilli(),
		Partition: record.Partition, Offset: record.Offset,
	}
}

func consume(request *line.Request) (any, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(request.Bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			request.Topic: {request.Partition: kgo.NewOffset().At(request.Offset)},
		}),
		kgo.FetchMaxPartitionBytes(2<<20),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := bounded()
	defer cancel()
	found := []line.Record{}
	for len(found) < request.Count {
		fetches := client.PollRecords(ctx, request.Count-len(found))
		if errs := fetches.Errors(); len(errs) > 0 {
			return nil, fmt.Errorf("%d of %d records: %w", len(found), request.Count, errs[0].Err)
		}
		fetches.EachRecord(func(record *kgo.Record) { found = append(found, told(record)) })
	}
	return found, nil
}

func offsetAt(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		listed, err := admin.ListOffsetsAfterMilli(ctx, request.Timestamp, request.Topic)
		if err != nil {
			return nil, err
		}
		found, _ := listed.Lookup(request.Topic, request.Partition)
		if found.Err != nil {
			return nil, found.Err
		}
		if found.Timestamp < 0 { // kadm says the end where nothing is found
			return nil, nil
		}
		return found.Offset, nil
	})
}

func createTopic(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		configs := map[string]*string{}
		for name, value := range request.Configs {
			configs[name] = kadm.StringPtr(value)
		}
		created, err := admin.CreateTopic(ctx, request.Partitions, 1, configs, request.Topic)
		if err != nil {
			return nil, err
		}
		return nil, created.Err
	})
}

func createPartitions(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		grown, err := admin.UpdatePartitions(ctx, int(request.Partitions), request.Topic)
		if err != nil {
			return nil, err
		}
		return nil, grown.Error()
	})
}

func deleteTopic(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		deleted, err := admin.DeleteTopic(ctx, request.Topic)
		if err != nil {
			return nil, err
		}
		return nil, deleted.Err
	})
}

func partitionCount(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		topics, err := admin.ListTopics(ctx)
		if err != nil {
			return nil, err
		}
		if !topics.Has(request.Topic) {
			return nil, nil
		}
		return len(topics[request.Topic].Partitions), nil
	})
}

func topicConfigs(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		described, err := admin.DescribeTopicConfigs(ctx, request.Topic)
		if err != nil {
			return nil, err
		}
		resource, err := described.On(request.Topic, nil)
		if err != nil {
			return nil, err
		}
		values := map[string]string{}
		for _, config := range resource.Configs {
			values[config.Key] = config.MaybeValue()
		}
		return values, resource.Err
	})
}

func alterTopic(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		alters := []kadm.AlterConfig{}
		for name, value := range request.Configs {
			alters = append(alters, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
		}
		altered, err := admin.AlterTopicConfigs(ctx, alters, request.Topic)
		if err != nil {
			return nil, err
		}
		for _, answer := range altered {
			if answer.Err != nil {
				return nil, answer.Err
			}
		}
		return nil, nil
	})
}

func deleteRecords(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: request.Topic, Partition: request.Partition, At: request.Offset})
		deleted, err := admin.DeleteRecords(ctx, offsets)
		if err != nil {
			return nil, err
		}
		if err := deleted.Error(); err != nil {
			return nil, err
		}
		answer, _ := deleted.Lookup(request.Topic, request.Partition)
		return answer.LowWatermark, nil
	})
}

// --- groups

type member struct {
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}

	lock    sync.Mutex
	owned   map[line.Place]bool
	records []line.Record
	last    []*kgo.Record
}

var members = map[int]*member{}

func (m *member) change(partitions map[string][]int32, owned bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for topic, each := range partitions {
		for _, partition := range each {
			if owned {
				m.owned[line.Place{Topic: topic, Partition: partition}] = true
			} else {
				delete(m.owned, line.Place{Topic: topic, Partition: partition})
			}
		}
	}
}

func join(request *line.Request) (any, error) {
	joined := &member{owned: map[line.Place]bool{}, done: make(chan struct{})}
	balancer := kgo.Balancers(kgo.RangeBalancer())
	if request.Assignor == "cooperative" {
		balancer = kgo.Balancers(kgo.CooperativeStickyBalancer())
	}
	lose := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { joined.change(lost, false) }
	options := []kgo.Opt{
		kgo.SeedBrokers(request.Bootstrap),
		kgo.ConsumerGroup(request.Group),
		kgo.ConsumeTopics(request.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10 * time.Second),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		balancer,
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { joined.change(got, true) }),
		kgo.OnPartitionsRevoked(lose),
		kgo.OnPartitionsLost(lose),
	}
	if request.Instance != "" {
		options = append(options, kgo.InstanceID(request.Instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	joined.client, joined.stop = client, cancel
	go func() {
		defer close(joined.done)
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			joined.lock.Lock()
			fetches.EachRecord(func(record *kgo.Record) {
				joined.records = append(joined.records, told(record))
				joined.last = append(joined.last, record)
			})
			joined.lock.Unlock()
		}
	}()
	members[request.Member] = joined
	return nil, nil
}

func poll(request *line.Request) (any, error) {
	asked := members[request.Member]
	asked.lock.Lock()
	defer asked.lock.Unlock()
	polled := line.Polled{Assignment: []line.Place{}, Records: asked.records}
	for place := range asked.owned {
		polled.Assignment = append(polled.Assignment, place)
	}
	if polled.Records == nil {
		polled.Records = []line.Record{}
	}
	asked.records = nil
	return polled, nil
}

func commit(request *line.Request) (any, error) {
	asked := members[request.Member]
	ctx, cancel := bounded()
	defer cancel()
	asked.lock.Lock()
	last := asked.last
	asked.last = nil
	asked.lock.Unlock()
	return nil, asked.client.CommitRecords(ctx, last...)
}

func seek(request *line.Request) (any, error) {
	members[request.Member].client.SetOffsets(map[string]map[int32]kgo.EpochOffset{
		request.Topic: {request.Partition: {Epoch: -1, Offset: request.Offset}},
	})
	return nil, nil
}

func leave(request *line.Request) (any, error) {
	asked := members[request.Member]
	delete(members, request.Member)
	asked.stop()
	<-asked.done
	if request.Leave {
		ctx, cancel := bounded()
		defer cancel()
		if err := asked.client.LeaveGroupContext(ctx); err != nil {
			return nil, err
		}
	}
	asked.client.Close()
	return nil, nil
}

func committed(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		fetched, err := admin.FetchOffsets(ctx, request.Group)
		if err != nil {
			return nil, err
		}
		found, there := fetched.Lookup(request.Topic, request.Partition)
		if !there || found.At < 0 {
			return nil, nil
		}
		return found.At, found.Err
	})
}

func groups(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		listed, err := admin.ListGroups(ctx)
		if err != nil {
			return nil, err
		}
		return listed.Groups(), nil
	})
}

func groupState(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		described, err := admin.DescribeGroups(ctx, request.Group)
		if err != nil {
			return nil, err
		}
		found := described[request.Group]
		if errors.Is(found.Err, kerr.GroupIDNotFound) {
			return map[string]any{"state": "Dead", "members": 0}, nil
		}
		return map[string]any{"state": found.State, "members": len(found.Members)}, found.Err
	})
}

func commitOffset(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: request.Topic, Partition: request.Partition, At: request.Offset, LeaderEpoch: -1})
		answers, err := admin.CommitOffsets(ctx, request.Group, offsets)
		if err != nil {
			return nil, err
		}
		return nil, answers.Error()
	})
}

func deleteGroup(request *line.Request) (any, error) {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) (any, error) {
		answer, err := admin.DeleteGroup(ctx, request.Group)
		if err != nil {
			return nil, err
		}
		return nil, answer.Err
	})
}
