// kafkajs behind the tests' line protocol: one JSON object a line in, one a line out; bytes travel as base64.
import { init as initZstd, compress as zstdCompress, decompress as zstdDecompress } from "@bokuweb/zstd-wasm";
import kafkajs from "kafkajs";
import snappy from "kafkajs-snappy";
import lz4 from "lz4-napi";
import { createInterface } from "node:readline";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
const TIMEOUT_MS = 40_000;

await initZstd();
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstdCompress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstdDecompress(buffer)),
});
const CODECS = { none: "None", gzip: "GZIP", snappy: "Snappy", lz4: "LZ4", zstd: "ZSTD" };

const connect = (request) =>
  new Kafka({
    clientId: "kafkajs",
    brokers: [request.bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 20 },
  });
const bytes = (text) => (text === null ? null : Buffer.from(text, "base64"));
const text = (content) => (content === null || content === undefined ? null : content.toString("base64"));

function headersToSend(headers) {
  const named = {};
  for (const { name, value } of headers ?? []) (named[name] ??= []).push(bytes(value));
  return named;
}

function told(message, partition) {
  const headers = [];
  for (const [name, content] of Object.entries(message.headers ?? {}))
    for (const value of Array.isArray(content) ? content : [content]) headers.push({ name, value: text(value) });
  return {
    key: text(message.key),
    value: text(message.value),
    headers,
    timestamp: Number(message.timestamp),
    partition,
    offset: Number(message.offset),
  };
}

// kafkajs makes one batch of all that it is given at once, however large.
function batches(records) {
  const found = [];
  let size = Infinity;
  for (const record of records) {
    size += record.value?.length ?? 0;
    if (size > 900_000) {
      found.push([]);
      size = record.value?.length ?? 0;
    }
    found.at(-1).push(record);
  }
  return found;
}

async function withAdmin(request, work) {
  const admin = connect(request).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

const members = new Map();

async function startMember(request, onRecord) {
  const consumer = connect(request).consumer({
    groupId: request.group,
    sessionTimeout: 10_000,
    heartbeatInterval: 300,
    maxBytesPerPartition: 2 << 20,
    maxWaitTimeInMs: 500,
  });
  const member = { consumer, assignment: [], records: [], next: new Map() };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.assignment = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) =>
      partitions.map((partition) => ({ topic, partition })),
    );
  });
  consumer.on(consumer.events.REBALANCING, () => (member.assignment = []));
  await consumer.connect();
  await consumer.subscribe({ topics: request.topics, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      member.records.push(told(message, partition));
      member.next.set(`${partition} ${topic}`, Number(message.offset) + 1);
      onRecord?.();
    },
  });
  return member;
}

const operations = {
  async produce(request) {
    const producer = connect(request).producer({
      idempotent: request.idempotent,
      allowAutoTopicCreation: true,
      ...(request.idempotent ? { maxInFlightRequests: 1 } : {}),
    });
    await producer.connect();
    try {
      const offsets = [];
      for (const records of batches(request.records)) {
        const answer = await producer.send({
          topic: request.topic,
          acks: request.acks === "all" ? -1 : Number(request.acks),
          compression: CompressionTypes[CODECS[request.codec]],
          messages: records.map((record) => ({
            partition: request.partition,
            key: bytes(record.key),
            value: bytes(record.value),
            headers: headersToSend(record.headers),
            ...(record.timestamp >= 0 ? { timestamp: String(record.timestamp) } : {}),
          })),
        });
        const base = answer?.[0]?.baseOffset;
        records.forEach((_, i) => offsets.push(base === undefined ? -1 : Number(base) + i));
      }
      return offsets;
    } finally {
      await producer.disconnect();
    }
  },

  // kafkajs has no consuming by assignment: a group of one, which seeks.
  async consume(request) {
    let wake;
    const enough = new Promise((resolve) => (wake = resolve));
    const found = [];
    const consumer = connect(request).consumer({
      groupId: `by-assignment-${process.pid}-${Math.random()}`,
      maxBytesPerPartition: 2 << 20,
    });
    await consumer.connect();
    let timer;
    try {
      await consumer.subscribe({ topics: [request.topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => {
          if (partition !== request.partition || Number(message.offset) < request.offset) return;
          if (found.length < request.count) found.push(told(message, partition));
          if (found.length === request.count) wake();
        },
      });
      consumer.seek({ topic: request.topic, partition: request.partition, offset: String(request.offset) });
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${found.length} of ${request.count} records`)), TIMEOUT_MS);
      });
      await Promise.race([enough, late]);
      return found;
    } finally {
      clearTimeout(timer);
      await consumer.disconnect();
    }
  },

  offset_at: (request) =>
    withAdmin(request, async (admin) => {
      // Where nothing is found kafkajs says the end; the end itself is never found by time.
      const [found, ends] = [
        await admin.fetchTopicOffsetsByTimestamp(request.topic, request.timestamp),
        await admin.fetchTopicOffsets(request.topic),
      ];
      const at = (list) => list.find(({ partition }) => partition === request.partition);
      return at(found).offset === at(ends).high ? null : Number(at(found).offset);
    }),
  create_topic: (request) =>
    withAdmin(request, async (admin) => {
      const created = await admin.createTopics({
        topics: [
          {
            topic: request.topic,
            numPartitions: request.partitions,
            replicationFactor: 1,
            configEntries: Object.entries(request.configs ?? {}).map(([name, value]) => ({ name, value })),
          },
        ],
      });
      if (!created) throw new Error("the topic exists"); // kafkajs says so by false
      return null;
    }),
  create_partitions: (request) =>
    withAdmin(request, async (admin) => {
      await admin.createPartitions({ topicPartitions: [{ topic: request.topic, count: request.partitions }] });
      return null;
    }),
  delete_topic: (request) =>
    withAdmin(request, async (admin) => {
      await admin.deleteTopics({ topics: [request.topic] });
      return null;
    }),
  partition_count: (request) =>
    withAdmin(request, async (admin) => {
      if (!(await admin.listTopics()).includes(request.topic)) return null;
      const { topics } = await admin.fetchTopicMetadata({ topics: [request.topic] });
      return topics[0].partitions.length;
    }),
  topic_configs: (request) =>
    withAdmin(request, async (admin) => {
      const answer = await admin.describeConfigs({ resources: [{ type: 2, name: request.topic }] });
      return Object.fromEntries(
        answer.resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue ?? ""]),
      );
    }),
  alter_topic: (request) =>
    withAdmin(request, async (admin) => {
      const configEntries = Object.entries(request.configs).map(([name, value]) => ({ name, value }));
      await admin.alterConfigs({ resources: [{ type: 2, name: request.topic, configEntries }] });
      return null;
    }),
  delete_records: (request) =>
    withAdmin(request, async (admin) => {
      await admin.fetchTopicOffsets(request.topic); // deleteTopicRecords takes the leaders from metadata it never asks for
      await admin.deleteTopicRecords({
        topic: request.topic,
        partitions: [{ partition: request.partition, offset: String(request.offset) }],
      });
      return request.offset; // kafkajs does not tell the answer
    }),

  async join(request) {
    members.set(request.member, await startMember(request));
    return null;
  },
  async poll(request) {
    const member = members.get(request.member);
    return { assignment: member.assignment, records: member.records.splice(0) };
  },
  async commit(request) {
    const { consumer, next } = members.get(request.member);
    await consumer.commitOffsets(
      [...next].map(([place, offset]) => {
        const [partition, ...topic] = place.split(" ");
        return { topic: topic.join(" "), partition: Number(partition), offset: String(offset) };
      }),
    );
    return null;
  },
  async seek(request) {
    const { topic, partition, offset } = request;
    members.get(request.member).consumer.seek({ topic, partition, offset: String(offset) });
    return null;
  },
  async leave(request) {
    const { consumer } = members.get(request.member);
    members.delete(request.member);
    await consumer.disconnect();
    return null;
  },
  committed: (request) =>
    withAdmin(request, async (admin) => {
      const [answer] = await admin.fetchOffsets({ groupId: request.group, topics: [request.topic] });
      const found = answer.partitions.find(({ partition }) => partition === request.partition);
      return found === undefined || Number(found.offset) < 0 ? null : Number(found.offset);
    }),
  groups: (request) =>
    withAdmin(request, async (admin) => (await admin.listGroups()).groups.map(({ groupId }) => groupId)),
  group_state: (request) =>
    withAdmin(request, async (admin) => {
      const { groups } = await admin.describeGroups([request.group]);
      return { state: groups[0].state, members: groups[0].members.length };
    }),
  commit_offset: (request) =>
    withAdmin(request, async (admin) => {
      await admin.setOffsets({
        groupId: request.group,
        topic: request.topic,
        partitions: [{ partition: request.partition, offset: String(request.offset) }],
      });
      return null;
    }),
  delete_group: (request) =>
    withAdmin(request, async (admin) => {
      await admin.deleteGroups([request.group]);
      return null;
    }),
};

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const request = JSON.parse(line);
  let answer;
  try {
    const operation = operations[request.op];
    if (!operation) throw new Error(`no operation ${request.op}`);
    answer = { result: await operation(request) };
  } catch (error) {
    const cause = error.groups ?? error.errors ?? error.cause;
    answer = { error: `${error.type ?? error.name}: ${error.message}${cause ? ` ${JSON.stringify(cause)}` : ""}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
