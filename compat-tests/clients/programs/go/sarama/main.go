// sarama behind the tests' line protocol.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
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
		"leave":             leave,
		"committed":         committed,
		"groups":            groups,
		"group_state":       groupState,
		"commit_offset":     commitOffset,
		"delete_group":      deleteGroup,
	})
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Net.DialTimeout = line.Timeout
	config.Metadata.Retry.Max = 50
	config.Metadata.Retry.Backoff = 100 * time.Millisecond
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Fetch.Default = 2 << 20
	return config
}

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func encoder(content []byte) sarama.Encoder {
	if content == nil {
		return nil
	}
	return sarama.ByteEncoder(content)
}

func produce(request *line.Request) (any, error) {
	config := config()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = codecs[request.Codec]
	config.Producer.Return.Successes = true
	config.Producer.Return.Errors = true
	config.Producer.Flush.Frequency = 50 * time.Millisecond
	config.Producer.MaxMessageBytes = 1_000_000
	switch request.Acks {
	case "0":
		config.Producer.RequiredAcks = sarama.NoResponse
	case "1":
		config.Producer.RequiredAcks = sarama.WaitForLocal
	default:
		config.Producer.RequiredAcks = sarama.WaitForAll
	}
	if request.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewAsyncProducer([]string{request.Bootstrap}, config)
	if err != nil {
		return nil, err
	}
	messages := make([]*sarama.ProducerMessage, len(request.Records))
	for i, asked := range request.Records {
		message := &sarama.ProducerMessage{
			Topic: request.Topic, Partition: request.Partition, Key: encoder(asked.Key), Value: encoder(asked.Value),
		}
		if asked.Timestamp >= 0 {
			message.Timestamp = time.UnixMilli(asked.Timestamp)
		}
		for _, header := range asked.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
		messages[i] = message
	}
	go func() {
		for _, message := range messages {
			producer.Input() <- message
		}
	}()
	for range messages {
		select {
		case <-producer.Successes():
		case failed := <-producer.Errors():
			producer.AsyncClose()
			return nil, failed.Err
		}
	}
	offsets := make([]int64, len(messages))
	for i, message := range messages {
		offsets[i] = message.Offset
		if request.Acks == "0" {
			offsets[i] = -1
		}
	}
	return offsets, producer.Close()
}

func told(message *sarama.ConsumerMessage) line.Record {
	headers := make([]line.Header, len(message.Headers))
	for i, header := range message.Headers {
		headers[i] = line.Header{Name: string(header.Key), Value: header.Value}
	}
	return line.Record{
		Key: message.Key, Value: message.Value, Headers: headers, Timestamp: message.Timestamp.UnixMilli(),
		Partition: message.Partition, Offset: message.Offset,
	}
}

func consume(request *line.Request) (any, error) {
	consumer, err := sarama.NewConsumer([]string{request.Bootstrap}, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(request.Topic, request.Partition, request.Offset)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	found := []line.Record{}
	deadline := time.After(line.Timeout)
	for len(found) < request.Count {
		select {
		case message := <-partition.Messages():
			found = append(found, told(message))
		case failed := <-partition.Errors():
			return nil, failed.Err
		case <-deadline:
			return nil, fmt.Errorf("%d of %d records", len(found), request.Count)
		}
	}
	return found, nil
}

func withClient(request *line.Request, work func(sarama.Client) (any, error)) (any, error) {
	client, err := sarama.NewClient([]string{request.Bootstrap}, config())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return work(client)
}

func withAdmin(request *line.Request, work func(sarama.ClusterAdmin) (any, error)) (any, error) {
	admin, err := sarama.NewClusterAdmin([]string{request.Bootstrap}, config())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return work(admin)
}

func offsetAt(request *line.Request) (any, error) {
	return withClient(request, func(client sarama.Client) (any, error) {
		found, err := client.GetOffset(request.Topic, request.Partition, request.Timestamp)
		if err != nil || found < 0 {
			return nil, err
		}
		return found, nil
	})
}

func createTopic(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		configs := map[string]*string{}
		for name, value := range request.Configs {
			configs[name] = &value
		}
		detail := &sarama.TopicDetail{NumPartitions: request.Partitions, ReplicationFactor: 1, ConfigEntries: configs}
		return nil, admin.CreateTopic(request.Topic, detail, false)
	})
}

func createPartitions(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		return nil, admin.CreatePartitions(request.Topic, request.Partitions, nil, false)
	})
}

func deleteTopic(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		return nil, admin.DeleteTopic(request.Topic)
	})
}

func partitionCount(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		topics, err := admin.ListTopics()
		if err != nil {
			return nil, err
		}
		detail, there := topics[request.Topic]
		if !there {
			return nil, nil
		}
		return detail.NumPartitions, nil
	})
}

func topicConfigs(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: request.Topic})
		if err != nil {
			return nil, err
		}
		values := map[string]string{}
		for _, entry := range entries {
			values[entry.Name] = entry.Value
		}
		return values, nil
	})
}

func alterTopic(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, value := range request.Configs {
			entries[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
		}
		return nil, admin.IncrementalAlterConfig(sarama.TopicResource, request.Topic, entries, false)
	})
}

func deleteRecords(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		err := admin.DeleteRecords(request.Topic, map[int32]int64{request.Partition: request.Offset})
		return request.Offset, err // sarama does not tell the answer
	})
}

// --- groups

type member struct {
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	done  chan struct{}

	lock    sync.Mutex
	owned   []line.Place
	records []line.Record
	session sarama.ConsumerGroupSession
}

var members = map[int]*member{}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = session
	m.owned = nil
	for topic, partitions := range session.Claims() {
		for _, partition := range partitions {
			m.owned = append(m.owned, line.Place{Topic: topic, Partition: partition})
		}
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.owned = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.lock.Lock()
		m.records = append(m.records, told(message))
		session.MarkMessage(message, "")
		m.lock.Unlock()
	}
	return nil
}

func join(request *line.Request) (any, error) {
	config := config()
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Group.InstanceId = request.Instance
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	group, err := sarama.NewConsumerGroup([]string{request.Bootstrap}, request.Group, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	joined := &member{group: group, stop: cancel, done: make(chan struct{})}
	go func() {
		for range group.Errors() {
		}
	}()
	go func() {
		defer close(joined.done)
		for ctx.Err() == nil {
			_ = group.Consume(ctx, request.Topics, joined)
		}
	}()
	members[request.Member] = joined
	return nil, nil
}

func poll(request *line.Request) (any, error) {
	asked := members[request.Member]
	asked.lock.Lock()
	defer asked.lock.Unlock()
	polled := line.Polled{Assignment: append([]line.Place{}, asked.owned...), Records: asked.records}
	if polled.Records == nil {
		polled.Records = []line.Record{}
	}
	asked.records = nil
	return polled, nil
}

func commit(request *line.Request) (any, error) {
	asked := members[request.Member]
	asked.lock.Lock()
	session := asked.session
	asked.lock.Unlock()
	session.Commit()
	return nil, nil
}

func leave(request *line.Request) (any, error) {
	asked := members[request.Member]
	delete(members, request.Member)
	asked.stop()
	<-asked.done
	return nil, asked.group.Close()
}

func committed(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		answer, err := admin.ListConsumerGroupOffsets(request.Group, map[string][]int32{request.Topic: {request.Partition}})
		if err != nil {
			return nil, err
		}
		block := answer.GetBlock(request.Topic, request.Partition)
		if block == nil || block.Offset < 0 {
			return nil, nil
		}
		return block.Offset, nil
	})
}

func groups(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		listed, err := admin.ListConsumerGroups()
		names := []string{}
		for name := range listed {
			names = append(names, name)
		}
		return names, err
	})
}

func groupState(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		described, err := admin.DescribeConsumerGroups([]string{request.Group})
		if err != nil {
			return nil, err
		}
		return map[string]any{"state": described[0].State, "members": len(described[0].Members)}, nil
	})
}

func commitOffset(request *line.Request) (any, error) {
	return withClient(request, func(client sarama.Client) (any, error) {
		manager, err := sarama.NewOffsetManagerFromClient(request.Group, client)
		if err != nil {
			return nil, err
		}
		partition, err := manager.ManagePartition(request.Topic, request.Partition)
		if err != nil {
			_ = manager.Close()
			return nil, err
		}
		partition.ResetOffset(request.Offset, "") // goes back, never forward
		partition.MarkOffset(request.Offset, "")  // goes forward, never back
		manager.Commit()
		// Without automatic commits only the manager's end closes the partition's channel, which Close waits for.
		partition.AsyncClose()
		if err := manager.Close(); err != nil {
			return nil, err
		}
		select {
		case failed := <-partition.Errors():
			if failed != nil {
				return nil, failed.Err
			}
		default:
		}
		return nil, nil
	})
}

func deleteGroup(request *line.Request) (any, error) {
	return withAdmin(request, func(admin sarama.ClusterAdmin) (any, error) {
		return nil, admin.DeleteConsumerGroup(request.Group)
	})
}
