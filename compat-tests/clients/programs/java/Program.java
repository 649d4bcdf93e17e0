import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's own Java clients behind the tests' line protocol: one JSON object a line in, one a line out. */
public class Program {
    static final long TIMEOUT_MS = 40_000;
    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<Integer, Member> MEMBERS = new HashMap<>();

    interface Work<T> {
        T on(Admin admin) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err); // whatever a library prints is not an answer
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                answer.set("result", JSON.valueToTree(perform(JSON.readTree(line))));
            } catch (ExecutionException error) {
                answer.put("error", error.getCause().getClass().getSimpleName() + ": " + error.getCause().getMessage());
            } catch (Exception error) {
                answer.put("error", error.getClass().getSimpleName() + ": " + error.getMessage());
            }
            out.println(answer);
            out.flush();
        }
        System.exit(0);
    }

    static Object perform(JsonNode request) throws Exception {
        String topic = request.path("topic").asText();
        int partition = request.path("partition").asInt();
        String group = request.path("group").asText();
        TopicPartition place = new TopicPartition(topic, partition);
        switch (request.get("op").asText()) {
            case "produce":
                return produce(request, topic, partition);
            case "consume":
                return consume(request, place);
            case "offset_at":
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(request, Map.of())) {
                    var found = consumer.offsetsForTimes(Map.of(place, request.get("timestamp").asLong())).get(place);
                    return found == null ? null : found.offset();
                }
            case "create_topic":
                return administrate(request, admin -> {
                    NewTopic asked = new NewTopic(topic, request.get("partitions").asInt(), (short) 1);
                    return get(admin.createTopics(List.of(asked.configs(texts(request.get("configs"))))).all());
                });
            case "create_partitions":
                return administrate(request, admin -> {
                    int total = request.get("partitions").asInt();
                    return get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(total))).all());
                });
            case "delete_topic":
                return administrate(request, admin -> get(admin.deleteTopics(List.of(topic)).all()));
            case "partition_count":
                return administrate(request, admin -> {
                    if (!get(admin.listTopics().names()).contains(topic)) {
                        return null;
                    }
                    return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
                });
            case "topic_configs":
                return administrate(request, admin -> {
                    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                    Map<String, String> values = new HashMap<>();
                    for (ConfigEntry entry : get(admin.describeConfigs(List.of(resource)).all()).get(resource).entries()) {
                        values.put(entry.name(), entry.value());
                    }
                    return values;
                });
            case "alter_topic":
                return administrate(request, admin -> {
                    Collection<AlterConfigOp> operations = new ArrayList<>();
                    texts(request.get("configs")).forEach((name, value) ->
                        operations.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
                    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                    return get(admin.incrementalAlterConfigs(Map.of(resource, operations)).all());
                });
            case "delete_records":
                return administrate(request, admin -> {
                    long offset = request.get("offset").asLong();
                    var answers = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(offset)));
                    return get(answers.lowWatermarks().get(place)).lowWatermark();
                });
            case "join":
                MEMBERS.put(request.get("member").asInt(), new Member(request));
                return null;
            case "poll":
                return MEMBERS.get(request.get("member").asInt()).polled();
            case "seek":
                MEMBERS.get(request.get("member").asInt()).onItsThread(
                    consumer -> consumer.seek(place, request.get("offset").asLong()));
                return null;
            case "commit":
                MEMBERS.get(request.get("member").asInt()).commit();
                return null;
            case "leave":
                MEMBERS.remove(request.get("member").asInt()).leave();
                return null;
            case "committed":
                return administrate(request, admin -> {
                    var offsets = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
                    return offsets.get(place) == null ? null : offsets.get(place).offset();
                });
            case "groups":
                return administrate(request, admin -> {
                    List<String> names = new ArrayList<>();
                    for (GroupListing listing : get(admin.listGroups().all())) {
                        names.add(listing.groupId());
                    }
                    return names;
                });
            case "group_state":
                return administrate(request, admin -> {
                    try {
                        var found = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
                        return Map.of("state", found.groupState().toString(), "members", found.members().size());
                    } catch (ExecutionException error) {
                        if (error.getCause() instanceof GroupIdNotFoundException) {
                            return Map.of("state", "Dead", "members", 0);
                        }
                        throw error;
                    }
                });
            case "commit_offset":
                return administrate(request, admin -> {
                    OffsetAndMetadata offset = new OffsetAndMetadata(request.get("offset").asLong());
                    return get(admin.alterConsumerGroupOffsets(group, Map.of(place, offset)).all());
                });
            case "delete_group":
                return administrate(request, admin -> get(admin.deleteConsumerGroups(List.of(group)).all()));
            default:
                throw new IllegalArgumentException("no operation " + request.get("op"));
        }
    }

    static <T> T get(Future<T> answer) throws ExecutionException, InterruptedException, TimeoutException {
        return answer.get(TIMEOUT_MS, TimeUnit.MILLISECONDS);
    }

    static Object administrate(JsonNode request, Work<Object> work) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", request.get("bootstrap").asText()))) {
            return work.on(admin);
        }
    }

    static Map<String, String> texts(JsonNode object) {
        Map<String, String> found = new HashMap<>();
        object.fields().forEachRemaining(entry -> found.put(entry.getKey(), entry.getValue().asText()));
        return found;
    }

    static byte[] bytes(JsonNode text) throws Exception {
        return text == null || text.isNull() ? null : text.binaryValue();
    }

    static Object produce(JsonNode request, String topic, int partition) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", request.get("bootstrap").asText());
        properties.put("key.serializer", ByteArraySerializer.class.getName());
        properties.put("value.serializer", ByteArraySerializer.class.getName());
        properties.put("compression.type", request.get("codec").asText());
        properties.put("acks", request.get("acks").asText());
        properties.put("enable.idempotence", request.get("idempotent").asBoolean());
        properties.put("linger.ms", 50);
        properties.put("delivery.timeout.ms", (int) TIMEOUT_MS);
        properties.put("request.timeout.ms", (int) TIMEOUT_MS / 2);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode record : request.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : record.get("headers")) {
                    headers.add(new RecordHeader(header.get("name").asText(), bytes(header.get("value"))));
                }
                long timestamp = record.get("timestamp").asLong();
                sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp < 0 ? null : timestamp,
                    bytes(record.get("key")), bytes(record.get("value")), headers)));
            }
            List<Long> offsets = new ArrayList<>();
            for (Future<RecordMetadata> each : sent) {
                RecordMetadata metadata = get(each);
                offsets.add(metadata.hasOffset() ? metadata.offset() : -1);
            }
            return offsets;
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(JsonNode request, Map<String, Object> more) {
        Map<String, Object> properties = new HashMap<>(more);
        properties.put("bootstrap.servers", request.get("bootstrap").asText());
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("enable.auto.commit", false);
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.partition.fetch.bytes", 2 << 20);
        return new KafkaConsumer<>(properties);
    }

    static ObjectNode told(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode node = JSON.createObjectNode();
        node.put("key", record.key());
        node.put("value", record.value());
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers()) {
            headers.addObject().put("name", header.key()).put("value", header.value());
        }
        node.put("timestamp", record.timestamp()).put("partition", record.partition()).put("offset", record.offset());
        return node;
    }

    static Object consume(JsonNode request, TopicPartition place) {
        int count = request.get("count").asInt();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(request, Map.of())) {
            consumer.assign(List.of(place));
            consumer.seek(place, request.get("offset").asLong());
            List<ObjectNode> found = new ArrayList<>();
            long deadline = System.currentTimeMillis() + TIMEOUT_MS;
            while (found.size() < count) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(found.size() + " of " + count + " records");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    if (found.size() < count) {
                        found.add(told(record));
                    }
                }
            }
            return found;
        }
    }

    /** A member of a group: its consumer lives on a thread of its own, as Kafka's consumer must. */
    static class Member implements ConsumerRebalanceListener, Runnable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Thread thread;
        final Set<TopicPartition> owned = new HashSet<>();
        final List<ObjectNode> records = new ArrayList<>();
        final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        volatile boolean stopping;
        Consumer<KafkaConsumer<byte[], byte[]>> asked;
        Exception failure;

        Member(JsonNode request) {
            Map<String, Object> properties = new HashMap<>();
            properties.put("group.id", request.get("group").asText());
            properties.put("session.timeout.ms", 10_000);
            properties.put("heartbeat.interval.ms", 300);
            properties.put("partition.assignment.strategy", request.path("assignor").asText().equals("cooperative")
                ? "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
                : "org.apache.kafka.clients.consumer.RangeAssignor");
            if (!request.path("instance").asText().isEmpty()) {
                properties.put("group.instance.id", request.get("instance").asText());
            }
            consumer = consumer(request, properties);
            List<String> topics = new ArrayList<>();
            request.get("topics").forEach(topic -> topics.add(topic.asText()));
            consumer.subscribe(topics, this);
            thread = new Thread(this);
            thread.start();
        }

        public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            owned.addAll(partitions);
        }

        public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            owned.removeAll(partitions);
        }

        public void run() {
            while (!stopping) {
                var polled = consumer.poll(Duration.ofMillis(100));
                synchronized (this) {
                    for (ConsumerRecord<byte[], byte[]> record : polled) {
                        records.add(told(record));
                        next.put(new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                    }
                    if (asked != null) {
                        failure = null;
                        try {
                            asked.accept(consumer);
                        } catch (Exception error) {
                            failure = error;
                        }
                        asked = null;
                        notifyAll();
                    }
                }
            }
            consumer.close();
        }

        synchronized Object polled() {
            ObjectNode answer = JSON.createObjectNode();
            ArrayNode assignment = answer.putArray("assignment");
            for (TopicPartition place : owned) {
                assignment.addObject().put("topic", place.topic()).put("partition", place.partition());
            }
            ArrayNode told = answer.putArray("records");
            records.forEach(told::add);
            records.clear();
            return answer;
        }

        void commit() throws Exception {
            onItsThread(consumer -> consumer.commitSync(new HashMap<>(next)));
        }

        /** Between two polls. */
        synchronized void onItsThread(Consumer<KafkaConsumer<byte[], byte[]>> work) throws Exception {
            asked = work;
            while (asked != null) {
                wait(TIMEOUT_MS);
            }
            if (failure != null) {
                throw failure;
            }
        }

        void leave() throws InterruptedException {
            stopping = true;
            thread.join(TIMEOUT_MS);
        }
    }
}
